//! The static token in the `Authorization` header, as Harbor and the distribution registry send it.

use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

const SCHEME: &[u8] = b"bearer ";

/// Whether the first `Authorization` header is the token, bare (Flux's rule for `harbor`, notification-controller
/// 1.9) or after `Bearer ` in any case. Hashing first makes both sides equally long, so that the time tells nothing of
/// the token's length either.
pub(super) fn is_token(token: &[u8], headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return false };
    let given = value.as_bytes();
    let credential = match given.split_at_checked(SCHEME.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest,
        _ => given,
    };
    let expected = Sha256::digest(token);
    let whole = Sha256::digest(given).as_slice().ct_eq(expected.as_slice());
    let bare = Sha256::digest(credential).as_slice().ct_eq(expected.as_slice());
    (whole | bare).into()
}
