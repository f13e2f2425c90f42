//! Proxies that people have: HTTP with `CONNECT`, and SOCKS5, both with a password, in front of a TLS server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use windlass_git::{Limits, ProxyConfig};

use crate::support::{BOTH, World, update};
use crate::tls::{Authority, Front};

/// What a proxy was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    target: String,
    admitted: bool,
}

/// A proxy for one user, `bot` with the password `pass`.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _task: JoinSet<()>,
}

#[derive(Clone, Copy)]
enum Kind {
    Http,
    Socks5,
}

impl Proxy {
    async fn start(kind: Kind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let log = Arc::clone(&asked);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let log = Arc::clone(&log);
                connections.spawn(async move {
                    let asked = match kind {
                        Kind::Http => connect(&mut stream).await,
                        Kind::Socks5 => socks5(&mut stream).await,
                    };
                    log.lock().unwrap().push(asked.clone());
                    if asked.admitted {
                        let mut target = TcpStream::connect(asked.target).await.unwrap();
                        // Either side may end the connection.
                        drop(tokio::io::copy_bidirectional(&mut stream, &mut target).await);
                    }
                });
            }
        });
        Self { address, asked, _task: task }
    }

    fn config(&self, scheme: &str, password: &str) -> ProxyConfig {
        ProxyConfig::Server {
            address: format!("{scheme}://{}", self.address),
            username: "bot".into(),
            password: password.to_owned().into(),
        }
    }
}

/// RFC 9110, section 9.3.6, with Basic credentials.
async fn connect(stream: &mut TcpStream) -> Asked {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap().to_owned();
    // `bot:pass`
    let admitted =
        head.lines().any(|line| line.eq_ignore_ascii_case("proxy-authorization: Basic Ym90OnBhc3M="));
    let answer = if admitted { "200 OK" } else { "407 Proxy Authentication Required" };
    stream.write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
    Asked { target, admitted }
}

/// RFC 1928 with the user names and passwords of RFC 1929.
async fn socks5(stream: &mut TcpStream) -> Asked {
    let text = async |stream: &mut TcpStream| {
        let mut bytes = vec![0; stream.read_u8().await.unwrap().into()];
        stream.read_exact(&mut bytes).await.unwrap();
        bytes
    };
    assert_eq!(stream.read_u8().await.unwrap(), 5);
    assert!(text(stream).await.contains(&2), "the client offers a password");
    stream.write_all(&[5, 2]).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), 1);
    let (user, password) = (text(stream).await, text(stream).await);
    let admitted = user == b"bot" && password == b"pass";
    stream.write_all(&[1, u8::from(!admitted)]).await.unwrap();
    if !admitted {
        return Asked { target: String::new(), admitted };
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await.unwrap();
    let host = match request[3] {
        1 => std::net::Ipv4Addr::from(stream.read_u32().await.unwrap()).to_string(),
        3 => String::from_utf8(text(stream).await).unwrap(),
        other => panic!("address type {other}"),
    };
    let target = format!("{host}:{}", stream.read_u16().await.unwrap());
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
    Asked { target, admitted }
}

#[tokio::test]
async fn https_goes_through_http_and_socks_proxies_with_a_password() {
    for by in BOTH {
        let world = World::by(by).await;
        let authority = Authority::new();
        let front = Front::start(&world, &authority, None).await;
        for (kind, scheme) in [(Kind::Http, "http"), (Kind::Socks5, "socks5"), (Kind::Socks5, "socks5h")] {
            let proxy = Proxy::start(kind).await;
            for (password, admitted) in [("wrong-hunter2", false), ("pass", true)] {
                let mut config = world.config();
                config.url = front.url();
                config.ca_pem = Some(authority.pem());
                config.proxy = Some(proxy.config(scheme, password));
                let mut mirror = world.mirror_with(config, Limits::default()).await;
                if admitted {
                    update(&mut mirror, "main").await;
                } else {
                    let error = mirror.ls_refs(&["main"]).await.unwrap_err();
                    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
                }
                let last = proxy.asked.lock().unwrap().pop().unwrap();
                assert_eq!(last.admitted, admitted, "{scheme}: {last:?}");
                if admitted {
                    assert!(front.url().contains(&last.target), "{last:?}");
                }
            }
        }
    }
}
