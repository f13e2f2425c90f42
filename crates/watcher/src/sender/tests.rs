use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, header};
use proptest::prelude::*;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::*;

const BUSYBOX: &str = "sha256:dde8e930c7b6a490f728e66292bc9bce42efc9bbb5278bae40e4f30f6e00fe8c";
const SENDERS: [SenderType; 4] =
    [SenderType::Harbor, SenderType::Generic, SenderType::GenericHmac, SenderType::Distribution];

macro_rules! payload {
    ($path:literal) => {
        ($path, include_bytes!(concat!("../../tests/payloads/", $path)).as_slice())
    };
}

fn digest(text: &str) -> Digest {
    Digest::parse(text).unwrap()
}

fn tag(tag: &str, claimed: Option<&str>) -> Pushed {
    Pushed::Tag { tag: Tag::parse(tag).unwrap(), digest: claimed.map(digest) }
}

fn manifest(text: &str) -> Pushed {
    Pushed::Manifest { digest: digest(text) }
}

/// One push of one image.
fn push(id: Option<&str>, host: Option<&str>, repository: &str, what: Pushed) -> Content {
    Content::Pushes(vec![Push {
        delivery_id: id.map(str::to_owned),
        images: vec![ImageHint { host: host.map(str::to_owned), repository: repository.to_owned(), what }],
    }])
}

#[test]
fn every_harbor_sample_says_what_was_pushed() {
    let old = "sha256:19a9b61f6d2d2a21c451e31370ce785e6d8a1fa2b49f4dd39cc9deab715c6dd5";
    let cached = "sha256:4637dee26a57c3781f5c23ffaf5a956b2ef9ed8ea5161e98fcfee446dd133cac";
    let colon = "sha256:2fb9a3ed677bbd9e5eaea133260c5d4d6f61d03c7d9cb5e25d3d7762303e9bc5";
    let ignored = Content::Nothing("not a push");
    for ((name, body), expected) in [
        (payload!("harbor/cloudevents_artifact_pulled.json"), ignored.clone()),
        (
            payload!("harbor/cloudevents_artifact_pushed.json"),
            push(
                Some("4b2f89a6-548d-4c12-9993-a1f5790b97d2"),
                Some("harbor.dev"),
                "library/busybox",
                tag("1.36.1", Some(BUSYBOX)),
            ),
        ),
        (payload!("harbor/default_DELETE_ARTIFACT.json"), ignored.clone()),
        (payload!("harbor/default_PULL_ARTIFACT_by_digest.json"), ignored.clone()),
        (
            payload!("harbor/default_PUSH_ARTIFACT_proxy_cache.json"),
            push(
                None,
                Some("harbor.example"),
                "ext.mcr.microsoft.com/vscode/devcontainers/javascript-node",
                manifest(cached),
            ),
        ),
        (
            payload!("harbor/default_PUSH_ARTIFACT_tag_mismatch.json"),
            push(None, Some("harbor.example.org"), "shop/basket", tag("latest", Some(old))),
        ),
        (
            payload!("harbor/default_PUSH_ARTIFACT_v2.0_colon_digest.json"),
            push(None, Some("10.92.103.227"), "aaa/cnab_copy", manifest(colon)),
        ),
        (
            payload!("harbor/default_PUSH_ARTIFACT_with_port.json"),
            push(None, Some("harbor.dev:8443"), "library/busybox", tag("1.36.1", Some(BUSYBOX))),
        ),
        (payload!("harbor/default_REPLICATION.json"), ignored.clone()),
        (payload!("harbor/default_SCANNING_COMPLETED.json"), ignored.clone()),
        (
            payload!("harbor/malformed_resource_url_no_host.json"),
            push(None, None, "shop/basket", tag("2.0.1", Some(old))),
        ),
        (
            payload!("harbor/v1_pushImage.json"),
            push(None, Some("harbor.example.org"), "shop/basket", tag("2.0.1", Some(old))),
        ),
    ] {
        assert_eq!(parse(SenderType::Harbor, body), Ok(expected), "{name}");
    }
}

#[test]
fn every_distribution_sample_says_what_was_pushed() {
    let ignored = Content::Nothing("no push of a manifest");
    let pushed = "sha256:fea8895f450959fa676bcc1df0611ea93823a735a01205fd8622846041d0c7cf";
    for ((name, body), expected) in [
        (payload!("distribution/pull_manifest_tagged.json"), ignored.clone()),
        (
            payload!("distribution/push_envelope_three_events.json"),
            push(
                Some("asdf-asdf-asdf-asdf-0"),
                Some("registrycluster.local"),
                "library/test",
                manifest(pushed),
            ),
        ),
        (payload!("distribution/tag_delete.json"), ignored.clone()),
        // The digest is redacted in this sample.
        (
            payload!("gitlab/registry_notification_issue1539.json"),
            push(None, None, "mygroup/myimage", tag("latest", None)),
        ),
    ] {
        assert_eq!(parse(SenderType::Distribution, body), Ok(expected), "{name}");
    }
}

/// A Harbor push with one resource.
fn harbor(resource: &str) -> String {
    format!(
        r#"{{"type":"PUSH_ARTIFACT","event_data":{{"resources":[{resource}],"repository":{{"repo_full_name":"library/app"}}}}}}"#
    )
}

#[test]
fn claims_are_read_for_what_they_can_be() {
    let hex = "a".repeat(64);
    let sha = format!("sha256:{hex}");
    let referrer = || Pushed::Referrer { subject: digest(&sha) };
    for (resource, expected) in [
        (r#"{"tag":"1.0"}"#.to_owned(), tag("1.0", None)),
        (format!(r#"{{"tag":"1.0","digest":"{sha}"}}"#), tag("1.0", Some(&sha))),
        (r#"{"tag":" 1.0\n","digest":null}"#.to_owned(), tag("1.0", None)),
        (r#"{"tag":"\u0031.0"}"#.to_owned(), tag("1.0", None)),
        (r#"{"tag":2024}"#.to_owned(), tag("2024", None)),
        (r#"{"tag":"1.0","digest":"sha256:short"}"#.to_owned(), tag("1.0", None)),
        (format!(r#"{{"tag":"{sha}"}}"#), manifest(&sha)),
        (format!(r#"{{"tag":"","digest":"{sha}"}}"#), manifest(&sha)),
        (format!(r#"{{"tag":null,"digest":"{sha}"}}"#), manifest(&sha)),
        (format!(r#"{{"tag":"not a tag","digest":"{sha}"}}"#), manifest(&sha)),
        (format!(r#"{{"tag":"sha256-{hex}.sig"}}"#), referrer()),
        (format!(r#"{{"tag":"sha256-{hex}.att"}}"#), referrer()),
        (format!(r#"{{"tag":"sha256-{hex}.sbom"}}"#), referrer()),
        (format!(r#"{{"tag":"sha256-{hex}"}}"#), referrer()),
        (r#"{"tag":1.10}"#.to_owned(), Pushed::Unknown),
        (r#"{"tag":["1.0"],"digest":{"a":[1]}}"#.to_owned(), Pushed::Unknown),
        (r#"{"tag":true}"#.to_owned(), Pushed::Unknown),
        ("{}".to_owned(), Pushed::Unknown),
    ] {
        let content = parse(SenderType::Harbor, harbor(&resource).as_bytes());
        assert_eq!(content, Ok(push(None, None, "library/app", expected)), "{resource}");
    }
}

#[test]
fn harbor_under_a_path_names_the_image_with_the_path_and_without() {
    let body = harbor(r#"{"tag":"1.0","resource_url":"corp.example/registry/library/app:1.0"}"#);
    let Ok(Content::Pushes(pushes)) = parse(SenderType::Harbor, body.as_bytes()) else { panic!("{body}") };
    let named: Vec<(Option<&str>, &str)> =
        pushes[0].images.iter().map(|image| (image.host.as_deref(), image.repository.as_str())).collect();
    assert_eq!(
        named,
        [(Some("corp.example"), "library/app"), (Some("corp.example"), "registry/library/app")]
    );
}

#[test]
fn harbor_without_a_full_name_is_put_together() {
    let body = r#"{"type":"PUSH_ARTIFACT","event_data":{"resources":[null,{"tag":"1"}],
        "repository":{"name":"app","namespace":"library","repo_full_name":""}}}"#;
    let content = parse(SenderType::Harbor, body.as_bytes());
    assert_eq!(content, Ok(push(None, None, "library/app", tag("1", None))));
}

#[test]
fn distribution_events_are_told_apart_by_action_and_media_type() {
    let index = "application/vnd.oci.image.index.v1+json";
    for (event, expected) in [
        (
            format!(r#"{{"action":"push","target":{{"repository":"a/b","mediaType":"{index}","tag":"1"}}}}"#),
            true,
        ),
        (r#"{"action":"push","target":{"repository":"a/b","tag":"1"}}"#.to_owned(), true),
        (r#"{"action":"push","target":{"repository":"a/b","mediaType":"","tag":"1"}}"#.to_owned(), true),
        (r#"{"action":"push","target":{"repository":"a/b"}}"#.to_owned(), false),
        (
            r#"{"action":"push","target":{"repository":"a/b","mediaType":"application/octet-stream"}}"#
                .to_owned(),
            false,
        ),
        (format!(r#"{{"action":"mount","target":{{"repository":"a/b","mediaType":"{index}"}}}}"#), false),
        (
            format!(r#"{{"action":"pull","target":{{"repository":"a/b","mediaType":"{index}","tag":"1"}}}}"#),
            false,
        ),
        ("{}".to_owned(), false),
        ("null".to_owned(), false),
    ] {
        let body = format!(r#"{{"events":[{event}]}}"#);
        let is_push = match parse(SenderType::Distribution, body.as_bytes()).unwrap() {
            Content::Pushes(_) => true,
            Content::Nothing(_) => false,
            Content::Everything => panic!("{event}"),
        };
        assert_eq!(is_push, expected, "{event}");
    }
}

#[test]
fn distribution_takes_the_host_from_the_request_else_from_the_url() {
    for (extra, url, host) in [
        (r#","request":{"host":"reg.example:5000"}"#, "http://other/v2/a", Some("reg.example:5000")),
        (r#","request":{}"#, "http://reg.example:5000/v2/a/manifests/x", Some("reg.example:5000")),
        (r#","request":null"#, "https://user:pw@reg.example", Some("reg.example")),
        ("", "/v2/a", None),
        ("", "http:///v2/a", None),
        ("", "", None),
    ] {
        let body = format!(
            r#"{{"events":[{{"id":"e1","action":"push","target":{{"repository":"a/b","tag":"1","url":"{url}"}}{extra}}}]}}"#
        );
        let content = parse(SenderType::Distribution, body.as_bytes());
        assert_eq!(content, Ok(push(Some("e1"), host, "a/b", tag("1", None))), "{body}");
    }
}

#[test]
fn an_envelope_of_several_pushes_keeps_each_with_its_id_and_too_many_are_everything() {
    let envelope = |count: usize| {
        let event =
            |n| format!(r#"{{"id":"e{n}","action":"push","target":{{"repository":"a/b","tag":"{n}"}}}}"#);
        format!(r#"{{"events":[{}]}}"#, (0..count).map(event).collect::<Vec<_>>().join(","))
    };
    let Ok(Content::Pushes(pushes)) = parse(SenderType::Distribution, envelope(MAX_IMAGES).as_bytes()) else {
        panic!("not pushes")
    };
    assert_eq!(pushes.len(), MAX_IMAGES);
    assert_eq!(pushes[7].delivery_id.as_deref(), Some("e7"));
    let more = parse(SenderType::Distribution, envelope(MAX_IMAGES + 1).as_bytes());
    assert_eq!(more, Ok(Content::Everything));
}

#[test]
fn generic_senders_name_no_image_whatever_they_post() {
    for body in [b"".as_slice(), b"{}", b"\xff\xfe", br#"{"type":"PUSH_ARTIFACT"}"#] {
        assert_eq!(parse(SenderType::Generic, body), Ok(Content::Everything));
        assert_eq!(parse(SenderType::GenericHmac, body), Ok(Content::Everything));
    }
}

#[test]
fn what_cannot_be_read_is_malformed_and_says_where() {
    use SenderType::{Distribution, Harbor};
    let json = |line, column| Malformed::Json { line, column };
    let deep = "[".repeat(100_000);
    for (sender, body, expected) in [
        (Harbor, b"".as_slice(), json(1, 0)),
        (Harbor, b"not json", json(1, 2)),
        (Harbor, br#"{"type":"PUSH_ARTIFACT""#, json(1, 23)),
        (Harbor, b"{\"type\":\"PUSH\xff\"}", json(1, 14)),
        (Harbor, b"[]", json(1, 2)),
        (Harbor, b"{}", Malformed::Missing("type")),
        (Harbor, br#"{"type":"PUSH_ARTIFACT"}"#, Malformed::Missing("event_data")),
        (Harbor, br#"{"type":"harbor.artifact.pushed","event_data":{}}"#, Malformed::Missing("data")),
        (
            Harbor,
            br#"{"type":"PUSH_ARTIFACT","event_data":{}}"#,
            Malformed::Missing("repository.repo_full_name"),
        ),
        (
            Harbor,
            br#"{"type":"PUSH_ARTIFACT","event_data":{"resources":7,"repository":{"repo_full_name":"a/b"}}}"#,
            Malformed::Missing("resources"),
        ),
        (Distribution, b"{}", Malformed::Missing("events")),
        (Distribution, br#"{"events":[{"action":"push"}]}"#, Malformed::Missing("events[].target")),
        (
            Distribution,
            br#"{"events":[{"action":"push","target":{"tag":"1"}}]}"#,
            Malformed::Missing("events[].target.repository"),
        ),
        (Distribution, deep.as_bytes(), json(1, 100_000)),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]);
        assert_eq!(parse(sender, body).unwrap_err(), expected, "{shown}");
    }
}

fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
}

#[test]
fn the_token_is_taken_bare_or_as_a_bearer_and_nothing_else() {
    for sender in [SenderType::Harbor, SenderType::Distribution] {
        for (value, expected) in [
            ("s3cret", true),
            ("Bearer s3cret", true),
            ("bearer s3cret", true),
            ("Bearer  s3cret", false),
            ("Bearer", false),
            ("Bearer ", false),
            ("Basic s3cret", false),
            ("s3cre", false),
            ("s3crets", false),
            ("S3CRET", false),
            ("", false),
        ] {
            let headers = headers(&[(header::AUTHORIZATION, value)]);
            assert_eq!(authenticate(sender, b"s3cret", &headers, b"{}"), expected, "{sender:?} {value}");
        }
        assert!(!authenticate(sender, b"s3cret", &HeaderMap::new(), b"{}"));
        let verbatim = headers(&[(header::AUTHORIZATION, "Bearer s3cret")]);
        assert!(authenticate(sender, b"Bearer s3cret", &verbatim, b"{}"), "a token may itself hold a scheme");
    }
}

fn sign<M: KeyInit + Mac>(token: &[u8], body: &[u8]) -> String {
    hex::encode(<M as KeyInit>::new_from_slice(token).unwrap().chain_update(body).finalize().into_bytes())
}

#[test]
fn a_signature_counts_for_its_algorithm_its_token_and_its_exact_body() {
    let (token, body) = (b"s3cret".as_slice(), b"{\"a\": 1}".as_slice());
    let sha1 = sign::<Hmac<Sha1>>(token, body);
    let sha256 = sign::<Hmac<Sha256>>(token, body);
    let sha512 = sign::<Hmac<Sha512>>(token, body);
    for (value, body, expected) in [
        (format!("sha1={sha1}"), body, true),
        (format!("sha256={sha256}"), body, true),
        (format!("sha256={}", sha256.to_uppercase()), body, true),
        (format!("sha512={sha512}"), body, true),
        (format!("sha256={sha1}"), body, false),
        (format!("sha1={sha256}"), body, false),
        (format!("sha384={sha256}"), body, false),
        (format!("SHA256={sha256}"), body, false),
        (format!("sha256={sha256}"), b"{\"a\":1}".as_slice(), false),
        (format!("sha256={sha256}"), b"", false),
        (format!("sha256={}", &sha256[..62]), body, false),
        (format!("sha256={sha256}00"), body, false),
        (format!("sha256={}", sign::<Hmac<Sha256>>(b"other", body)), body, false),
        (sha256.clone(), body, false),
        ("sha256=".to_owned(), body, false),
        ("sha256=zz".to_owned(), body, false),
        ("=".to_owned(), body, false),
        (String::new(), body, false),
    ] {
        let headers = headers(&[(HeaderName::from_static("x-signature"), &value)]);
        assert_eq!(authenticate(SenderType::GenericHmac, token, &headers, body), expected, "{value}");
    }
    assert!(!authenticate(SenderType::GenericHmac, token, &HeaderMap::new(), body));
}

#[test]
fn generic_needs_nothing_but_its_path() {
    assert!(authenticate(SenderType::Generic, b"s3cret", &HeaderMap::new(), b""));
}

/// Payloads that are nearly right: a sample with some bytes replaced, or cut.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let samples: Vec<&'static [u8]> = vec![
        payload!("harbor/cloudevents_artifact_pushed.json").1,
        payload!("harbor/default_PUSH_ARTIFACT_with_port.json").1,
        payload!("distribution/push_envelope_three_events.json").1,
        payload!("gitlab/registry_notification_issue1539.json").1,
    ];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (prop::sample::select(samples), edits, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(sample, edits, end, cut)| {
            let mut body = sample.to_vec();
            for (at, byte) in edits {
                let at = at.index(body.len());
                body[at] = byte;
            }
            if cut {
                body.truncate(end.index(sample.len()));
            }
            body
        },
    )
}

proptest! {
    #[test]
    fn no_body_and_no_header_makes_a_sender_panic(
        body in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), nearly()],
        value in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        for sender in SENDERS {
            let _ = parse(sender, &body);
            let mut headers = HeaderMap::new();
            if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                headers.insert(header::AUTHORIZATION, value.clone());
                headers.insert("x-signature", value);
            }
            let admitted = authenticate(sender, b"a token that no generator guesses", &headers, &body);
            prop_assert_eq!(admitted, sender == SenderType::Generic);
        }
    }
}
