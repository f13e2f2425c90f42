//! The policy of `windlass select`: an ImagePolicy from a file, or one that the flags state.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use windlass_model::load::{self, AnyResource, SourceFile};
use windlass_model::resource::{ImagePolicy, PolicyRule, TagFilter};
use windlass_policy::exclusion::Exclusions;
use windlass_policy::selection::Selector;

use super::RuleArgs;
use super::tags::TagsSeen;
use crate::config::PolicySemantics;
use crate::docker_config::read_text;

/// Flux's default of `spec.exclusionList`, for tags that come without their ImageRepository.
const DEFAULT_EXCLUSION: &str = "^.*\\.sig$";

/// A compiled policy with what is excluded before it.
pub(super) struct Chooser {
    pub(super) selector: Selector,
    pub(super) exclusions: Exclusions,
}

impl Chooser {
    /// Compiles the policy; whatever is wrong with it is told before any tag is read.
    pub(super) fn new(args: &RuleArgs) -> anyhow::Result<Self> {
        let chooser = match &args.policy {
            Some(path) => Self::of_file(path, args.name.as_deref())?,
            None => Self::of_flags(args)?,
        };
        let Self { selector, exclusions } = chooser;
        let selector = match &args.current {
            None => selector,
            Some(current) if selector.is_locked() => {
                selector.locked_to(&selector.variant_of(current.as_str()))
            }
            Some(_) => {
                bail!("--current has a meaning only with a variant lock, which the policy does not have")
            }
        };
        Ok(Self { selector, exclusions })
    }

    /// Whether what the policy compares is there at all.
    pub(super) fn check_times(&self, seen: &TagsSeen) -> anyhow::Result<()> {
        ensure!(
            !self.selector.is_led_by_time() || seen.is_empty() || seen.has_times(),
            "the order newest-pushed compares first-seen times, and no tag has one (registries do not tell them): \
             give tags by --tags or on standard input, each with its time: `1.2.3 2026-01-15T10:00:00Z`"
        );
        Ok(())
    }

    fn of_flags(args: &RuleArgs) -> anyhow::Result<Self> {
        let RuleArgs { semver, numerical, alphabetical, pattern, extract, .. } = args;
        let rule = match (semver, numerical, alphabetical) {
            (Some(range), _, _) => PolicyRule::SemVer { range: range.clone() },
            (None, Some(order), _) => PolicyRule::Numerical(*order),
            (None, None, Some(order)) => PolicyRule::Alphabetical(*order),
            (None, None, None) => bail!("needs one of --policy, --semver, --numerical, --alphabetical"),
        };
        let filter = pattern
            .clone()
            .map(|pattern| TagFilter { pattern, extract: extract.clone().unwrap_or_default() });
        let mut selector = Selector::compile(&rule, filter.as_ref())?;
        if let Some(order) = &args.order {
            selector = selector.led_by(order)?;
        }
        if args.variant_lock {
            selector = selector.locked_to("");
        }
        Ok(Self { selector, exclusions: default_exclusions()? })
    }

    fn of_file(path: &Path, name: Option<&str>) -> anyhow::Result<Self> {
        let shown = path.display().to_string();
        let text = read_text(path)?;
        let file = load::read(&shown, &text, &PolicySemantics);
        for problem in file.problems.iter().filter(|problem| !problem.is_error()) {
            eprintln!("{problem}");
        }
        let errors: Vec<String> =
            file.problems.iter().filter(|problem| problem.is_error()).map(ToString::to_string).collect();
        ensure!(errors.is_empty(), "the policy is invalid:\n{}", errors.join("\n"));
        let policy = the_policy(&file, name).with_context(|| shown)?;
        let repository = file.resources.iter().find_map(|resource| match resource {
            AnyResource::ImageRepository(found) if found.meta.key == policy.repository => Some(found),
            _ => None,
        });
        let exclusions = match repository {
            Some(repository) => Exclusions::compile(&repository.exclusion_list)?,
            None => default_exclusions()?,
        };
        Ok(Self { selector: Selector::of(policy)?, exclusions })
    }
}

fn default_exclusions() -> anyhow::Result<Exclusions> {
    Ok(Exclusions::compile(&[DEFAULT_EXCLUSION.to_owned()])?)
}

fn the_policy<'f>(file: &'f SourceFile, name: Option<&str>) -> anyhow::Result<&'f ImagePolicy> {
    let policies = file.resources.iter().filter_map(|resource| match resource {
        AnyResource::ImagePolicy(policy) => Some(policy.as_ref()),
        _ => None,
    });
    let named = |policy: &&ImagePolicy| {
        name.is_none_or(|name| name == policy.meta.key.name || name == policy.meta.key.to_string())
    };
    let found: Vec<&ImagePolicy> = policies.filter(named).collect();
    match (&found[..], name) {
        ([policy], _) => Ok(policy),
        ([], Some(name)) => bail!("holds no ImagePolicy {name}"),
        ([], None) => bail!("holds no ImagePolicy"),
        (several, _) => {
            let keys: Vec<String> = several.iter().map(|policy| policy.meta.key.to_string()).collect();
            bail!("holds several ImagePolicies: choose one by --name ({})", keys.join(", "))
        }
    }
}
