//! `generic-hmac`: any body, signed in `X-Signature: sha1|sha256|sha512=<hex>` with HMAC(token, raw body) (Flux,
//! notification-controller 1.9). The body means no more than `generic`'s.

use hmac::{EagerHash, Hmac, KeyInit, Mac};
use http::HeaderMap;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

const HEADER: &str = "x-signature";

pub(super) fn authenticate(token: &[u8], headers: &HeaderMap, body: &[u8]) -> bool {
    let Some(value) = headers.get(HEADER).and_then(|value| value.to_str().ok()) else { return false };
    let Some((algorithm, signature)) = value.split_once('=') else { return false };
    let Ok(signature) = hex::decode(signature) else { return false };
    match algorithm {
        "sha1" => is_signature::<Sha1>(token, body, &signature),
        "sha256" => is_signature::<Sha256>(token, body, &signature),
        "sha512" => is_signature::<Sha512>(token, body, &signature),
        _ => false,
    }
}

/// `verify_slice` compares in constant time, and refuses a signature that is shorter or longer than the hash.
fn is_signature<H: EagerHash>(token: &[u8], body: &[u8], signature: &[u8]) -> bool
where
    Hmac<H>: KeyInit + Mac,
{
    <Hmac<H> as KeyInit>::new_from_slice(token)
        .is_ok_and(|mac| mac.chain_update(body).verify_slice(signature).is_ok())
}
