//! `generic`: whoever knows the path. The body means nothing, in any format, so every image of the Receiver is looked
//! at (Flux, notification-controller 1.9: no authentication beyond the secret path, no validation of the payload).

use super::Content;

pub(super) fn authenticate() -> bool {
    true
}

pub(super) fn parse() -> Content {
    Content::Everything
}
