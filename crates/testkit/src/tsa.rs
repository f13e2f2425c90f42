//! A timestamp authority (RFC 3161) over HTTP. The timestamps are OpenSSL's, so that they are nobody's own idea of the
//! format; times are whole seconds.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tempfile::TempDir;

use crate::ca::timestamping;
use crate::folder::{Storage, fresh};
use crate::http_server::{Backend, Body, HttpServer, plain};
use crate::traffic::{RequestHead, Traffic};
use crate::{locate, port};

/// OpenSSL's settings. The policy is one of the many that nobody registered.
const SETTINGS: &str = "\
[tsa]
default_tsa = here
[here]
serial = serial
signer_cert = signer.pem
signer_key = signer.key
certs = chain.pem
signer_digest = sha256
default_policy = 1.3.6.1.4.1.57264.2
digests = sha256, sha384, sha512
ordering = yes
tsa_name = no
ess_cert_id_alg = sha256
";

/// A running one.
pub struct TimestampAuthority {
    server: HttpServer,
    traffic: Traffic,
    chain: Vec<Vec<u8>>,
    pem: String,
}

impl TimestampAuthority {
    /// Starts on a free port, with a root of its own.
    ///
    /// # Errors
    /// When OpenSSL is missing or the port cannot be had.
    pub fn start(name: &str) -> Result<Self> {
        let (program, folder) = (locate::openssl()?, fresh(Storage::Memory)?);
        let (certificates, key, chain) = timestamping(name)?;
        let pem = certificates.concat();
        let files = [
            ("openssl.cnf", SETTINGS),
            ("signer.pem", &certificates[0]),
            ("signer.key", &key.serialize_pem()),
            ("chain.pem", &certificates[1]),
            ("serial", "01\n"),
        ];
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).with_context(|| format!("writing {name}"))?;
        }
        let traffic = Traffic::default();
        let clerk = Arc::new(Clerk {
            program,
            folder,
            count: AtomicUsize::new(0),
            one_at_a_time: tokio::sync::Mutex::new(()),
        });
        let server = HttpServer::start(port::free()?, traffic.clone(), clerk)?;
        Ok(Self { server, traffic, chain, pem })
    }

    /// Where requests are posted to.
    pub fn url(&self) -> String {
        format!("http://{}/api/v1/timestamp", self.server.address())
    }

    /// What was asked.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The signer's and the root's certificate, as DER.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// The same as PEM, in one text.
    pub fn chain_pem(&self) -> &str {
        &self.pem
    }
}

struct Clerk {
    program: PathBuf,
    folder: TempDir,
    count: AtomicUsize,
    /// OpenSSL counts serial numbers in a file.
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Backend for Clerk {
    async fn respond(&self, _: &RequestHead, body: Incoming) -> Response<Body> {
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return plain(StatusCode::BAD_REQUEST, error.to_string()),
        };
        match self.stamp(&body).await {
            Ok(reply) => {
                let mut response = plain(StatusCode::CREATED, reply);
                let media_type = HeaderValue::from_static("application/timestamp-reply");
                response.headers_mut().insert("content-type", media_type);
                response
            }
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")),
        }
    }
}

impl Clerk {
    async fn stamp(&self, query: &[u8]) -> Result<Vec<u8>> {
        let _turn = self.one_at_a_time.lock().await;
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let (asked, answered) = (format!("{number}.tsq"), format!("{number}.tsr"));
        let folder: &Path = self.folder.path();
        std::fs::write(folder.join(&asked), query).context("writing a request for a timestamp")?;
        let done = tokio::process::Command::new(&self.program)
            .args(["ts", "-reply", "-config", "openssl.cnf", "-queryfile", &asked, "-out", &answered])
            .current_dir(folder)
            .env_clear()
            .env("PATH", locate::search_path())
            .stdin(Stdio::null())
            .output()
            .await
            .context("starting openssl")?;
        ensure!(done.status.success(), "openssl ts: {}", String::from_utf8_lossy(&done.stderr));
        std::fs::read(folder.join(&answered)).context("reading a timestamp")
    }
}
