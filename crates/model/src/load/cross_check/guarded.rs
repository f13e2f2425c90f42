//! Guards: what they need and do not find.

use super::{About, Check};
use crate::guard::{Guard, NotationTrust, Trust, TrustRootSource, TufRepository};
use crate::resource::ImageRepository;

/// How the keys of public keys end, as cosign names them and Flux finds them.
const PUBLIC_KEY: &str = ".pub";

impl Check<'_> {
    /// Where a Guard is required, an image without one is not written.
    pub(super) fn guarded(&mut self, about: &About<'_>, field: &str, repository: &ImageRepository) {
        let image = &repository.image;
        if self.spec.require_guard && self.spec.guards_of(image, about.namespace()).next().is_none() {
            let message = format_args!(
                "no Guard concerns {image}, and --require-guard asks for one: it is not written"
            );
            self.blocking(about, field, message);
        }
    }

    /// Whatever a Guard lacks fails closed where it is used; the reasons are told here.
    pub(super) fn guard(&mut self, guard: &Guard) {
        let about = About::new(guard);
        self.unsupported(&about);
        let rules = match &guard.rules {
            Ok(rules) => rules,
            Err(why) => {
                let message = format_args!("cannot be loaded ({why}): what it concerns is not written");
                return self.blocking(&about, "spec", message);
            }
        };
        for (name, authority) in &rules.authorities {
            let field = format!("spec.authorities.{name}");
            if let Trust::KeySecret(key) = &authority.trust
                && let Some(secret) = self.secret_at(&about, &field, key)
                && !secret.values.keys().any(|key| key.ends_with(PUBLIC_KEY))
            {
                let message = format_args!("Secret/{} has no key that ends in `.pub`", secret.meta.key);
                self.blocking(&about, &field, message);
            }
            if let Trust::Notation(notation) = &authority.trust {
                self.notation(&about, &field, notation);
            }
            if let Some(source) = &authority.trust_root
                && let Some(key) = source.secret()
                && let Some(secret) = self.secret_at(&about, &field, key)
            {
                let holds = match source {
                    TrustRootSource::Secret(_) => TufRepository::TRUSTED_ROOT,
                    TrustRootSource::Tuf(_) => TufRepository::ROOT,
                };
                self.text(&about, &field, secret, holds);
            }
        }
    }

    /// The trust policy document and the certificates must be there; what they say is not read here.
    fn notation(&mut self, about: &About<'_>, field: &str, notation: &NotationTrust) {
        let Some(secret) = self.secret_at(about, field, &notation.secret) else { return };
        self.text(about, field, secret, NotationTrust::POLICY);
        if !secret.values.keys().any(|key| NotationTrust::is_certificates(key)) {
            let message = format_args!("Secret/{} has no key that ends in `.crt` or `.pem`", secret.meta.key);
            self.blocking(about, field, message);
        }
        for key in notation.trust_stores.values().flatten() {
            if secret.get(key).is_none() {
                let message = format_args!("Secret/{} has no key `{key}`", secret.meta.key);
                self.blocking(about, field, message);
            }
        }
    }
}
