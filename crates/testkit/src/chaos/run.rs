//! One run: pushes, events that come twice and out of order, a fault, and then what must hold.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;

use super::branch::{self, History, tag};
use super::case::{Case, Plot, Shape};
use super::ground::Ground;
use super::point;
use super::processes::Processes;
use crate::config::{self, ConfigFolder};
use crate::event::{ENVELOPE, Push, envelope};
use crate::eventually;
use crate::git_repository::{BRANCH, BareRepository};
use crate::http_fault::tag_lists;
use crate::http_server::Canned;
use crate::observed::{LEFT_TO_DO, told_once};
use crate::slack::Slack;
use crate::traffic::{Fault, Match};

const NAMESPACE: &str = "apps";
const FLEET: &str = "fleet";
const RECEIVER: &str = "registry";
const TOKEN: &str = "webhook-token-for-tests";
/// Long beside everything that is awaited, a hang of 30 s and the retries after it included.
const PATIENCE: Duration = Duration::from_mins(3);
/// How long a sender waits for an answer before it tries again: as registries do, or longer than anything hangs.
const SENDER: [Duration; 2] = [Duration::from_secs(3), Duration::from_mins(1)];
/// Rounds after which a fail point that was not passed often enough is a mistake of the trial.
const MOST_ROUNDS: u64 = 12;

/// What came of a run that kept every promise.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Webhooks that were answered 2xx, repeated ones included.
    pub deliveries: usize,
    /// Commits of Windlass.
    pub commits: usize,
    /// Values that they wrote.
    pub decisions: usize,
    /// Messages about commits that arrived.
    pub notices: usize,
    /// Those of them that came again, marked as such: the window that a chat service leaves open.
    pub repeats: usize,
}

/// An event of a registry.
#[derive(Debug, Clone)]
struct Event {
    id: String,
    repository: String,
    tag: String,
    digest: String,
}

/// The newest image of an application.
struct Newest {
    number: u64,
    /// What has to stand in Git.
    value: String,
}

/// Everything of one run.
struct Run<'g> {
    ground: &'g Ground,
    case: Case,
    plot: Plot,
    name: String,
    repository: BareRepository,
    slack: Slack,
    processes: Processes,
    outage: Option<Fault>,
    http: reqwest::Client,
    /// By application.
    newest: BTreeMap<String, Newest>,
    events: Vec<Event>,
    people: Vec<String>,
    deliveries: usize,
    _config: ConfigFolder,
}

/// Runs a case.
///
/// # Errors
/// A promise was broken, or the trial itself failed; the message has the processes' logs.
pub async fn run(ground: &Ground, case: Case) -> Result<Tally> {
    let plot = Plot::of(&case);
    let mut run = Run::prepare(ground, case, plot).await.with_context(|| format!("preparing {case}"))?;
    let played = run.play().await;
    let Run { processes, name, plot, .. } = run;
    let played = played.with_context(|| format!("{plot:?}\n{}", processes.logs()));
    drop(processes);
    if case.queue == super::case::Queue::Nats {
        for stream in [name.clone(), format!("OBJ_{name}-state")] {
            // It only makes room.
            drop(ground.nats.delete_stream(&stream).await);
        }
    }
    played
}

impl<'g> Run<'g> {
    async fn prepare(ground: &'g Ground, case: Case, plot: Plot) -> Result<Self> {
        let name = ground.name();
        let names = (1..=plot.applications).map(|number| format!("app-{number}"));
        let first = join_all(names.map(|app| first(ground, &name, app, plot.guarded))).await;
        let newest = first.into_iter().collect::<Result<BTreeMap<String, Newest>>>()?;
        let host = ground.proxy.host();
        let files = newest.iter().map(|(app, newest)| {
            (format!("apps/{app}/deployment.yaml"), manifest(&host, &name, app, &newest.value))
        });
        let repository = ground.git.create_repository(&name, files).await?;
        let (slack, config) = (Slack::start()?, ConfigFolder::new()?);
        configure(&config, ground, &name, &plot, &slack)?;
        let lists = tag_lists().and(Match::path_contains(format!("/{name}/")));
        let outage = || ground.proxy.traffic().answer(lists, Canned::status(503));
        let outage = (!plot.lists_served).then(outage);
        let processes = Processes::start(ground, case, &name, config.path(), plot.passing).await?;
        let patience = SENDER[usize::from(plot.patient && case.fault != point::Fault::Stop)];
        let http = reqwest::Client::builder().no_proxy().timeout(patience).build().context("a client")?;
        Ok(Self {
            ground,
            case,
            plot,
            name,
            repository,
            slack,
            processes,
            outage,
            http,
            newest,
            events: Vec::new(),
            people: Vec::new(),
            deliveries: 0,
            _config: config,
        })
    }

    async fn play(&mut self) -> Result<Tally> {
        let mut round = 0;
        while round < self.plot.rounds || !self.processes.has_fired() {
            round += 1;
            ensure!(round <= MOST_ROUNDS, "{} was not passed {} times", self.case.point, self.plot.passing);
            self.round(round, false).await.with_context(|| format!("round {round}"))?;
            self.processes.wake()?;
        }
        self.outage = None;
        self.processes.hang_is_over().await?;
        self.round(round + 1, true).await.context("the last round")?;
        self.idle().await?;
        self.judge().await
    }

    /// New tags of some applications, or of all, with their events; then waits until the branch has them.
    async fn round(&mut self, round: u64, all: bool) -> Result<()> {
        let applications: Vec<String> = self.newest.keys().cloned().collect();
        let certain = self.plot.seed.among(0..=self.plot.applications - 1);
        let mut fresh = Vec::new();
        for (place, app) in (0..).zip(applications) {
            if !all && place != certain && self.plot.seed.one_in(2) {
                continue;
            }
            for _ in 0..self.plot.seed.among(1..=2) {
                let newest = self.newest.get_mut(&app).context("an application of this run")?;
                newest.number += 1;
                fresh.push((app.clone(), tag(newest.number)));
            }
        }
        let under_way = fresh.iter().map(|(app, tag)| push(self.ground, &self.name, app, tag));
        let pushed = join_all(under_way).await.into_iter().collect::<Result<Vec<_>>>()?;
        for ((app, tag), event) in fresh.iter().zip(&pushed) {
            let newest = self.newest.get_mut(app).context("an application of this run")?;
            newest.value = value(tag, &event.digest, self.plot.guarded);
        }
        let deliveries = self.deliveries_of(&pushed);
        self.events.extend(pushed);
        let subject = format!("By hand {round}");
        let (repository, people) = (self.repository.clone(), self.plot.people);
        let by_hand =
            async { if people { push_by_hand(&repository, &subject, round).await } else { Ok(()) } };
        let (delivered, pushed) = tokio::join!(self.deliver(deliveries), by_hand);
        delivered.and(pushed)?;
        self.people.extend(people.then_some(subject));
        self.converge().await
    }

    /// Each event, some of them twice, some under another id, and old ones again: in any order.
    fn deliveries_of(&mut self, events: &[Event]) -> Vec<Event> {
        let mut deliveries = events.to_vec();
        for event in events.iter().chain(self.events.last()) {
            if self.plot.seed.one_in(2) {
                deliveries.push(event.clone());
            }
            if self.plot.seed.one_in(3) {
                let id = format!("{}-{}", event.id, self.plot.seed.next_number());
                deliveries.push(Event { id, ..event.clone() });
            }
        }
        self.plot.seed.shuffle(&mut deliveries);
        deliveries
    }

    /// Sends each until it is answered 2xx, as registries do.
    async fn deliver(&mut self, deliveries: Vec<Event>) -> Result<()> {
        let mut left = deliveries;
        let Self { processes, http, ground, deliveries, .. } = self;
        let host = ground.proxy.host();
        eventually(PATIENCE, "every webhook to be accepted", async || {
            if let Err(error) = processes.tend().await {
                return Ok(Some(Err(error)));
            }
            let addresses = processes.addresses();
            let taken = join_all(left.iter().map(|event| post(http, &addresses, &host, event))).await;
            let before = left.len();
            let mut taken = taken.into_iter();
            left.retain(|_| !taken.next().unwrap_or(false));
            *deliveries += before - left.len();
            Ok(left.is_empty().then_some(Ok(())))
        })
        .await?
    }

    /// Waits until the branch's head has every application's newest tag.
    async fn converge(&mut self) -> Result<()> {
        let Self { processes, repository, newest, name, .. } = self;
        let wanted: BTreeMap<String, String> =
            newest.iter().map(|(app, newest)| (app.clone(), newest.value.clone())).collect();
        let (mut seen, mut found) = (String::new(), BTreeMap::new());
        eventually(PATIENCE, "the branch to have every newest tag", async || {
            if let Err(error) = processes.tend().await {
                return Ok(Some(Err(error)));
            }
            let tip = branch::tip(repository)?;
            if tip != seen {
                found = branch::values(repository, name).await?;
                seen = tip;
            }
            ensure!(found == wanted, "it has {found:?}, not {wanted:?}");
            Ok(Some(Ok(())))
        })
        .await?
    }

    /// Waits until no process has anything left to do.
    async fn idle(&mut self) -> Result<()> {
        let processes = &mut self.processes;
        eventually(PATIENCE, "nothing to be left to do", async || {
            if let Err(error) = processes.tend().await {
                return Ok(Some(Err(error)));
            }
            for windlass in processes.running() {
                let metrics = windlass.metrics().await?;
                let left = LEFT_TO_DO.map(|name| (name, metrics.get(name, &[])));
                ensure!(left.iter().all(|(_, count)| *count == Some(0.0)), "left: {left:?}");
            }
            Ok(Some(Ok(())))
        })
        .await?
    }

    /// What must hold when all is quiet.
    async fn judge(&self) -> Result<Tally> {
        let history = History::read(&self.repository, &self.name).await?;
        for subject in &self.people {
            ensure!(history.theirs.contains(subject), "the commit \"{subject}\" of a person is lost");
        }
        let alone = self.plot.shape != Shape::One;
        let (commits, decisions) = (history.ours.len(), history.decisions);
        ensure!(!alone || commits == decisions, "{commits} commits for {decisions} decisions");
        let messages = self.slack.messages();
        let told = told_once(&messages, &history.ours)?;
        ensure!(told.again == 0 || self.case.has_window(), "notices came twice: {messages:#?}");
        Ok(Tally {
            deliveries: self.deliveries,
            commits,
            decisions,
            notices: told.arrived,
            repeats: told.again,
        })
    }
}

/// Pushes an application's first image.
async fn first(ground: &Ground, run: &str, app: String, pinned: bool) -> Result<(String, Newest)> {
    let digest = ground.push(&format!("{run}/{app}"), &tag(0)).await?;
    Ok((app, Newest { number: 0, value: value(&tag(0), &digest, pinned) }))
}

/// Pushes an image, and gives the event that a registry would announce it by.
async fn push(ground: &Ground, run: &str, app: &str, tag: &str) -> Result<Event> {
    let repository = format!("{run}/{app}");
    let digest = ground.push(&repository, tag).await?;
    Ok(Event { id: format!("{run}-{app}-{tag}"), repository, tag: tag.to_owned(), digest })
}

fn value(tag: &str, digest: &str, pinned: bool) -> String {
    if pinned { format!("{tag}@{digest}") } else { tag.to_owned() }
}

/// Whether any of the processes took it.
async fn post(http: &reqwest::Client, addresses: &[String], host: &str, event: &Event) -> bool {
    let Event { id, repository, tag, digest } = event;
    let push = Push { id, host, repository, tag: Some(tag), digest };
    let (path, body) = (config::webhook_path(TOKEN, RECEIVER, NAMESPACE), envelope(&[push]).to_string());
    for address in addresses {
        let request = http.post(format!("{address}{path}")).body(body.clone());
        let request = request.header("authorization", TOKEN).header("content-type", ENVELOPE);
        if request.send().await.is_ok_and(|answer| answer.status().is_success()) {
            return true;
        }
    }
    false
}

/// A commit in the repository itself; whoever is faster is built upon.
async fn push_by_hand(repository: &BareRepository, subject: &str, round: u64) -> Result<()> {
    eventually(PATIENCE, "a person to push", async || {
        let file = [(format!("by-hand/{round}.yaml"), format!("round: {round}\n"))];
        repository.commit(BRANCH, &format!("{subject}\n"), file).await.map(Some)
    })
    .await
    .map(drop)
}

fn configure(config: &ConfigFolder, ground: &Ground, name: &str, plot: &Plot, slack: &Slack) -> Result<()> {
    let host = ground.proxy.host();
    let apps: Vec<String> = (1..=plot.applications).map(|n| format!("app-{n}")).collect();
    let names: Vec<&str> = apps.iter().map(String::as_str).collect();
    let mut documents = vec![
        config::receiver(NAMESPACE, RECEIVER, "distribution", "webhook-token", &names),
        config::slack_webhook(NAMESPACE, "slack", "slack-webhook"),
        config::secret(NAMESPACE, "webhook-token", &[("token", TOKEN)]),
        config::secret(NAMESPACE, "slack-webhook", &[("address", &slack.webhook_url())]),
    ];
    let url = ground.git.url(name);
    if plot.guarded {
        documents.push(ground.guard(name));
    }
    if plot.shape != Shape::Racing {
        documents.push(config::git_repository(NAMESPACE, FLEET, &url, None));
    }
    if plot.shape == Shape::One {
        documents.push(config::automation(NAMESPACE, FLEET, "1h", "./"));
    }
    for app in &apps {
        let image = format!("{host}/{name}/{app}");
        documents.push(config::image_repository(NAMESPACE, app, &image, "1h", None));
        documents.push(config::image_policy(NAMESPACE, app, ">=1.0.0", "Never"));
        let automation = config::automation(NAMESPACE, app, "1h", &format!("./apps/{app}"));
        match plot.shape {
            Shape::One => {}
            Shape::Chained => {
                let own = format!("kind: GitRepository\n    name: {app}\n");
                documents
                    .push(automation.replace(&own, &format!("kind: GitRepository\n    name: {FLEET}\n")));
            }
            Shape::Racing => {
                documents.push(config::git_repository(NAMESPACE, app, &url, None));
                documents.push(automation);
            }
        }
    }
    config.write("all.yaml", config::documents(documents))
}

fn manifest(host: &str, run: &str, app: &str, value: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {app}\nspec:\n  template:\n    spec:\n      \
         containers:\n        - name: {app}\n          \
         image: {host}/{run}/{app}:{value} # {{\"$imagepolicy\": \"{NAMESPACE}:{app}\"}}\n"
    )
}
