//! The stream that is the log: what it must be like, and whether it is.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::ServerInfo;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::object_store::{self, ObjectStore};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{Context, ErrorCode};

use crate::shared::options::{ConnectError, NatsOptions};

/// The meaning of the messages: processes that give them another one must not share a log.
const FORMAT: &str = "2";
const FORMAT_KEY: &str = "windlass-format";
const FORMAT_FIELD: &str = "metadata.windlass-format";
/// A repeated publish is recognised for this long by the server; by the state, for ever.
const REPEATS: Duration = Duration::from_mins(2);
/// Copies in a cluster, as JetStream recommends.
const IN_A_CLUSTER: usize = 3;

/// The names of what we keep on the server.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) servers: String,
    pub(super) stream: String,
    replicas: usize,
    /// Whether what is there is taken as it is, and nothing is made.
    as_found: bool,
    /// The version of the server that we were connected to first.
    version: String,
}

impl Names {
    pub(super) fn new(options: &NatsOptions, server: &ServerInfo) -> Self {
        let clustered = server.cluster.is_some();
        let replicas = options.replicas.unwrap_or(if clustered { IN_A_CLUSTER } else { 1 });
        let (servers, stream) = (options.servers.clone(), options.stream.clone());
        Self { servers, stream, replicas, as_found: false, version: server.version.clone() }
    }

    /// For who comes to look, or for one change: how the stream is set up is the others' business, and only the meaning
    /// of its messages is compared.
    pub(super) fn as_found(options: &NatsOptions, server: &ServerInfo) -> Self {
        Self { as_found: true, ..Self::new(options, server) }
    }

    /// Where the log's messages are published.
    pub(super) fn subject(&self) -> String {
        format!("{}.log", self.stream)
    }

    /// Where members tell that they live. It is outside the log: nothing of it is kept.
    pub(super) fn beats(&self) -> String {
        format!("{}.beat", self.stream)
    }

    fn bucket(&self) -> String {
        format!("{}-state", self.stream)
    }

    fn config(&self) -> Config {
        Config {
            name: self.stream.clone(),
            description: Some("the log of windlass: every change of its queue, in order".to_owned()),
            subjects: vec![self.subject()],
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            // A full stream refuses new messages, which their senders are told of; it never drops old ones.
            discard: DiscardPolicy::New,
            max_messages: -1,
            max_messages_per_subject: -1,
            max_bytes: -1,
            max_message_size: -1,
            num_replicas: self.replicas,
            duplicate_window: REPEATS,
            metadata: HashMap::from([(FORMAT_KEY.to_owned(), FORMAT.to_owned())]),
            ..Config::default()
        }
    }

    /// The stream, made where it is missing and may be made, and refused where it is not as it must be.
    pub(super) async fn open(&self, jetstream: &Context) -> Result<Stream, ConnectError> {
        let refused = |action| {
            move |reason: String| ConnectError::JetStream { servers: self.servers.clone(), action, reason }
        };
        let stream = if self.as_found {
            jetstream.get_stream(&self.stream).await.map_err(|error| match error.kind() {
                GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    let (servers, stream) = (self.servers.clone(), self.stream.clone());
                    ConnectError::NoStream { servers, stream }
                }
                _ => refused("show the stream")(error.to_string()),
            })?
        } else {
            let made = jetstream.get_or_create_stream(self.config()).await;
            made.map_err(|error| refused("make the stream")(error.to_string()))?
        };
        let info =
            stream.get_info().await.map_err(|error| refused("describe the stream")(error.to_string()))?;
        self.check(&info.config)?;
        Ok(stream)
    }

    /// The bucket of the snapshots, made where it is missing and may be made.
    pub(super) async fn snapshots(&self, jetstream: &Context) -> Result<Option<ObjectStore>, ConnectError> {
        if let Ok(bucket) = jetstream.get_object_store(self.bucket()).await {
            return Ok(Some(bucket));
        }
        if self.as_found {
            return Ok(None);
        }
        let config = object_store::Config {
            bucket: self.bucket(),
            description: Some("snapshots of windlass's state".to_owned()),
            storage: StorageType::File,
            num_replicas: self.replicas,
            ..object_store::Config::default()
        };
        jetstream.create_object_store(config).await.map(Some).map_err(|error| ConnectError::JetStream {
            servers: self.servers.clone(),
            action: "make the bucket of snapshots",
            reason: error.to_string(),
        })
    }

    /// Compares what the server echoes with what is needed: older servers drop what they do not know, in silence.
    /// `max_bytes` and the placement are the operator's.
    fn check(&self, found: &Config) -> Result<(), ConnectError> {
        let wanted = self.config();
        let format = |config: &Config| config.metadata.get(FORMAT_KEY).cloned().unwrap_or_default();
        let change = "change it with `nats stream edit`, or delete the stream: the next resync converges";
        let newer = "the server must be nats-server 2.10 or newer, and every windlass on the stream of one version; \
                     after an upgrade, delete the stream: the next resync converges";
        let new_stream = "it cannot be changed: delete the stream, or choose another name";
        let fields = [
            ("subjects", shown(&found.subjects), shown(&wanted.subjects), change),
            ("retention", shown(&found.retention), shown(&wanted.retention), new_stream),
            ("storage", shown(&found.storage), shown(&wanted.storage), new_stream),
            ("discard", shown(&found.discard), shown(&wanted.discard), change),
            ("max_age", shown(&found.max_age), shown(&wanted.max_age), change),
            ("max_msgs", shown(&found.max_messages), shown(&wanted.max_messages), change),
            (
                "max_msgs_per_subject",
                shown(&found.max_messages_per_subject),
                shown(&wanted.max_messages_per_subject),
                change,
            ),
            ("max_msg_size", shown(&found.max_message_size), shown(&wanted.max_message_size), change),
            ("num_replicas", shown(&found.num_replicas), shown(&wanted.num_replicas), change),
            ("duplicate_window", shown(&found.duplicate_window), shown(&wanted.duplicate_window), change),
            ("no_ack", shown(&found.no_ack), shown(&wanted.no_ack), change),
            ("sealed", shown(&found.sealed), shown(&wanted.sealed), new_stream),
            ("deny_purge", shown(&found.deny_purge), shown(&wanted.deny_purge), new_stream),
            (FORMAT_FIELD, format(found), format(&wanted), newer),
        ];
        let matters = |field: &str| !self.as_found || field == FORMAT_FIELD;
        match fields.into_iter().find(|(field, found, wanted, _)| matters(field) && found != wanted) {
            None => Ok(()),
            Some((field, found, wanted, advice)) => Err(ConnectError::Mismatch {
                stream: self.stream.clone(),
                version: self.version.clone().into(),
                field,
                found: if found.is_empty() { "nothing".to_owned() } else { found },
                wanted,
                advice,
            }),
        }
    }
}

/// Tells a log from one of the same name that was deleted.
pub(super) fn log_of(info: &Info) -> String {
    format!("{}-{}", info.config.name, info.created.unix_timestamp_nanos())
}

fn shown(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(cluster: Option<&str>) -> ServerInfo {
        let cluster = cluster.map(str::to_owned);
        ServerInfo { version: "2.9.1".to_owned(), cluster, ..ServerInfo::default() }
    }

    fn refused(edit: impl FnOnce(&mut Config)) -> String {
        let options = NatsOptions { stream: "windlass".into(), ..NatsOptions::default() };
        let names = Names::new(&options, &server(None));
        let mut echoed = names.config();
        edit(&mut echoed);
        names.check(&echoed).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn what_the_server_echoes_is_compared_field_by_field() {
        assert_eq!(refused(|_| {}), "");
        assert_eq!(refused(|config| config.max_bytes = 1 << 30), "", "the operator's choice");
        let error = refused(|config| config.num_replicas = 3);
        assert!(error.contains("`num_replicas` 3, and 1 is needed"), "{error}");
        assert!(error.contains("nats-server 2.9.1"), "{error}");
        let error = refused(|config| config.max_age = Duration::from_mins(1));
        assert!(error.contains("`max_age` 60s, and 0ns is needed"), "{error}");
    }

    #[test]
    fn field_that_an_old_server_dropped_names_the_version_that_is_needed() {
        let error = refused(|config| config.metadata.clear());
        assert!(error.contains("`metadata.windlass-format` nothing"), "{error}");
        assert!(error.contains("nats-server 2.10"), "{error}");
    }

    #[test]
    fn visitor_takes_the_stream_as_it_is_but_for_the_format_of_its_messages() {
        let options = NatsOptions { stream: "windlass".into(), ..NatsOptions::default() };
        let names = Names::as_found(&options, &server(None));
        let mut found = Names::new(&options, &server(Some("three"))).config();
        found.max_age = Duration::from_mins(1);
        names.check(&found).unwrap();
        found.metadata.insert(FORMAT_KEY.to_owned(), "1".to_owned());
        let error = names.check(&found).unwrap_err().to_string();
        assert!(error.contains("`metadata.windlass-format` 1, and 2 is needed"), "{error}");
        assert!(error.contains("after an upgrade, delete the stream"), "{error}");
    }

    #[test]
    fn cluster_keeps_three_copies_unless_told_otherwise() {
        let options = NatsOptions { stream: "windlass".into(), ..NatsOptions::default() };
        assert_eq!(Names::new(&options, &server(None)).config().num_replicas, 1);
        assert_eq!(Names::new(&options, &server(Some("three"))).config().num_replicas, 3);
        let five = NatsOptions { replicas: Some(5), ..options };
        assert_eq!(Names::new(&five, &server(Some("three"))).config().num_replicas, 5);
    }
}
