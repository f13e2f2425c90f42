//! Members tell each other that they live. Who is silent while one's own voice is heard is taken for dead.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::command::Command;
use crate::shared::publisher::Asked;
use crate::shared::{Link, PAUSE, member};

/// Between two signs of life.
const BEAT: Duration = Duration::from_millis(500);
/// A member that is not heard of during this many of one's own signs is removed: after 3 to 3.5 s, so that what it held
/// is with others within 5 s.
const SILENT: u32 = 6;

/// Tells of this process and listens to the others. Time is counted in one's own signs that came back from the server,
/// so that a process whose own connection is bad takes nobody for dead.
pub(super) async fn watch(link: Arc<Link>, requests: mpsc::Sender<Asked>) {
    loop {
        if let Err(error) = listen(&link, &requests).await {
            tracing::debug!(%error, "signs of life cannot be exchanged");
        }
        sleep(PAUSE).await;
    }
}

async fn listen(link: &Link, requests: &mpsc::Sender<Asked>) -> Result<(), async_nats::Error> {
    let mut heard = link.client.subscribe(link.names.beats()).await?;
    let mut silent: HashMap<i64, u32> = HashMap::new();
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut own = 0;
    loop {
        tokio::select! {
            _ = beat.tick() => {
                own = link.writer.run(|transaction| {
                    Ok(crate::shared::entry::Position::read(transaction.db)?.member)
                }).await.map_err(|cause| format!("{cause:?}"))?;
                link.client.publish(link.names.beats(), own.to_string().into()).await?;
            }
            message = heard.next() => {
                let Some(message) = message else { return Ok(()) };
                let from = std::str::from_utf8(&message.payload).ok().and_then(|text| text.parse().ok());
                match from {
                    Some(from) if from != 0 && from == own => judge(link, requests, &mut silent, own).await?,
                    Some(from) => drop(silent.insert(from, 0)),
                    None => {}
                }
            }
        }
    }
}

/// One of our own signs came back: everybody else was silent for one more.
async fn judge(
    link: &Link,
    requests: &mpsc::Sender<Asked>,
    silent: &mut HashMap<i64, u32>,
    own: i64,
) -> Result<(), async_nats::Error> {
    let members = link.writer.run(|transaction| Ok(member::all(transaction.db)?)).await;
    let members = members.map_err(|cause| format!("{cause:?}"))?;
    silent.retain(|known, _| members.contains(known));
    for member in members.into_iter().filter(|member| *member != own) {
        let count = silent.entry(member).or_insert(0);
        *count += 1;
        if *count >= SILENT {
            tracing::warn!(member, "another windlass on the queue is not heard of; what it held is free");
            *count = 0;
            let (reply, _) = oneshot::channel();
            // With a full inbox, the next silence asks again.
            let _ = requests.try_send(Asked::Run { command: Box::new(Command::Remove { member }), reply });
        }
    }
    Ok(())
}
