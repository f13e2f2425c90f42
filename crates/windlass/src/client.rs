//! The client of a running instance's local API, for `windlass status`, `reconcile`, `resume` and `queue`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use windlass_model::ObjectRef;
use windlass_model::status::{ObjectStatus, Readiness};
use windlass_store::{Backlog, Intervention};
use windlass_web::{QueueAnswer, ReconcileAnswer, Resume, Shares, StatusReport};

use crate::endpoint::Endpoint;
use crate::table;

/// The instance is on this machine; when it takes longer, it hangs.
const TIMEOUT: Duration = Duration::from_secs(10);
const UNREADABLE: &str = "the answer is unreadable: is it another version of windlass that runs?";

/// Asks the instance on this data directory for its status.
pub(crate) async fn status(data: &Path) -> anyhow::Result<StatusReport> {
    let endpoint = Endpoint::read(data)?;
    let request = client()?.get(format!("{}/api/v1/status", endpoint.admin)).bearer_auth(&endpoint.token);
    let answer = request.send().await.with_context(|| not_running(data, &endpoint))?;
    let answer = accepted(answer, data, &endpoint)?;
    answer.error_for_status().context("the instance refused to answer")?.json().await.context(UNREADABLE)
}

/// Asks the instance on this data directory to look at an object now.
pub(crate) async fn reconcile(data: &Path, object: &ObjectRef) -> anyhow::Result<Vec<ObjectRef>> {
    ask(data, "reconcile", object).await
}

/// Asks the instance on this data directory to lift holds.
pub(crate) async fn resume(data: &Path, resume: &Resume) -> anyhow::Result<Vec<ObjectRef>> {
    ask(data, "resume", resume).await
}

/// What waits on the instance of this data directory; `None` where none answers there.
pub(crate) async fn backlog(data: &Path) -> anyhow::Result<Option<Backlog>> {
    let Some(answer) = reach(data, reqwest::Client::get).await? else { return Ok(None) };
    if !answer.status().is_success() {
        bail!("the instance cannot read its queue: {}", answer.text().await.unwrap_or_default());
    }
    answer.json().await.context(UNREADABLE).map(Some)
}

/// Asks the instance on this data directory to change its queue; `None` where none answers there.
pub(crate) async fn intervene(
    data: &Path,
    intervention: &Intervention,
) -> anyhow::Result<Option<QueueAnswer>> {
    let Some(answer) = reach(data, |client, url| client.post(url).json(intervention)).await? else {
        return Ok(None);
    };
    answer.json().await.context(UNREADABLE).map(Some)
}

/// Sends a request to the queue of the instance on this data directory. `None` where there is none: it never ran, it
/// ended, or what listens at its place is another process.
async fn reach(
    data: &Path,
    request: impl FnOnce(&reqwest::Client, String) -> reqwest::RequestBuilder,
) -> anyhow::Result<Option<reqwest::Response>> {
    let Ok(endpoint) = Endpoint::read(data) else { return Ok(None) };
    let request = request(&client()?, format!("{}/api/v1/queue", endpoint.admin));
    match request.bearer_auth(&endpoint.token).send().await {
        Ok(answer) if answer.status() == reqwest::StatusCode::UNAUTHORIZED => Ok(None),
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_connect() => Ok(None),
        Err(error) => Err(error).with_context(|| not_running(data, &endpoint)),
    }
}

async fn ask(data: &Path, what: &str, body: &impl Serialize) -> anyhow::Result<Vec<ObjectRef>> {
    let endpoint = Endpoint::read(data)?;
    let url = format!("{}/api/v1/{what}", endpoint.admin);
    let request = client()?.post(url).bearer_auth(&endpoint.token).json(body);
    let answer = request.send().await.with_context(|| not_running(data, &endpoint))?;
    match accepted(answer, data, &endpoint)?.json().await.context(UNREADABLE)? {
        ReconcileAnswer::Queued { targets } => Ok(targets),
        ReconcileAnswer::Unknown { why } | ReconcileAnswer::Unavailable { why } => bail!("{why}"),
    }
}

/// The status as aligned text: what fails comes with its reason, in full.
pub(crate) fn render(report: &StatusReport) -> String {
    let header = ["KIND", "NAME", "STATUS", "LATEST", "LAST SCAN", "LAST COMMIT", "MESSAGE"];
    let rows = report.resources.iter().map(|status| {
        [
            status.object.kind.to_string(),
            status.object.key.to_string(),
            status.ready.as_str().to_owned(),
            latest(status),
            status.details.last_scan.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}")),
            status
                .details
                .last_commit
                .as_ref()
                .map_or_else(|| "-".to_owned(), |id| id.chars().take(10).collect()),
            status.message.clone(),
        ]
    });
    let mut text = table::render(&header, rows);
    for status in &report.resources {
        for diagnostic in &status.details.diagnostics {
            writeln!(text, "{}: {diagnostic}", status.object).expect("writing to a String cannot fail");
        }
    }
    let Shares { held, of } = report.shares;
    if of > 1 {
        let line =
            format!("This process has {held} of {of} shares of the work; what is missing here, others do.");
        writeln!(text, "{line}").expect("writing to a String cannot fail");
    }
    for problem in &report.problems {
        writeln!(text, "{problem}").expect("writing to a String cannot fail");
    }
    text
}

/// Whether anything fails: `status` exits with 1 then, so that scripts can ask.
pub(crate) fn is_failing(report: &StatusReport) -> bool {
    report.resources.iter().any(|status| status.ready == Readiness::Failing)
}

fn latest(status: &ObjectStatus) -> String {
    match (&status.details.latest, status.details.tags, &status.details.webhook_path) {
        (Some(latest), _, _) => latest.clone(),
        (None, Some(tags), _) => format!("{tags} tags"),
        (None, None, Some(path)) => path.clone(),
        (None, None, None) => "-".to_owned(),
    }
}

/// A process that ended without tidying up leaves its address, which another one may have now.
fn accepted(
    answer: reqwest::Response,
    data: &Path,
    endpoint: &Endpoint,
) -> anyhow::Result<reqwest::Response> {
    if answer.status() == reqwest::StatusCode::UNAUTHORIZED {
        bail!("what answers on {} is not the instance of {}: start it again", endpoint.admin, data.display());
    }
    Ok(answer)
}

fn not_running(data: &Path, endpoint: &Endpoint) -> String {
    format!(
        "no instance answers on {} for {}: is `windlass run` still running?",
        endpoint.admin,
        data.display()
    )
}

fn client() -> anyhow::Result<reqwest::Client> {
    // The instance is on loopback: a proxy from the environment must not get the token.
    let builder = reqwest::Client::builder().timeout(TIMEOUT).no_proxy();
    builder.build().context("the HTTP client could not be built")
}
