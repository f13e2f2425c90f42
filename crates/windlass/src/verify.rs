//! `windlass verify`: what Guards, or a key or identities that the arguments name, say of one image. Owns the
//! arguments and what is printed; the verdict is `windlass-verify`'s, the same as in a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{ArgGroup, Args};
use prometheus_client::registry::Registry;
use serde::Serialize;
use windlass_model::guard::{
    AttestationRule, Authority, Formats, Guard, GuardRules, Identity, Quorum, Scope, TextRule, Trust,
    TrustRootSource, TufRepository, predicate_type,
};
use windlass_model::resource::{Meta, Origin, Secret, SecretValue};
use windlass_model::{Clock as _, Digest, ImageName, ObjectKey, Spec, Tag};
use windlass_registry::{Credentials, Metrics, Pool, PoolConfig, Repository, RepositoryConfig};
use windlass_verify::{Freshness, Judge, Outcome, Proof, Repositories, Subject, Verdict, Verifier};

use crate::cli::{Output, print};
use crate::clock::SystemClock;
use crate::tuf_args::TufArgs;
use crate::{config, docker_config, table};

/// For one question to the registry.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The status where it is not known.
const UNKNOWN: u8 = 3;
/// The Guard that the arguments make.
const ARGUMENTS: &str = "command-line";

/// What is verified, and by which rules.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("rules").required(true).args(
        ["guard", "key", "certificate_identity", "certificate_identity_regexp"]
    ),
    after_help = "\
Expressions match the whole text; cosign's match any part of it. Signatures must be in the
transparency log, and certificates publicly logged, unless an argument says otherwise.

Exit status: 0 where the image is allowed, 1 where it is denied, 3 where that is not known (a
registry or a trust root did not answer), 2 where an argument is wrong.

Examples:
  windlass verify ghcr.io/acme/app:1.4.2 --guard ./config
  windlass verify ghcr.io/acme/app@sha256:… --key cosign.pub --insecure-ignore-tlog
  windlass verify ghcr.io/acme/app:1.4.2 \\
      --certificate-identity-regexp 'https://github\\.com/acme/[^/]+/\\.github/workflows/release\\.yml@.*' \\
      --certificate-oidc-issuer https://token.actions.githubusercontent.com
  windlass verify ghcr.io/acme/app:1.4.2 --guard guard.yaml --output json | jq -r .digest"
)]
pub(crate) struct VerifyArgs {
    /// The image: NAME:TAG, NAME@sha256:HEX, or both, and then the tag must have that digest
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Guards, as a YAML file or a directory of them, with the Secrets that they name; all that concern the image count
    #[arg(long, value_name = "PATH", conflicts_with = "tuf_mirror", help_heading = "Rules")]
    guard: Option<PathBuf>,
    /// On behalf of which namespace the image is used; without it, Guards for any namespace count
    #[arg(long, value_name = "NAME", requires = "guard", help_heading = "Rules")]
    namespace: Option<String>,
    /// The signers' public keys, in PEM: one signature by any of them is enough
    #[arg(long, value_name = "FILE", help_heading = "Rules")]
    key: Option<PathBuf>,
    /// The signer: exactly this e-mail address or URI
    #[arg(long, value_name = "IDENTITY", help_heading = "Rules")]
    certificate_identity: Option<String>,
    /// The signer, as an expression for the whole e-mail address or URI
    #[arg(long, value_name = "REGEXP", help_heading = "Rules")]
    certificate_identity_regexp: Option<String>,
    /// Who vouches for the signer
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "certificate_oidc_issuer_regexp",
        help_heading = "Rules"
    )]
    certificate_oidc_issuer: Option<String>,
    /// Who vouches for the signer, as an expression for the whole URL
    #[arg(long, value_name = "REGEXP", help_heading = "Rules")]
    certificate_oidc_issuer_regexp: Option<String>,
    /// Ask for an attestation of this predicate type (a URI, or cosign's short name) instead of a signature
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "guard", help_heading = "Rules")]
    predicate_type: Option<String>,
    /// What the signature must state; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = annotation, conflicts_with_all = ["guard", "predicate_type"], help_heading = "Rules")]
    annotation: Vec<(String, String)>,
    /// The trust root; by default Sigstore's public good root, as it was when this version was built
    #[arg(long, value_name = "FILE", conflicts_with_all = ["guard", "tuf_mirror"], help_heading = "Rules")]
    trusted_root: Option<PathBuf>,
    #[command(flatten)]
    tuf: TufArgs,
    /// The signature need not be in the transparency log
    #[arg(long, conflicts_with = "guard", help_heading = "Rules")]
    insecure_ignore_tlog: bool,
    /// The certificate need not be publicly logged
    #[arg(long, conflicts_with_all = ["guard", "key"], help_heading = "Rules")]
    insecure_ignore_sct: bool,
    /// Docker configuration with the registry's credentials; credential helpers are never run
    #[arg(long, value_name = "FILE", help_heading = "Registry")]
    docker_config: Option<PathBuf>,
    /// Allow plain HTTP to the registry
    #[arg(long, visible_alias = "insecure", help_heading = "Registry")]
    allow_http_registry: bool,
    /// How the verdict is printed
    #[arg(long, short, value_enum, default_value = "table")]
    output: Output,
}

fn annotation(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Document<'v> {
    image: &'v str,
    #[serde(flatten)]
    verdict: &'v Verdict,
    /// Of all Guards.
    evidence: Vec<&'v Proof>,
    /// Of all Guards that do not allow it.
    reasons: Vec<String>,
}

/// Verifies, prints the verdict, and says by the exit status what it is.
///
/// # Errors
/// An argument is wrong, or there is no such image.
pub(crate) async fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let Wanted { name, tag, digest } = Wanted::parse(&args.image)?;
    let spec = match &args.guard {
        Some(path) => guards(path, &name, args.namespace.as_deref())?,
        None => stated(&args)?,
    };
    let now = SystemClock.now();
    let roots = windlass_tuf::fetch(&spec, &args.tuf.cache(), now).await;
    let judges: Vec<_> =
        spec.guards.values().map(|guard| Arc::new(Judge::with_roots(guard, &spec, &roots))).collect();
    if args.guard.is_none() {
        // What a Guard would make *unknown* is a wrong argument here.
        let problems = judges.iter().flat_map(|judge| judge.problems());
        problems.into_iter().next().map_or(Ok(()), |(_, why)| Err(anyhow::Error::msg(why)))?;
    }
    let registries = Registries::new(&args);
    let repository = registries.repository(&name).map_err(anyhow::Error::msg)?;
    let digest = match (&tag, digest) {
        (None, Some(digest)) => digest,
        (None, None) => bail!("{}: give a tag or a digest", args.image),
        (Some(tag), stated) => {
            let found = repository.manifest(tag.clone()).await?;
            let found = found.with_context(|| format!("there is no {name}:{tag}"))?.digest;
            if let Some(stated) = stated {
                ensure!(stated == found, "{name}:{tag} has the digest {found} now, not {stated}");
            }
            found
        }
    };
    let subject = Subject { tenant: "", image: &name, digest: &digest, tag: tag.as_ref(), first_seen: None };
    let verdict = Verifier::default().verify(subject, &judges, &registries, now, Freshness::Recent).await;
    let document = Document {
        image: &args.image,
        evidence: verdict.guards.iter().flat_map(|guard| &guard.evidence).collect(),
        reasons: verdict.reasons(),
        verdict: &verdict,
    };
    print(&match args.output {
        Output::Table => render(&document),
        Output::Json => serde_json::to_string_pretty(&document)? + "\n",
    })?;
    Ok(match verdict.outcome {
        Outcome::Allowed => ExitCode::SUCCESS,
        Outcome::Denied => ExitCode::FAILURE,
        Outcome::Unknown => ExitCode::from(UNKNOWN),
    })
}

/// The parts of a reference.
struct Wanted {
    name: ImageName,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl Wanted {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
            None => (text, None),
        };
        // A port has a colon too, and a path behind it.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(Tag::parse(tag)?)),
            _ => (rest, None),
        };
        Ok(Self { name: ImageName::parse(name)?, tag, digest })
    }
}

/// The Guards below a path that concern the image, with the Secrets that are there.
fn guards(path: &std::path::Path, image: &ImageName, namespace: Option<&str>) -> anyhow::Result<Spec> {
    let configuration = config::read(path)?;
    for problem in configuration.problems.iter().filter(|problem| problem.is_error()) {
        eprintln!("{problem}");
    }
    let mut spec = Spec::clone(&configuration.spec);
    spec.guards.retain(|_, guard| match namespace {
        Some(namespace) => guard.scope.concerns(image, namespace),
        None => Scope { namespaces: None, ..guard.scope.clone() }.concerns(image, ""),
    });
    ensure!(!spec.guards.is_empty(), "{}: no Guard concerns {image}", path.display());
    Ok(spec)
}

/// The Guard that the arguments state.
fn stated(args: &VerifyArgs) -> anyhow::Result<Spec> {
    let trust = match &args.key {
        Some(path) => Trust::Keys(docker_config::read_text(path)?),
        None => Trust::Keyless(vec![identity(args)?]),
    };
    let mut spec = Spec::default();
    let mut trust_root = args.tuf.repository()?.map(TrustRootSource::Tuf);
    if let Some(path) = &args.trusted_root {
        let key = ObjectKey::new(ARGUMENTS, "trusted-root");
        let json = docker_config::read_text(path)?.into_bytes();
        let values = BTreeMap::from([(TufRepository::TRUSTED_ROOT.to_owned(), SecretValue::new(json))]);
        spec.secrets.insert(key.clone(), Arc::new(Secret { meta: meta(&key), values }));
        trust_root = Some(TrustRootSource::Secret(key));
    }
    let name = match args.key {
        Some(_) => "key",
        None => "identity",
    };
    let authority = Authority {
        trust,
        source: None,
        formats: Formats::default(),
        tlog: !args.insecure_ignore_tlog,
        sct: !args.insecure_ignore_sct,
        timestamps: false,
        annotations: args.annotation.iter().cloned().collect(),
        trust_root,
    };
    let names = vec![name.to_owned()];
    let mut rules =
        GuardRules { authorities: BTreeMap::from([(name.to_owned(), authority)]), ..GuardRules::default() };
    match &args.predicate_type {
        Some(kind) => {
            let predicate_type =
                predicate_type(kind).map_err(|error| anyhow::anyhow!("--type {kind}: {error}"))?;
            rules.attestations =
                vec![AttestationRule { predicate_type, authorities: names, condition: None }];
        }
        None => rules.signatures = Some(Quorum::AnyOf { authorities: names, minimum: 1 }),
    }
    let key = ObjectKey::new(ARGUMENTS, ARGUMENTS);
    let guard = Guard { meta: meta(&key), scope: Scope::default(), rules: Ok(rules) };
    spec.guards.insert(key, Arc::new(guard));
    Ok(spec)
}

fn meta(key: &ObjectKey) -> Meta {
    Meta {
        key: key.clone(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        origin: Origin { file: ARGUMENTS.into(), line: 0 },
        unsupported: Vec::new(),
    }
}

fn identity(args: &VerifyArgs) -> anyhow::Result<Identity> {
    let rule = |exact: &Option<String>, pattern: &Option<String>| match (exact, pattern) {
        (Some(text), _) => Some(TextRule::Exact(text.clone())),
        (None, Some(text)) => Some(TextRule::Pattern { expression: text.clone(), anchored: true }),
        (None, None) => None,
    };
    let issuer = rule(&args.certificate_oidc_issuer, &args.certificate_oidc_issuer_regexp).context(
        "give --certificate-oidc-issuer or --certificate-oidc-issuer-regexp: who vouches for the signer",
    )?;
    let subject = rule(&args.certificate_identity, &args.certificate_identity_regexp)
        .context("give --certificate-identity or --certificate-identity-regexp")?;
    Ok(Identity { issuer, subject })
}

/// How registries are reached: alike, with what the Docker configuration has for each.
struct Registries {
    pool: Pool,
    docker_config: Option<PathBuf>,
    insecure: bool,
}

impl Registries {
    fn new(args: &VerifyArgs) -> Self {
        let config = PoolConfig { proxy_from_environment: true, ..PoolConfig::default() };
        let pool = Pool::new(config, Metrics::register(&mut Registry::default()));
        Self { pool, docker_config: args.docker_config.clone(), insecure: args.allow_http_registry }
    }

    fn open(&self, image: &ImageName) -> anyhow::Result<Repository> {
        let credentials = match &self.docker_config {
            Some(path) => docker_config::optional_credentials(path, image)?.unwrap_or(Credentials::Anonymous),
            None => Credentials::Anonymous,
        };
        let config = RepositoryConfig {
            credentials,
            insecure: self.insecure,
            ..RepositoryConfig::new(image.clone(), TIMEOUT)
        };
        Ok(self.pool.repository(config)?)
    }
}

impl Repositories for Registries {
    fn repository(&self, image: &ImageName) -> Result<Repository, String> {
        self.open(image).map_err(|error| format!("{error:#}"))
    }
}

fn render(document: &Document<'_>) -> String {
    let Document { image, verdict, evidence, reasons } = document;
    let outcome = match verdict.outcome {
        Outcome::Allowed => "allowed",
        Outcome::Denied => "denied",
        Outcome::Unknown => "unknown",
    };
    let mut text = format!("{outcome}: {image}\ndigest: {}\n", verdict.digest);
    if !evidence.is_empty() {
        let rows = verdict.guards.iter().flat_map(|guard| {
            guard.evidence.iter().map(|proof| {
                let kind = proof.predicate_type.clone().unwrap_or_else(|| "signature".to_owned());
                [
                    guard.guard.clone(),
                    proof.authority.clone(),
                    kind,
                    proof.signer.clone(),
                    proof.place.clone(),
                ]
            })
        });
        let header = &["GUARD", "AUTHORITY", "EVIDENCE", "SIGNER", "FOUND IN"];
        let _ = write!(text, "\n{}", table::render(header, rows));
    }
    if !reasons.is_empty() {
        text.push('\n');
    }
    for reason in reasons {
        let _ = writeln!(text, "{reason}");
    }
    text
}
