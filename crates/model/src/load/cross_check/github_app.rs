//! What `provider: github` needs of its Secret (source-controller 1.9, "GitHub" under "Provider").

use url::Url;

use super::{About, Check, has_any};
use crate::resource::{GitProvider, GitRepository, Secret};

const ID: &str = "githubAppID";
const INSTALLATION: &str = "githubAppInstallationID";
const OWNER: &str = "githubAppInstallationOwner";
pub(super) const KEY: &str = "githubAppPrivateKey";

/// Whether the repository or its Secret speaks of a GitHub App.
pub(super) fn concerns(repository: &GitRepository, secret: &Secret) -> bool {
    repository.provider == GitProvider::GitHub || has_any(secret, &[ID, KEY])
}

impl<'s> Check<'s> {
    /// What can be said without the Secret.
    pub(super) fn provider(&mut self, about: &About<'_>, repository: &GitRepository) {
        const FIELD: &str = "spec.provider";
        if repository.provider != GitProvider::GitHub {
            return;
        }
        if repository.secret.is_none() {
            self.blocking(about, FIELD, "`github` needs a GitHub App's Secret: name it in spec.secretRef");
        }
        let named = Url::parse(&repository.url).is_ok_and(|url| {
            matches!(url.scheme(), "https" | "http") && url.path().trim_matches('/').contains('/')
        });
        if !named {
            let message = "`github` needs a URL such as https://github.com/org/fleet in spec.url";
            self.blocking(about, FIELD, message);
        }
    }

    pub(super) fn github_app(
        &mut self,
        about: &About<'_>,
        field: &str,
        repository: &GitRepository,
        secret: &'s Secret,
    ) {
        let name = &secret.meta.key;
        if repository.provider != GitProvider::GitHub {
            let message = format_args!("Secret/{name} is a GitHub App's: set spec.provider to `github`");
            self.blocking(about, field, message);
            return;
        }
        self.text(about, field, secret, ID);
        self.text(about, field, secret, KEY);
        let installation = match (has_any(secret, &[INSTALLATION]), has_any(secret, &[OWNER])) {
            (true, false) => Ok(INSTALLATION),
            (false, true) => Ok(OWNER),
            (true, true) => Err("both"),
            (false, false) => Err("neither"),
        };
        match installation {
            Ok(key) => {
                self.text(about, field, secret, key);
            }
            Err(what) => {
                let message =
                    format_args!("Secret/{name} has {what} of `{INSTALLATION}` and `{OWNER}`: it needs one");
                self.blocking(about, field, message);
            }
        }
        self.client_certificate(about, field, secret);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::super::testing::read_text;
    use super::super::super::{assemble, readiness};

    fn reasons(spec: &str, data: &str) -> Vec<String> {
        let text = format!(
            "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {{name: fleet}}\nspec:\n  \
             interval: 5m\n{spec}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: app}}\nstringData: {{{data}}}\n"
        );
        let file = read_text("f.yaml", &text);
        assert!(!file.broken, "{:#?}", file.problems);
        readiness(&assemble([&file], &BTreeMap::new()).spec).into_values().collect()
    }

    #[test]
    fn a_github_app_needs_its_id_its_key_and_one_installation() {
        const SPEC: &str =
            "  url: https://github.com/org/fleet\n  provider: github\n  secretRef: {name: app}\n";
        const APP: &str = "githubAppID: '1', githubAppPrivateKey: key";
        let with = |more: &str| format!("{APP}, {more}");
        for (spec, data, why) in [
            (SPEC, with("githubAppInstallationID: '2'"), None),
            (SPEC, with("githubAppInstallationOwner: org, ca.crt: x"), None),
            (SPEC, APP.into(), Some("neither of")),
            (SPEC, with("githubAppInstallationID: '2', githubAppInstallationOwner: org"), Some("both of")),
            (
                SPEC,
                with("githubAppInstallationID: ''"),
                Some("`githubAppInstallationID` of Secret/default/app is empty"),
            ),
            (
                SPEC,
                "githubAppID: '1', githubAppInstallationID: '2'".into(),
                Some("no key `githubAppPrivateKey`"),
            ),
            (SPEC, "username: a, password: b".into(), Some("no key `githubAppID`")),
            (
                "  url: https://github.com/org/fleet\n  secretRef: {name: app}\n",
                with("githubAppInstallationID: '2'"),
                Some("set spec.provider to `github`"),
            ),
            ("  url: https://github.com/org/fleet\n  provider: github\n", APP.into(), Some("spec.secretRef")),
            (
                "  url: https://github.com/fleet\n  provider: github\n  secretRef: {name: app}\n",
                with("githubAppInstallationID: '2'"),
                Some("https://github.com/org/fleet"),
            ),
        ] {
            let reasons = reasons(spec, &data);
            match why {
                None => assert!(reasons.is_empty(), "{reasons:?}"),
                Some(why) => assert!(reasons.len() == 1 && reasons[0].contains(why), "{why}: {reasons:?}"),
            }
        }
    }
}
