//! Where a request may go, and where a credential may go with it.
//!
//! Token realms, redirects and `Link` headers are URLs that a registry, or whoever speaks in its place, supplies.
//! Each is checked here before use. A refusal is a sentence for people. Nothing here resolves names or sends.

use url::Url;

/// Token servers that belong to a registry but live on another host: (registry's API host, token server).
/// Other registries either serve tokens themselves or are configured with `auth_hosts`.
const TOKEN_SERVERS: [(&str, &str); 2] =
    [("registry-1.docker.io", "auth.docker.io"), ("registry.gitlab.com", "gitlab.com")];

/// Checks a token realm.
///
/// It must be HTTPS, or plain HTTP on the registry's own host name where the registry is configured as insecure. With
/// a credential it must also be the registry's own host name, that registry's known token server, or one of
/// `auth_hosts` (`host` or `host:port`). Ports may differ: a token server beside the registry is common, and TLS
/// proves the name.
pub(crate) fn realm(
    registry: &Url,
    realm: &str,
    insecure: bool,
    auth_hosts: &[String],
    credential: bool,
) -> Result<Url, String> {
    let url = Url::parse(realm).map_err(|error| format!("its token realm is not a URL ({error})"))?;
    let (Some(host), Some(own)) = (url.host_str(), registry.host_str()) else {
        return Err("its token realm names no host".to_owned());
    };
    if !no_user_info(&url) {
        return Err("its token realm contains credentials of its own".to_owned());
    }
    let same = host == own;
    if !(url.scheme() == "https" || url.scheme() == "http" && insecure && same) {
        return Err(format!("its token realm {} is not HTTPS", origin(&url)));
    }
    let known = TOKEN_SERVERS.iter().any(|(registry, server)| own == *registry && host == *server);
    let listed = || auth_hosts.iter().any(|listed| is_host(&url, listed));
    if credential && !same && !known && !listed() {
        return Err(format!(
            "its token server {host} is not the registry's own host, so the credentials were not sent; add it to the \
             registry's allowed authentication hosts if it is trusted"
        ));
    }
    Ok(url)
}

/// Resolves a redirect from `from`. HTTPS never becomes HTTP, and plain HTTP stays on its host name.
pub(crate) fn redirect(from: &Url, location: &str) -> Result<Url, String> {
    let to = from.join(location).map_err(|error| format!("it redirects to what is not a URL ({error})"))?;
    if to.host_str().is_none() || !no_user_info(&to) {
        return Err("it redirects to a URL without host or with credentials in it".to_owned());
    }
    match to.scheme() {
        "https" => Ok(to),
        "http" if from.scheme() == "http" && to.host_str() == from.host_str() => Ok(to),
        _ => Err(format!("it redirects from {} to {}, which is not HTTPS", origin(from), origin(&to))),
    }
}

/// Resolves a `Link` target against the page that carried it.
///
/// Only path and query are taken over; the origin stays that of the page. So a registry behind a proxy that writes
/// `http://` into its links still works, and another host is refused.
pub(crate) fn next_page(page: &Url, target: &str) -> Result<Url, String> {
    let to = page.join(target).map_err(|error| format!("its `Link` is not a URL ({error})"))?;
    if to.host_str() != page.host_str() {
        return Err(format!("its `Link` leads to another host, {}", origin(&to)));
    }
    let mut next = page.clone();
    next.set_path(to.path());
    next.set_query(to.query());
    next.set_fragment(None);
    Ok(next)
}

/// Whether two URLs have the same scheme, host and port: the condition for repeating a credential.
pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// A URL without path and query, for messages: signed queries are secrets.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn no_user_info(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// Whether `listed`, a `host` or `host:port`, is the host of this HTTPS URL.
fn is_host(url: &Url, listed: &str) -> bool {
    Url::parse(&format!("https://{listed}")).is_ok_and(|listed| {
        url.host_str() == listed.host_str() && url.port_or_known_default() == listed.port_or_known_default()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn realms_that_may_see_credentials() {
        for (registry, target) in [
            ("https://registry-1.docker.io", "https://auth.docker.io/token"),
            ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
            ("https://ghcr.io", "https://ghcr.io/token"),
            ("https://reg.example:5000", "https://reg.example:5001/auth"),
            ("https://reg.example", "https://AUTH.example/t"),
            ("https://reg.example", "https://auth.example:8443/t"),
        ] {
            let auth_hosts = ["auth.example".to_owned(), "auth.example:8443".to_owned()];
            assert!(realm(&url(registry), target, false, &auth_hosts, true).is_ok(), "{registry} {target}");
        }
        assert!(realm(&url("http://127.0.0.1:5000"), "http://127.0.0.1:5001/t", true, &[], true).is_ok());
    }

    #[test]
    fn other_realms_get_no_credentials_and_the_refusal_says_so() {
        for target in [
            "https://evil.example/token",
            "https://reg.example.evil.example/token",
            "https://auth.docker.io/token",
            "https://auth.example:444/token",
        ] {
            let refusal = realm(&url("https://reg.example"), target, false, &["auth.example".into()], true)
                .unwrap_err();
            assert!(refusal.contains("credentials were not sent"), "{target}: {refusal}");
            assert!(
                realm(&url("https://reg.example"), target, false, &[], false).is_ok(),
                "anonymous may ask"
            );
        }
    }

    #[test]
    fn realms_without_transport_security_are_refused() {
        for (registry, target, insecure) in [
            ("https://reg.example", "http://reg.example/token", false),
            ("http://reg.example", "http://other.example/token", true),
            ("https://reg.example", "http://169.254.169.254/latest", true),
            ("https://reg.example", "file:///etc/passwd", true),
            ("https://reg.example", "https://user:pw@reg.example/t", false),
            ("https://reg.example", "/token", false),
            ("https://reg.example", "", false),
        ] {
            for credential in [false, true] {
                assert!(realm(&url(registry), target, insecure, &[], credential).is_err(), "{target}");
            }
        }
    }

    #[test]
    fn redirects_never_leave_https_and_http_stays_at_home() {
        let from = url("https://reg.example/v2/a/manifests/1");
        assert_eq!(redirect(&from, "/other").unwrap().as_str(), "https://reg.example/other");
        assert_eq!(redirect(&from, "https://cdn.example/x").unwrap().as_str(), "https://cdn.example/x");
        for bad in [
            "http://reg.example/x",
            "http://cdn.example/x",
            "ftp://x/y",
            "https://u:p@cdn.example/",
            "data:,x",
            "http://[",
        ] {
            assert!(redirect(&from, bad).is_err(), "{bad}");
        }
        let plain = url("http://127.0.0.1:5000/x");
        assert!(redirect(&plain, "http://127.0.0.1:6000/y").is_ok());
        assert!(redirect(&plain, "https://cdn.example/y").is_ok());
        assert!(redirect(&plain, "http://169.254.169.254/y").is_err());
        let secret = redirect(&from, "http://cdn.example/x?signature=hunter22").unwrap_err();
        assert!(!secret.contains("hunter22"));
    }

    #[test]
    fn the_next_page_keeps_the_origin_of_the_page() {
        let page = url("https://reg.example:5000/v2/a/tags/list?n=2");
        for (target, next) in [
            ("/v2/a/tags/list?last=x", "https://reg.example:5000/v2/a/tags/list?last=x"),
            ("?last=x", "https://reg.example:5000/v2/a/tags/list?last=x"),
            ("http://reg.example/v2/a/tags/list?last=x#f", "https://reg.example:5000/v2/a/tags/list?last=x"),
            ("https://u:p@reg.example/z", "https://reg.example:5000/z"),
        ] {
            assert_eq!(next_page(&page, target).unwrap().as_str(), next, "{target}");
        }
        for bad in ["https://evil.example/v2/a/tags/list", "//evil.example/x", "data:,x", "http://["] {
            assert!(next_page(&page, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn origins_differ_by_scheme_host_or_port() {
        let a = url("https://reg.example/x");
        assert!(same_origin(&a, &url("https://reg.example:443/y")));
        for other in ["http://reg.example/x", "https://reg.example:444/x", "https://other.example/x"] {
            assert!(!same_origin(&a, &url(other)), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_text_leads_away(text in "\\PC{0,60}", tail in "[/:@?#.a-z0-9\\\\]{0,40}") {
            let page = url("https://reg.example:5000/v2/a/tags/list");
            for target in [text, format!("https://reg.example{tail}"), format!("//{tail}"), format!("http:{tail}")] {
                if let Ok(next) = next_page(&page, &target) {
                    prop_assert!(same_origin(&page, &next) && no_user_info(&next));
                }
                if let Ok(to) = redirect(&page, &target) {
                    prop_assert!(to.scheme() == "https" && no_user_info(&to));
                }
                if let Ok(to) = realm(&page, &target, true, &[], true) {
                    prop_assert_eq!(to.host_str(), Some("reg.example"));
                }
            }
        }
    }
}
