//! What a Git repository and a signing key need: Secrets with the keys of one way to sign in.

use super::super::problem::Severity;
use super::{About, Check, github_app, has_any, has_ca};
use crate::git::{SIGNING_SECRET, SigningKey};
use crate::resource::{GitRepository, ImageUpdateAutomation, Secret};

impl<'s> Check<'s> {
    /// Whether the key opens is not known here: the crate that signs finds out.
    pub(super) fn signing_key(&mut self, about: &About<'_>, automation: &ImageUpdateAutomation) {
        let Some(SigningKey { format, secret }) = &automation.signing_key else { return };
        if let Some(secret) = self.secret(about, SIGNING_SECRET, secret) {
            self.text(about, SIGNING_SECRET, secret, format.key());
        }
    }

    pub(super) fn git_repository(&mut self, repository: &GitRepository) {
        const FIELD: &str = "spec.secretRef.name";
        let about = About::new(repository);
        self.unsupported(&about);
        self.proxy(&about, repository.proxy_secret.as_deref());
        self.provider(&about, repository);
        let secret = repository.secret.as_deref();
        if repository.is_ssh() {
            self.ssh(&about, repository);
            if let Some(secret) = secret.and_then(|name| self.secret(&about, FIELD, name)) {
                self.text(&about, FIELD, secret, "identity");
                self.text(&about, FIELD, secret, "known_hosts");
            }
            return;
        }
        let Some(secret) = secret.and_then(|name| self.secret(&about, FIELD, name)) else { return };
        if github_app::concerns(repository, secret) {
            self.github_app(&about, FIELD, repository, secret);
        } else {
            self.git_credentials(&about, FIELD, secret);
        }
        let credentials = has_any(secret, &["username", "password", "bearerToken", github_app::KEY]);
        if repository.url.starts_with("http://") && credentials {
            let message = "credentials are sent unencrypted over http://: use https://";
            self.push(&about, Severity::Warning, false, "spec.url", message);
        }
    }

    fn ssh(&mut self, about: &About<'_>, repository: &GitRepository) {
        if repository.secret.is_none() {
            let message = "SSH needs `spec.secretRef`: a Secret with the keys `identity` and `known_hosts`";
            self.blocking(about, "spec.url", message);
        }
        if repository.proxy_secret.is_some() {
            let message =
                "a connection over SSH cannot go through a proxy: remove it, or use an https:// URL";
            self.blocking(about, "spec.proxySecretRef.name", message);
        }
    }

    fn git_credentials(&mut self, about: &About<'_>, field: &str, secret: &'s Secret) {
        let name = &secret.meta.key;
        let bearer = secret.get("bearerToken").is_some();
        let basic = has_any(secret, &["username", "password"]);
        let certificate = self.client_certificate(about, field, secret);
        if bearer && basic {
            let message =
                format_args!("Secret/{name} has both `bearerToken` and `username` or `password`: keep one");
            self.blocking(about, field, message);
        } else if bearer {
            self.text(about, field, secret, "bearerToken");
        } else if basic {
            self.text(about, field, secret, "username");
            self.text(about, field, secret, "password");
        } else if !certificate && !has_ca(secret) {
            let message =
                format_args!("Secret/{name} has none of `username` with `password`, `bearerToken`, `ca.crt`");
            self.blocking(about, field, message);
        }
    }
}
