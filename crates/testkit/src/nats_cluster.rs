//! Three nats-servers that are one cluster: what is stored with three copies outlives any one of them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::jetstream::stream::Config;

use crate::nats::NatsServer;
use crate::{eventually, port};

/// Servers in a cluster, as JetStream recommends at least.
const SERVERS: usize = 3;
/// The servers find each other and elect a leader. A machine that also compiles is slow.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running cluster. Dropping it kills its servers.
#[derive(Debug)]
pub struct NatsCluster {
    servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts three servers that ask for no login, and waits until they take a stream with three copies.
    ///
    /// # Errors
    /// When there is no program (`cargo xtask setup` builds it), or they do not become a cluster.
    pub async fn start() -> Result<Self> {
        let mut cluster = Self::stopped()?;
        cluster.launch()?;
        cluster.forms().await?;
        Ok(cluster)
    }

    /// Servers that are not started yet.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn stopped() -> Result<Self> {
        let routes = (0..SERVERS).map(|_| port::free()).collect::<Result<Vec<_>>>()?;
        let listed: Vec<String> = routes.iter().map(|route| format!("\"nats-route://{route}\"")).collect();
        let listed = listed.join(", ");
        let configuration = |(number, route)| {
            let name = name(number);
            let cluster = format!("cluster {{ name: test, listen: \"{route}\", routes: [{listed}] }}");
            NatsServer::stopped(&format!("server_name: {name}\n{cluster}"))
        };
        let servers = routes.iter().enumerate().map(configuration).collect::<Result<_>>()?;
        Ok(Self { servers })
    }

    /// Starts all servers, without waiting for anything.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn launch(&mut self) -> Result<()> {
        self.servers.iter_mut().try_for_each(NatsServer::launch)
    }

    /// Waits until a stream with three copies can be made.
    ///
    /// # Errors
    /// When it cannot be.
    pub async fn forms(&self) -> Result<()> {
        eventually(PATIENCE, "three servers to be a cluster", async || {
            // Whoever looks as well finds the same stream.
            let probe = Config { name: "probe".to_owned(), num_replicas: SERVERS, ..Config::default() };
            self.servers[0].jetstream().await?.get_or_create_stream(probe).await?;
            Ok(Some(()))
        })
        .await
    }

    /// All servers' addresses, separated by commas.
    pub fn url(&self) -> String {
        self.servers.iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
    }

    /// The servers, to be killed and started.
    pub fn servers(&mut self) -> &mut [NatsServer] {
        &mut self.servers
    }

    /// Waits until a stream has a leader among the servers that are up; gives its place in [`Self::servers`].
    ///
    /// # Errors
    /// When none is elected.
    pub async fn leader(&self, stream: &str) -> Result<usize> {
        eventually(PATIENCE, format!("a leader of the stream {stream}"), async || {
            let up = self.servers.iter().find(|server| server.is_up()).context("no server is up")?;
            let info = up.jetstream().await?.get_stream(stream).await?.get_info().await?;
            let leader = info.cluster.and_then(|cluster| cluster.leader);
            let place = (0..SERVERS).find(|number| leader.as_deref() == Some(&name(*number)));
            Ok(place.filter(|place| self.servers[*place].is_up()))
        })
        .await
    }
}

fn name(number: usize) -> String {
    format!("node-{number}")
}
