//! Without fail points: each of these is nothing, and the compiler drops it.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};

use crate::Point;

/// What a fail point injects; there is none.
#[derive(Debug, Clone, Copy)]
pub struct Injected(Infallible);

impl fmt::Display for Injected {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

impl std::error::Error for Injected {}

/// Never fails.
#[inline]
pub fn error(_: Point) -> Result<(), Injected> {
    Ok(())
}

/// Takes no time.
#[inline]
pub fn pause(_: Point) -> Ready<()> {
    ready(())
}

/// Neither fails nor takes time.
#[inline]
pub fn pass(_: Point) -> Ready<Result<(), Injected>> {
    ready(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_fail_points_passing_one_is_nothing() {
        assert!(error(Point::Sent).is_ok());
        assert!(pass(Point::Sent).into_inner().is_ok());
        let () = pause(Point::Sent).into_inner();
        assert_eq!(size_of::<Result<(), Injected>>(), 0);
    }
}
