use std::net::SocketAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use windlass_model::resource::{SenderType, Unsupported};
use windlass_model::{Kind, ObjectKey};

use super::*;
use crate::fixture::{Still, TOKEN, key, meta, receiver, repository, secret, spec};

const PUSHED: &[u8] = include_bytes!("../../tests/payloads/harbor/cloudevents_artifact_pushed.json");
const PUSHED_WITHOUT_ID: &[u8] =
    include_bytes!("../../tests/payloads/harbor/default_PUSH_ARTIFACT_with_port.json");
const PULLED: &[u8] = include_bytes!("../../tests/payloads/harbor/cloudevents_artifact_pulled.json");
const ENVELOPE: &[u8] = include_bytes!("../../tests/payloads/distribution/push_envelope_three_events.json");

/// The endpoint on a real socket, over a real store.
struct World {
    address: SocketAddr,
    store: Store,
    spec: watch::Sender<Arc<Spec>>,
    metrics: Metrics,
    _server: JoinSet<()>,
    _dir: TempDir,
}

struct Answer {
    status: u16,
    head: String,
    body: serde_json::Value,
}

/// Receivers of each type over the same repositories, and one that is suspended.
fn fleet() -> Spec {
    let mut closed = receiver("closed", SenderType::Generic, &["busybox"]);
    closed.suspend = true;
    let both = &["busybox", "test"];
    spec(
        vec![
            repository("busybox", "harbor.internal/library/busybox"),
            repository("test", "harbor.internal/library/test"),
        ],
        vec![
            receiver("harbor", SenderType::Harbor, both),
            receiver("generic", SenderType::Generic, both),
            receiver("signed", SenderType::GenericHmac, both),
            receiver("registry", SenderType::Distribution, both),
            closed,
        ],
    )
}

fn path(name: &str) -> String {
    receiver(name, SenderType::Generic, &[]).webhook_path(TOKEN.as_bytes())
}

impl World {
    async fn start() -> Self {
        Self::with_limits(Limits::default()).await
    }

    async fn with_limits(limits: Limits) -> Self {
        let dir = TempDir::new().unwrap();
        let store = Store::open(dir.path(), Arc::new(Still)).await.unwrap();
        let (spec, receiver) = watch::channel(Arc::new(fleet()));
        let metrics = Metrics::default();
        let state =
            WebhookState::with_limits(store.clone(), Arc::new(Still), receiver, metrics.clone(), limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router(state)).await.unwrap() });
        Self { address, store, spec, metrics, _server: server, _dir: dir }
    }

    /// Sends bytes as they are, and reads the answer to its end.
    async fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: serde_json::from_str(body).unwrap_or_default() }
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.raw(&request("POST", path, headers, body)).await
    }

    async fn post_harbor(&self, body: &[u8]) -> Answer {
        self.post(&path("harbor"), &[("Authorization", TOKEN)], body).await
    }

    /// What is queued: `name: hint by event`, in order.
    async fn queued(&self) -> Vec<String> {
        let mut queued = Vec::new();
        for work in self.store.claim(&windlass_store::Keys::ALL, 100, Still.now()).await.unwrap() {
            assert_eq!(work.target.kind, Kind::ImageRepository);
            for got in work.hints {
                queued.push(format!("{}: {} by {}", work.target.key.name, got.hint, got.event));
            }
        }
        queued.sort();
        queued
    }
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: windlass\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    let length = body.len();
    [format!("{head}Content-Length: {length}\r\n\r\n").as_bytes(), body].concat()
}

#[tokio::test]
async fn a_push_is_durable_before_it_is_answered_and_its_repeat_is_a_duplicate() {
    let world = World::start().await;
    let id = "4b2f89a6-548d-4c12-9993-a1f5790b97d2";
    let first = world.post_harbor(PUSHED).await;
    assert_eq!((first.status, first.body), (200, serde_json::json!({ "event": id, "signals": 1 })));
    assert!(first.head.contains("content-type: application/json"), "{}", first.head);
    let again = world.post_harbor(PUSHED).await;
    let duplicate = serde_json::json!({ "event": id, "signals": 0, "duplicate": true });
    assert_eq!((again.status, again.body), (200, duplicate));
    assert_eq!(world.queued().await, [format!("busybox: tag 1.36.1 pushed by {id}")]);
    assert_eq!(world.metrics.count(Some(SenderType::Harbor), Outcome::Accepted), 1);
    assert_eq!(world.metrics.count(Some(SenderType::Harbor), Outcome::Duplicate), 1);
}

#[tokio::test]
async fn pushes_without_a_delivery_id_are_never_taken_for_repeats() {
    let world = World::start().await;
    let first = world.post_harbor(PUSHED_WITHOUT_ID).await;
    let second = world.post_harbor(PUSHED_WITHOUT_ID).await;
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!((&first.body["signals"], &second.body["signals"]), (&1.into(), &1.into()));
    assert_ne!(first.body["event"], second.body["event"]);
    assert!(first.body["event"].as_str().unwrap().starts_with("harbor-"), "{}", first.body);
}

#[tokio::test]
async fn each_sender_type_is_let_in_by_its_own_proof_only() {
    let world = World::start().await;
    let signature = hex::encode(
        <Hmac<Sha256> as KeyInit>::new_from_slice(TOKEN.as_bytes())
            .unwrap()
            .chain_update(b"anything")
            .finalize()
            .into_bytes(),
    );
    let signed = format!("sha256={signature}");
    let forged = format!("sha256={}", "0".repeat(64));
    let bearer = format!("Bearer {TOKEN}");
    let authorization = |value| vec![("Authorization", value)];
    for (name, headers, body, status) in [
        ("harbor", authorization(TOKEN), PULLED, 200),
        ("harbor", authorization("wrong"), PULLED, 401),
        ("harbor", vec![], PULLED, 401),
        ("harbor", vec![], b"not even JSON".as_slice(), 401),
        ("registry", authorization(TOKEN), ENVELOPE, 200),
        ("registry", authorization(&bearer), ENVELOPE, 200),
        ("registry", authorization("Bearer wrong"), ENVELOPE, 401),
        ("signed", vec![("X-Signature", signed.as_str())], b"anything", 200),
        ("signed", vec![("X-Signature", signed.as_str())], b"anything else", 401),
        ("signed", vec![("X-Signature", forged.as_str())], b"anything", 401),
        ("signed", vec![], b"anything", 401),
        ("generic", vec![], b"\xff\xfe", 200),
    ] {
        let answer = world.post(&path(name), &headers, body).await;
        assert_eq!(answer.status, status, "{name} {headers:?} {}", answer.body);
        if status == 401 {
            assert!(answer.head.contains("www-authenticate: "), "{}", answer.head);
            assert_eq!(answer.body["error"], "the token or signature is missing or wrong");
        }
    }
    assert_eq!(world.metrics.count(Some(SenderType::Harbor), Outcome::Unauthorized), 3);
}

#[tokio::test]
async fn an_event_acts_on_the_images_that_it_names_and_generic_on_all() {
    let world = World::start().await;
    let answer = world.post(&path("registry"), &[("Authorization", TOKEN)], ENVELOPE).await;
    assert_eq!(answer.body, serde_json::json!({ "event": "asdf-asdf-asdf-asdf-0", "signals": 1 }));
    let answer = world.post(&path("generic"), &[], b"").await;
    assert_eq!(answer.body["signals"], 2);
    let event = answer.body["event"].as_str().unwrap();
    assert_eq!(
        world.queued().await,
        [
            format!("busybox: rescan (Webhook) by {event}"),
            "test: manifest sha256:fea8895f450959fa676bcc1df0611ea93823a735a01205fd8622846041d0c7cf pushed by asdf-asdf-asdf-asdf-0".to_owned(),
            format!("test: rescan (Webhook) by {event}"),
        ]
    );
}

#[tokio::test]
async fn the_events_of_an_envelope_are_recognised_one_by_one() {
    let world = World::start().await;
    let envelope = |ids: &[&str]| {
        let event = |id: &&str| {
            format!(
                r#"{{"id":"{id}","action":"push","target":{{"repository":"library/test","tag":"{id}"}}}}"#
            )
        };
        format!(r#"{{"events":[{}]}}"#, ids.iter().map(event).collect::<Vec<_>>().join(","))
    };
    let token = [("Authorization", TOKEN)];
    let mut answers = Vec::new();
    for ids in [["a", "b"], ["b", "c"], ["a", "c"]] {
        answers.push(world.post(&path("registry"), &token, envelope(&ids).as_bytes()).await.body);
    }
    assert_eq!(
        answers,
        [
            serde_json::json!({ "event": "a", "signals": 2 }),
            serde_json::json!({ "event": "b", "signals": 1 }),
            serde_json::json!({ "event": "a", "signals": 0, "duplicate": true }),
        ]
    );
    assert_eq!(world.queued().await, ["a", "b", "c"].map(|id| format!("test: tag {id} pushed by {id}")));
}

#[tokio::test]
async fn a_delivery_id_that_could_be_misread_is_not_shown() {
    let world = World::start().await;
    let post = |id: String| {
        let body = format!(
            r#"{{"events":[{{"id":"{id}","action":"push","target":{{"repository":"library/test","tag":"1"}}}}]}}"#
        );
        let world = &world;
        async move { world.post(&path("registry"), &[("Authorization", TOKEN)], body.as_bytes()).await.body }
    };
    for id in [r"a\nWindlass-Event: b".to_owned(), "é".to_owned(), "x".repeat(100_000)] {
        let first = post(id.clone()).await;
        let event = first["event"].as_str().unwrap();
        assert!(event.starts_with("distribution-") && event.len() < 64, "{event}");
        assert_eq!((&first["signals"], &post(id).await["duplicate"]), (&1.into(), &true.into()));
    }
}

#[tokio::test]
async fn authentic_events_of_no_concern_are_answered_2xx_and_not_stored() {
    let world = World::start().await;
    let other = br#"{"type":"PUSH_ARTIFACT","event_data":{"resources":[{"tag":"1"}],"repository":{"repo_full_name":"library/other"}}}"#;
    for (body, reason) in
        [(PULLED, "not a push"), (other.as_slice(), "no ImageRepository of the receiver has this image")]
    {
        let answer = world.post_harbor(body).await;
        assert_eq!(
            (answer.status, answer.body),
            (200, serde_json::json!({ "signals": 0, "ignored": reason }))
        );
    }
    assert_eq!(world.queued().await, Vec::<String>::new());
    assert_eq!(world.metrics.count(Some(SenderType::Harbor), Outcome::Ignored), 2);
}

#[tokio::test]
async fn the_path_must_be_exact_the_query_is_no_part_of_it_and_any_method_will_do() {
    let world = World::start().await;
    let generic = path("generic");
    let upper = generic.to_uppercase().replace("/HOOK/", "/hook/");
    for (method, path, status) in [
        ("POST", generic.clone(), 200),
        ("GET", generic.clone(), 200),
        ("PUT", generic.clone(), 200),
        ("POST", format!("{generic}?a=b"), 200),
        ("POST", format!("{generic}/"), 404),
        ("POST", format!("{generic}0"), 404),
        ("POST", generic[..generic.len() - 1].to_owned(), 404),
        ("POST", upper, 404),
        (
            "POST",
            format!("{}%{:x}", &generic[..generic.len() - 1], generic.as_bytes()[generic.len() - 1]),
            404,
        ),
        ("POST", "/hook/".to_owned(), 404),
        ("POST", "/hook/unknown".to_owned(), 404),
        ("POST", "/".to_owned(), 404),
    ] {
        let answer = world.raw(&request(method, &path, &[], b"")).await;
        assert_eq!(answer.status, status, "{method} {path}");
    }
    assert_eq!(world.metrics.count(None, Outcome::UnknownPath), 5);
}

#[tokio::test]
async fn a_suspended_receiver_asks_to_come_back_later() {
    let world = World::start().await;
    let answer = world.post(&path("closed"), &[], b"").await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 60"), "{}", answer.head);
    assert_eq!(world.metrics.count(Some(SenderType::Generic), Outcome::Suspended), 1);

    let mut next = fleet();
    let unready = Arc::make_mut(next.receivers.get_mut(&key("generic")).unwrap());
    unready.meta.unsupported.push(Unsupported { field: "spec.resourceFilter".into(), why: "not yet".into() });
    world.spec.send_replace(Arc::new(next));
    assert_eq!(world.post(&path("generic"), &[], b"").await.status, 503, "not ready is as good as suspended");
}

#[tokio::test]
async fn a_reload_holds_from_the_next_request_on() {
    let world = World::start().await;
    assert_eq!(world.post(&path("late"), &[], b"").await.status, 404);
    let mut next = fleet();
    next.receivers.insert(key("late"), Arc::new(receiver("late", SenderType::Generic, &["busybox"])));
    next.receivers.remove(&key("generic"));
    world.spec.send_replace(Arc::new(next));
    assert_eq!(world.post(&path("late"), &[], b"").await.status, 200);
    assert_eq!(world.post(&path("generic"), &[], b"").await.status, 404);
}

#[tokio::test]
async fn a_receiver_without_a_token_is_not_served() {
    for values in [&[][..], &[("token", "")], &[("password", TOKEN)]] {
        let mut spec = fleet();
        spec.secrets.insert(key("token"), Arc::new(secret("token", values)));
        let routes = Routes::new(&spec);
        for token in [b"".as_slice(), TOKEN.as_bytes()] {
            assert!(routes.get(&receiver("generic", SenderType::Generic, &[]).webhook_path(token)).is_none());
        }
    }
}

#[test]
fn of_two_receivers_with_one_path_the_first_is_served() {
    // Flux's rule joins token, name and namespace: `ab` + `c` and `a` + `bc` meet.
    let place = |name: &str, namespace: &str| {
        let mut receiver = receiver(name, SenderType::Generic, &[]);
        receiver.meta.key = ObjectKey::new(namespace, name);
        receiver
    };
    let mut spec = spec(vec![], vec![place("ab", "c"), place("a", "bc")]);
    for namespace in ["c", "bc"] {
        let mut token = secret("token", &[("token", TOKEN)]);
        token.meta = meta("token");
        spec.secrets.insert(ObjectKey::new(namespace, "token"), Arc::new(token));
    }
    let routes = Routes::new(&spec);
    let path = place("ab", "c").webhook_path(TOKEN.as_bytes());
    assert_eq!(routes.get(&path).unwrap().receiver, "bc/a");
}

#[tokio::test]
async fn truncated_and_garbled_bodies_are_malformed_and_tell_where() {
    let world = World::start().await;
    let garbled = [b"{\"type\":\"".as_slice(), &[0xff; 100], b"\"}"].concat();
    for (body, error) in [
        (
            &PUSHED[..PUSHED.len() - 10],
            "the body is not the JSON that this sender writes (line 25, column 73)",
        ),
        (&garbled, "the body is not the JSON that this sender writes (line 1, column 10)"),
        (b"", "the body is not the JSON that this sender writes (line 1, column 0)"),
        (b"{}", "`type` is missing or is not a text"),
    ] {
        let answer = world.post_harbor(body).await;
        assert_eq!((answer.status, answer.body), (400, serde_json::json!({ "error": error })));
    }
    assert_eq!(world.metrics.count(Some(SenderType::Harbor), Outcome::Malformed), 4);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let world = World::with_limits(Limits { body: 1000, ..Limits::default() }).await;
    assert_eq!(world.post(&path("generic"), &[], &[b'x'; 1000]).await.status, 200);
    // The server ends the connection, and says so: a sender that keeps it open would lose its next event.
    let head = format!("POST {} HTTP/1.1\r\nHost: windlass\r\n", path("generic"));
    // Nothing follows the announcement: it alone is refused.
    let announced = format!("{head}Content-Length: 1000000000000\r\n\r\n");
    let refused = world.raw(announced.as_bytes()).await;
    assert!(refused.status == 413 && refused.head.contains("connection: close"), "{}", refused.head);
    let chunk = format!("3e9\r\n{}\r\n", "x".repeat(1001));
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n");
    let refused = world.raw(chunked.as_bytes()).await;
    assert!(refused.status == 413 && refused.head.contains("connection: close"), "{}", refused.head);
    assert_eq!(world.metrics.count(Some(SenderType::Generic), Outcome::TooLarge), 2);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_given_up() {
    let world = World::with_limits(Limits { read: Duration::from_millis(20), ..Limits::default() }).await;
    let mut slow = request("POST", &path("generic"), &[], b"0123456789");
    slow.truncate(slow.len() - 1);
    assert_eq!(world.raw(&slow).await.status, 408);
    assert_eq!(world.metrics.count(Some(SenderType::Generic), Outcome::Timeout), 1);
}

#[tokio::test]
async fn too_much_in_flight_is_refused_and_recovers() {
    let world = World::with_limits(Limits { in_flight: 1, ..Limits::default() }).await;
    let mut slow = request("POST", &path("generic"), &[("Expect", "100-continue")], b"0123456789");
    slow.truncate(slow.len() - 10);
    let mut first = TcpStream::connect(world.address).await.unwrap();
    first.write_all(&slow).await.unwrap();
    // The server asks for the body once it reads it: from then on the only place is taken.
    let mut asked = [0; 25];
    first.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    let refused = world.post(&path("generic"), &[], b"").await;
    assert_eq!(refused.status, 503);
    assert!(refused.head.contains("retry-after: 5"), "{}", refused.head);
    first.write_all(b"0123456789").await.unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(world.post(&path("generic"), &[], b"").await.status, 200);
}

#[tokio::test]
async fn what_the_store_does_not_take_is_not_acknowledged() {
    let world = World::start().await;
    world.store.clone().close().await.unwrap();
    let answer = world.post_harbor(PUSHED).await;
    assert_eq!(
        (answer.status, answer.body),
        (503, serde_json::json!({ "error": "not accepted now, try again" }))
    );
    assert!(answer.head.contains("retry-after: 5"), "{}", answer.head);
    assert_eq!(world.post_harbor(PULLED).await.status, 200, "what is ignored needs no store");
    assert_eq!(world.metrics.count(Some(SenderType::Harbor), Outcome::Unavailable), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_deliveries_and_their_repeats_are_each_stored_once() {
    let world = Arc::new(World::start().await);
    let mut clients = JoinSet::new();
    for client in 0..32 {
        let world = Arc::clone(&world);
        clients.spawn(async move {
            // Each id is posted by two clients.
            let id = client % 16;
            let mut taken = 0;
            for tag in 0..5 {
                let body = format!(
                    r#"{{"events":[{{"id":"{id}-{tag}","action":"push","target":{{"repository":"library/test","tag":"{id}-{tag}"}}}}]}}"#
                );
                let answer = world.post(&path("registry"), &[("Authorization", TOKEN)], body.as_bytes()).await;
                assert_eq!(answer.status, 200);
                taken += answer.body["signals"].as_u64().unwrap();
            }
            taken
        });
    }
    assert_eq!(clients.join_all().await.into_iter().sum::<u64>(), 16 * 5);
    assert_eq!(world.queued().await.len(), 16 * 5);
    assert_eq!(world.metrics.count(Some(SenderType::Distribution), Outcome::Duplicate), 16 * 5);
}
