//! The built `windlass` program, run as an operator runs it and observed through what it offers to operators.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::folder::seen_from_outside;
use crate::http_server::client;
use crate::metrics::Metrics;
use crate::observed::LEFT_TO_DO;
use crate::process::Process;
use crate::{eventually, locate};

/// From the start of the process until it says where it listens. A machine that also compiles is slow.
const START: Duration = Duration::from_secs(30);
/// Written into the data folder by a running process: `{"listen": URL, "admin": URL, "pid": N, "token": TEXT}`.
const ENDPOINT_FILE: &str = "endpoint.json";

/// How to run the program.
#[derive(Debug, Clone)]
pub struct WindlassOptions {
    /// `--config`
    pub config: PathBuf,
    /// `--data`
    pub data: PathBuf,
    /// `--listen`
    pub listen: SocketAddr,
    /// `--admin-listen`
    pub admin_listen: Option<SocketAddr>,
    /// Further arguments of `run`.
    pub arguments: Vec<OsString>,
    /// Environment variables; nothing but PATH is inherited.
    pub environment: Vec<(String, String)>,
    /// Where the log goes.
    pub log: PathBuf,
    /// The program; by default what [`locate::windlass`] finds.
    pub program: Option<PathBuf>,
    /// A process whose user and mount namespaces it joins; `data` is a path there.
    pub joins: Option<u32>,
}

impl WindlassOptions {
    fn program(&self) -> Result<PathBuf> {
        self.program.clone().map_or_else(locate::windlass, Ok)
    }

    /// `--data`, as this process sees it.
    fn data_here(&self) -> PathBuf {
        self.joins.map_or_else(|| self.data.clone(), |process| seen_from_outside(process, &self.data))
    }
}

/// A running program. Dropping it kills it.
pub struct Windlass {
    options: WindlassOptions,
    process: Process,
    endpoint: Endpoint,
    http: reqwest::Client,
}

#[derive(Debug, Clone)]
struct Endpoint {
    listen: String,
    admin: String,
    token: String,
}

impl Windlass {
    /// Starts the program and waits until it says where it listens, which is when webhooks are accepted.
    ///
    /// # Errors
    /// When it is not built, ends, or does not say so in time.
    pub async fn start(options: WindlassOptions) -> Result<Self> {
        let (process, endpoint) = spawn(&options).await?;
        Ok(Self { options, process, endpoint, http: client()? })
    }

    /// `http://127.0.0.1:PORT`, where webhooks go.
    pub fn url(&self) -> &str {
        &self.endpoint.listen
    }

    /// `http://127.0.0.1:PORT`, where health, metrics and the local API are.
    pub fn admin_url(&self) -> &str {
        &self.endpoint.admin
    }

    /// The operating system's id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The process itself: signals, its end.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// When it does not `within` that time, or the process ends.
    pub async fn wait_ready(&mut self, within: Duration) -> Result<()> {
        let url = format!("{}/readyz", self.endpoint.admin);
        let (process, http) = (&mut self.process, &self.http);
        let ready = eventually(within, "windlass to be ready", async || {
            if let Err(ended) = process.expect_running() {
                return Ok(Some(Err(ended)));
            }
            let response = http.get(&url).send().await?;
            let status = response.status();
            if status.is_success() {
                return Ok(Some(Ok(())));
            }
            bail!("/readyz answers {status}: {}", response.text().await?)
        });
        ready.await?
    }

    /// Kills the process as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// When it still runs after `within`.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        self.process.terminate(within).await
    }

    /// Starts the program again with the same options; kills it first if it still runs.
    ///
    /// # Errors
    /// As [`Windlass::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.process.kill();
        (self.process, self.endpoint) = spawn(&self.options).await?;
        Ok(())
    }

    /// Sends a webhook: `path` begins with a slash.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<reqwest::Response> {
        let mut request = self.http.post(format!("{}{path}", self.endpoint.listen)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.with_context(|| format!("posting to {path}"))
    }

    /// Gets a page of the administrative address: `/healthz`.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn get(&self, path: &str) -> Result<reqwest::Response> {
        self.http
            .get(format!("{}{path}", self.endpoint.admin))
            .send()
            .await
            .with_context(|| format!("getting {path}"))
    }

    /// Scrapes `/metrics`.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn metrics(&self) -> Result<Metrics> {
        let text =
            self.get("/metrics").await?.error_for_status()?.text().await.context("reading the metrics")?;
        Ok(Metrics::parse(&text))
    }

    /// Waits until no work and no notice is left.
    ///
    /// # Errors
    /// When something stays for longer than `within`.
    pub async fn idle(&self, within: Duration) -> Result<()> {
        eventually(within, "nothing to be left to do", async || {
            let metrics = self.metrics().await?;
            let left = LEFT_TO_DO.map(|name| (name, metrics.get(name, &[])));
            ensure!(left.iter().all(|(_, count)| *count == Some(0.0)), "left: {left:?}");
            Ok(Some(()))
        })
        .await
    }

    /// `windlass status --output json`, also where it says by its exit status of 1 that a resource fails.
    ///
    /// # Errors
    /// When the command fails or prints something else.
    pub async fn status(&self) -> Result<Value> {
        let data = self.options.data_here().into_os_string();
        let output =
            command(&["status".into(), "--data".into(), data, "--output".into(), "json".into()]).await?;
        let answered = matches!(output.status.code(), Some(0 | 1));
        ensure!(answered, "windlass status: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).context("windlass status printed something that is not JSON")
    }

    /// What the local API asks for.
    pub fn admin_token(&self) -> &str {
        &self.endpoint.token
    }

    /// What `windlass status` shows, from the local API itself: for looking often.
    ///
    /// # Errors
    /// When no answer comes, or one that is not JSON.
    pub async fn report(&self) -> Result<Value> {
        let request = self.http.get(format!("{}/api/v1/status", self.endpoint.admin));
        let response =
            request.bearer_auth(&self.endpoint.token).send().await.context("asking for the status")?;
        let text = response.error_for_status()?.text().await.context("reading the status")?;
        serde_json::from_str(&text).context("the status is not JSON")
    }

    /// Waits until the status of one resource is as a test wants it, and gives it: `"ImagePolicy/apps/podinfo"`.
    ///
    /// # Errors
    /// When it does not become so `within` that time; the message has what was seen last.
    pub async fn wait_for_resource(
        &self,
        object: &str,
        within: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        eventually(within, format!("{object} to be as the test wants it"), async || {
            let report = self.report().await?;
            let found = resource(&report, object).with_context(|| format!("{object} has no status"))?;
            ensure!(wanted(found), "it is {found:#}");
            Ok(Some(found.clone()))
        })
        .await
    }

    /// `windlass reconcile KIND/NAMESPACE/NAME`
    ///
    /// # Errors
    /// When the command fails.
    pub async fn reconcile(&self, object: &str) -> Result<()> {
        let data = self.options.data_here().into_os_string();
        let output =
            run_to_end(&self.options.program()?, &["reconcile".into(), object.into(), "--data".into(), data])
                .await?;
        ensure!(output.status.success(), "windlass reconcile: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// What the program logged, of all runs since the first start.
    pub fn log_text(&self) -> String {
        self.process.log_text()
    }

    /// Resident memory now, in bytes (Linux: `VmRSS`).
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn resident_memory(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most resident memory so far, in bytes (Linux: `VmHWM`).
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn peak_memory(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    /// Resident memory that is the process's own, without files that it maps, in bytes (Linux: `RssAnon`).
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn own_memory(&self) -> Result<u64> {
        self.memory("RssAnon:")
    }

    fn memory(&self, field: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.process.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().context("reading a memory size")?;
        Ok(kibibytes * 1024)
    }
}

/// The entry of one resource in a report: `"ImagePolicy/apps/podinfo"`.
pub fn resource<'a>(report: &'a Value, object: &str) -> Option<&'a Value> {
    let (kind, key) = object.split_once('/')?;
    let (namespace, name) = key.split_once('/')?;
    report["resources"].as_array()?.iter().find(|entry| {
        let found = &entry["object"];
        found["kind"] == kind && found["key"]["namespace"] == namespace && found["key"]["name"] == name
    })
}

/// Runs `windlass` with these arguments until it ends: `check`, `--help`, a `run` that is expected to refuse.
///
/// # Errors
/// When it is not built, or runs for more than a minute.
pub async fn command(arguments: &[OsString]) -> Result<Output> {
    run_to_end(&locate::windlass()?, arguments).await
}

async fn run_to_end(program: &Path, arguments: &[OsString]) -> Result<Output> {
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", locate::search_path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ended = tokio::time::timeout(Duration::from_mins(1), command.output()).await;
    ended
        .with_context(|| format!("windlass {arguments:?} still ran after a minute"))?
        .context("running windlass")
}

async fn spawn(options: &WindlassOptions) -> Result<(Process, Endpoint)> {
    let mut command = match options.joins {
        None => Command::new(options.program()?),
        Some(process) => {
            let mut command = Command::new("nsenter");
            command.args(["--user", "--mount", "--preserve-credentials", "--target", &process.to_string()]);
            command.arg(options.program()?);
            command
        }
    };
    command.env_clear().env("PATH", locate::search_path());
    command.envs(options.environment.iter().map(|(key, value)| (key, value)));
    command.args(run_arguments(options));
    let mut process = Process::spawn("windlass", &mut command, &options.log)?;
    let (file, id) = (options.data_here().join(ENDPOINT_FILE), process.id());
    let started = eventually(START, "windlass to say where it listens", async || {
        if let Err(ended) = process.expect_running() {
            return Ok(Some(Err(ended)));
        }
        Ok(read_endpoint(&file, id)?.map(Ok))
    });
    let endpoint = started.await??;
    Ok((process, endpoint))
}

fn run_arguments(options: &WindlassOptions) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["run".into(), "--config".into(), options.config.clone().into()];
    arguments.extend(["--data".into(), options.data.clone().into()]);
    arguments.extend(["--listen".into(), options.listen.to_string().into()]);
    if let Some(admin) = options.admin_listen {
        arguments.extend(["--admin-listen".into(), admin.to_string().into()]);
    }
    arguments.extend(options.arguments.iter().cloned());
    arguments
}

/// The endpoint, if the file is this process's and not one that an earlier process left.
fn read_endpoint(file: &Path, id: u32) -> Result<Option<Endpoint>> {
    let text = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let value: Value =
        serde_json::from_slice(&text).with_context(|| format!("reading {}", file.display()))?;
    if value["pid"].as_u64() != Some(u64::from(id)) {
        return Ok(None);
    }
    let text = |key: &str| {
        value[key].as_str().map(str::to_owned).with_context(|| format!("{} has no {key}", file.display()))
    };
    Ok(Some(Endpoint { listen: text("listen")?, admin: text("admin")?, token: text("token")? }))
}
