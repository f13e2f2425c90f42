//! `windlass verify-bundle`: one Sigstore bundle over one file or digest. It takes the arguments of the
//! sigstore-conformance suite's clients, so that the suite judges the code that `windlass` verifies with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::{ArgGroup, Args};
use windlass_model::guard::{Identity, TextRule};
use windlass_model::{Clock as _, Spec};
use windlass_verify::{Artifact, Demands, Identities, Key, TrustRoot, Trusted, verify_bundle};

use crate::clock::SystemClock;
use crate::tuf_args::TufArgs;

/// Largest file that is read, in bytes. What is larger can be given by its digest.
const MAX_ARTIFACT: u64 = 256 << 20;
/// Largest bundle, key or trust root that is read, in bytes; `windlass-verify` has limits of its own.
const MAX_INPUT: u64 = 4 << 20;

/// What is verified, and whose signature is believed.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("trust").required(true).args(["key", "certificate_identity"]),
    after_help = "\
The signature must be in the transparency log, and a certificate publicly logged.

Exit status: 0 where the bundle is a proof, 1 where it is not, 2 where an argument is wrong.

Examples:
  windlass verify-bundle --bundle app.sigstore.json --key cosign.pub app.tar.gz
  windlass verify-bundle --bundle app.sigstore.json --certificate-identity me@example.com \\
      --certificate-oidc-issuer https://accounts.google.com sha256:…"
)]
pub(crate) struct VerifyBundleArgs {
    /// The Sigstore bundle
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// The signer: exactly this e-mail address or URI
    #[arg(long, value_name = "IDENTITY", requires = "certificate_oidc_issuer")]
    certificate_identity: Option<String>,
    /// Who vouches for the signer
    #[arg(long, value_name = "URL", requires = "certificate_identity")]
    certificate_oidc_issuer: Option<String>,
    /// The signer's public key, in PEM
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The trust root; by default Sigstore's public good root, as it was when this version was built
    #[arg(long, value_name = "FILE", conflicts_with_all = ["staging", "tuf_mirror"])]
    trusted_root: Option<PathBuf>,
    /// Trust Sigstore's staging instance, which proves nothing
    #[arg(long, conflicts_with = "tuf_mirror")]
    staging: bool,
    #[command(flatten)]
    tuf: TufArgs,
    /// What was signed: a file, or its digest
    #[arg(value_name = "FILE|sha256:HEX")]
    artifact: String,
}

/// Verifies, prints the signer or the reason, and says by the exit status which.
///
/// # Errors
/// An argument is wrong, or a file cannot be read.
pub(crate) async fn run(args: &VerifyBundleArgs) -> anyhow::Result<ExitCode> {
    let root = match (&args.trusted_root, args.tuf.repository()?) {
        (Some(path), _) => TrustRoot::from_json(&text(path)?)
            .with_context(|| format!("{} is no trust root", path.display()))?,
        (None, Some(repository)) => {
            let now = SystemClock.now();
            let cache = args.tuf.cache();
            let fetched = windlass_tuf::fetch_one(&repository, &Spec::default(), &cache, now).await;
            fetched.with_context(|| repository.mirror)?.root
        }
        (None, None) if args.staging => TrustRoot::staging()?,
        (None, None) => TrustRoot::public_good()?,
    };
    let bundle = read(&args.bundle, MAX_INPUT)?;
    let bytes;
    let artifact = if let Some(digest) = by_digest(&args.artifact)? {
        Artifact::Sha256(digest)
    } else {
        bytes = read(Path::new(&args.artifact), MAX_ARTIFACT)?;
        Artifact::Bytes(&bytes)
    };
    let (key, identities);
    let trusted = match (&args.key, &args.certificate_identity, &args.certificate_oidc_issuer) {
        (Some(path), _, _) => {
            key = only_key(path)?;
            Trusted::Key(&key)
        }
        (None, Some(subject), Some(issuer)) => {
            let exact = |text: &String| TextRule::Exact(text.clone());
            identities = Identities::new(&[Identity { issuer: exact(issuer), subject: exact(subject) }])?;
            Trusted::Keyless(&identities)
        }
        _ => bail!("give --key, or --certificate-identity with --certificate-oidc-issuer"),
    };
    match verify_bundle(&bundle, artifact, trusted, Demands::default(), &root) {
        Ok(signed) => {
            crate::cli::print(&format!("verified: signed by {}\n", signed.signer))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(why) => {
            eprintln!("not verified: {why}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// A digest, unless there is a file of that name.
fn by_digest(artifact: &str) -> anyhow::Result<Option<[u8; 32]>> {
    let Some(text) = artifact.strip_prefix("sha256:").filter(|_| !Path::new(artifact).exists()) else {
        return Ok(None);
    };
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).with_context(|| format!("{artifact} is no SHA-256 digest"))?;
    Ok(Some(digest))
}

fn only_key(path: &Path) -> anyhow::Result<Key> {
    let named = || path.display().to_string();
    let mut keys = Key::from_pem(&text(path)?).with_context(named)?;
    ensure!(keys.len() == 1, "{} has {} keys: give one", path.display(), keys.len());
    keys.pop().with_context(named)
}

fn text(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(read(path, MAX_INPUT)?).with_context(|| format!("{} is not text", path.display()))
}

fn read(path: &Path, max: u64) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let named = || format!("{} cannot be read", path.display());
    let mut bytes = Vec::new();
    fs::File::open(path).with_context(named)?.take(max + 1).read_to_end(&mut bytes).with_context(named)?;
    ensure!(bytes.len() as u64 <= max, "{} has more than {max} bytes", path.display());
    Ok(bytes)
}
