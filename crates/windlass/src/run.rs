//! `windlass run`: puts the parts together, starts their tasks, and ends in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use windlass_model::{Clock, Spec};
use windlass_notify::{Sender, SenderConfig};
use windlass_promoter::Parts;
use windlass_registry::{Pool, PoolConfig};
use windlass_store::{Retention, Store};
use windlass_tuf::{Cache, Refresher, Roots};
use windlass_watcher::WebhookState;
use windlass_web::{AdminToken, Limits, admin_router, serve};

use crate::clock::SystemClock;
use crate::config::{self, Configuration};
use crate::descriptors;
use crate::endpoint::{self, Endpoint};
use crate::git_program;
use crate::instance::RunningInstance;
use crate::lead::{self, Begun, Lead, Promoters};
use crate::queue::{Part, Role};
use crate::retention;
use crate::tasks::Tasks;

/// What `run` is told on the command line.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: Option<SocketAddr>,
    /// Whether an image that no Guard concerns is refused.
    pub(crate) require_guard: bool,
    /// How long finished things are kept.
    pub(crate) retention: Retention,
    /// Whom it shares its queue with, and what it does.
    pub(crate) part: Part,
}

/// The parts that every task works with.
struct World {
    clock: Arc<dyn Clock>,
    store: Store,
    configuration: watch::Receiver<Arc<Configuration>>,
    spec: watch::Receiver<Arc<Spec>>,
    registry: Registry,
    promoters: watch::Receiver<Promoters>,
    /// Absent where others promote.
    turns: Option<Begun>,
    webhooks: WebhookState,
}

/// Runs until a signal.
///
/// # Errors
/// What could not be started, or a task that ended by itself.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut tasks = Tasks::new();
    let store = open_store(&settings).await?;
    let (source, first) = config::Source::open(&settings.config, settings.require_guard)?;
    let (sender, configuration) = watch::channel(Arc::new(first));
    let world = assemble(&settings, store.clone(), configuration, &mut tasks).await?;
    tasks.spawn("configuration", source.follow(sender, tasks.stop()));
    listen(&settings, world, &mut tasks).await?;
    let ended = tasks.run().await;
    Endpoint::remove(&settings.data);
    store.close().await.context("the store did not end cleanly; what was accepted is safe")?;
    tracing::info!("stopped");
    ended
}

async fn open_store(settings: &Settings) -> anyhow::Result<Store> {
    let Settings { data, part, .. } = settings;
    let clock = Arc::new(SystemClock);
    match &part.shared {
        None => Store::open(data, clock).await.with_context(|| format!("--data {}", data.display())),
        Some(options) => Store::connect(data, options, clock)
            .await
            .with_context(|| format!("--queue {} with --data {}", options.servers, data.display())),
    }
}

async fn assemble(
    settings: &Settings,
    store: Store,
    configuration: watch::Receiver<Arc<Configuration>>,
    tasks: &mut Tasks,
) -> anyhow::Result<World> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let spec = spec_channel(configuration.clone(), tasks);
    let mut registry = Registry::default();
    // As Flux's controllers, and as the Git client.
    let pool_config = PoolConfig { proxy_from_environment: true, ..PoolConfig::default() };
    let pool = Pool::new(pool_config, windlass_registry::Metrics::register(&mut registry));
    let roots = trust_roots(settings, &clock, spec.clone(), &mut registry, tasks).await;
    let parts = Parts {
        clock: clock.clone(),
        store: store.clone(),
        pool,
        sender: Sender::new(&SenderConfig::default()).context("the notifier")?,
        metrics: windlass_promoter::Metrics::register(&mut registry),
        spec: spec.clone(),
        roots,
        mirrors: settings.data.join("mirrors"),
        git_clients: git_program::clients(),
    };
    let lead = Lead::new(parts, seed(&*clock), tasks.stop());
    let promoters = lead.current();
    let turns = match (&settings.part.shared, settings.part.roles.contains(&Role::Promoter)) {
        (None, _) => Some(lead.begin().await.context("the ledger could not be read")?),
        (Some(_), true) => Some(lead.stand_by(&member(&settings.part)?)),
        (Some(_), false) => None,
    };
    let webhook_metrics = windlass_watcher::Metrics::default();
    webhook_metrics.register(&mut registry);
    let webhooks = WebhookState::new(store.clone(), clock.clone(), spec.clone(), webhook_metrics);
    Ok(World { clock, store, configuration, spec, registry, promoters, turns, webhooks })
}

/// This process's name among those that share the queue.
fn member(part: &Part) -> anyhow::Result<String> {
    part.member.clone().map_or_else(endpoint::random_token, Ok)
}

/// What the cache holds is there at once; what is newer is fetched meanwhile.
async fn trust_roots(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    spec: watch::Receiver<Arc<Spec>>,
    registry: &mut Registry,
    tasks: &mut Tasks,
) -> watch::Receiver<Arc<Roots>> {
    let parts = windlass_tuf::Parts {
        clock: clock.clone(),
        cache: Cache::Keep(settings.data.join(windlass_tuf::FOLDER)),
        metrics: windlass_tuf::Metrics::register(registry),
        seed: seed(&**clock),
    };
    let configured = spec.borrow().clone();
    let (refresher, roots) = Refresher::open(parts, &configured).await;
    tasks.spawn("trust roots", refresher.run(spec, tasks.stop()));
    roots
}

/// Binds, tells the command line where, and starts the tasks. Webhooks are taken from here on.
async fn listen(settings: &Settings, world: World, tasks: &mut Tasks) -> anyhow::Result<()> {
    let listener = bind("--listen", settings.listen).await?;
    let admin = match settings.admin_listen {
        Some(address) => Some(bind("--admin-listen", address).await?),
        None => None,
    };
    let listen = listener.local_addr()?;
    let admin_address = admin.as_ref().map_or(Ok(listen), TcpListener::local_addr)?;
    let endpoint = Endpoint::new(listen, admin_address)?;
    let World { clock, store, configuration, spec, registry, promoters, turns, webhooks } = world;
    let shares = settings.part.shared.as_ref().map_or(1, |_| usize::from(lead::SHARES));
    let instance =
        RunningInstance::new(store.clone(), clock.clone(), configuration, spec, registry, promoters, shares);
    let admin_routes = admin_router(Arc::new(instance), AdminToken::new(&endpoint.token));
    let hooks = if settings.part.roles.contains(&Role::Watcher) {
        windlass_watcher::webhook::router(webhooks)
    } else {
        Router::new()
    };
    let limits = limits();
    match admin {
        Some(admin) => {
            serve_on("admin", admin, admin_routes, limits, tasks);
            serve_on("webhooks", listener, hooks, limits, tasks);
        }
        None => serve_on("webhooks", listener, hooks.merge(admin_routes), limits, tasks),
    }
    if let Some(turns) = turns {
        tasks.spawn("promoter", turns.run());
    }
    tasks.spawn("retention", retention::forget(store, clock, settings.retention, tasks.stop()));
    endpoint.write(&settings.data)?;
    tracing::info!(webhooks = %endpoint.listen, admin = %endpoint.admin, "running");
    Ok(())
}

async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{flag} {address}"))
}

fn serve_on(name: &'static str, listener: TcpListener, router: Router, limits: Limits, tasks: &mut Tasks) {
    let stop = tasks.stop();
    tasks.spawn(name, serve(listener, router, limits, stop));
}

/// As many connections as the process may have open files, with room for the rest of its work.
fn limits() -> Limits {
    let defaults = Limits::default();
    let connections = descriptors::connections(descriptors::raise(), defaults.connections);
    if connections < defaults.connections {
        tracing::warn!(
            connections,
            "few files may be open (`ulimit -n`): a listener holds fewer connections"
        );
    }
    Limits { connections, ..defaults }
}

/// The resources alone, for the services: they do not know where a configuration comes from.
fn spec_channel(
    mut configuration: watch::Receiver<Arc<Configuration>>,
    tasks: &mut Tasks,
) -> watch::Receiver<Arc<Spec>> {
    let (sender, receiver) = watch::channel(configuration.borrow_and_update().spec.clone());
    let stop = tasks.stop();
    tasks.spawn("spec", async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = configuration.changed() => if changed.is_err() {
                    stop.cancelled().await;
                    return;
                },
            }
            sender.send_replace(configuration.borrow_and_update().spec.clone());
        }
    });
    receiver
}

/// Spreads the polls of several instances; nothing depends on it being unpredictable.
fn seed(clock: &dyn Clock) -> u64 {
    clock.now().as_microsecond().unsigned_abs() ^ u64::from(std::process::id())
}
