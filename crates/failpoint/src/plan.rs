//! What is to happen where: the text of the variable, and the count of passings.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Point;

/// The environment variable that holds a plan: `recorded=kill@3;acked=hang(30s)`. Release programs do not contain this
/// text, by which `cargo xtask bench` knows them.
pub const VARIABLE: &str = "WINDLASS_FAIL_POINTS";

/// Every point with its name, in order.
const POINTS: [(&str, Point); 15] = [
    ("received", Point::Received),
    ("authenticated", Point::Authenticated),
    ("appended", Point::Appended),
    ("claimed", Point::Claimed),
    ("resolved", Point::Resolved),
    ("verified", Point::Verified),
    ("edited", Point::Edited),
    ("committed", Point::Committed),
    ("sent", Point::Sent),
    ("taken", Point::Taken),
    ("confirmed", Point::Confirmed),
    ("recorded", Point::Recorded),
    ("acked", Point::Acked),
    ("dispatched", Point::Dispatched),
    ("notified", Point::Notified),
];

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = POINTS.iter().find(|(_, point)| point == self).map_or("unnamed", |(name, _)| name);
        f.write_str(name)
    }
}

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The process ends as by `kill -9`.
    Kill,
    /// The process stands still, as by `kill -STOP`, until somebody continues it.
    Stop,
    /// The operation fails as it would by itself.
    Error,
    /// The operation takes this much longer; others go on.
    Hang(Duration),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("kill"),
            Self::Stop => f.write_str("stop"),
            Self::Error => f.write_str("error"),
            Self::Hang(time) => write!(f, "hang({time:?})"),
        }
    }
}

/// What happens at which passing of which point, each once.
#[derive(Debug, Default)]
pub struct Plan(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    point: Point,
    action: Action,
    /// Counted from 1.
    passing: u64,
    passed: AtomicU64,
}

/// Why a text is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanError {
    entry: String,
    why: String,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VARIABLE}: `{}`: {}", self.entry, self.why)
    }
}

impl std::error::Error for PlanError {}

impl Plan {
    /// What happens now that the point is passed once more, of the actions that are asked for.
    pub(crate) fn due(&self, point: Point, asked: impl Fn(Action) -> bool) -> Option<Action> {
        let concerned = self.0.iter().filter(|entry| entry.point == point && asked(entry.action));
        // Every entry counts, also beside one that is due.
        let due: Vec<_> = concerned
            .filter(|entry| entry.passed.fetch_add(1, Ordering::SeqCst) + 1 == entry.passing)
            .map(|entry| entry.action)
            .collect();
        due.first().copied()
    }
}

impl FromStr for Plan {
    type Err = PlanError;

    /// `point=action` or `point=action@passing`, several separated by `;`. Actions: `kill`, `stop`, `error`, and `hang(30s)`
    /// or `hang(250ms)`.
    fn from_str(text: &str) -> Result<Self, PlanError> {
        let entries = text.split(';').map(str::trim).filter(|entry| !entry.is_empty());
        let read = |entry: &str| self::entry(entry).map_err(|why| PlanError { entry: entry.to_owned(), why });
        entries.map(read).collect::<Result<_, _>>().map(Self)
    }
}

fn entry(text: &str) -> Result<Entry, String> {
    let (name, rest) = text.split_once('=').ok_or("write POINT=ACTION, or POINT=ACTION@PASSING")?;
    let point = POINTS.iter().find(|(known, _)| *known == name).map(|(_, point)| *point);
    let point = point.ok_or_else(|| {
        let names: Vec<_> = POINTS.iter().map(|(name, _)| *name).collect();
        format!("there is no fail point `{name}`; there are {}", names.join(", "))
    })?;
    let (action, passing) = match rest.split_once('@') {
        Some((action, passing)) => (action, passing.parse().ok().filter(|passing| *passing > 0)),
        None => (rest, Some(1)),
    };
    let passing = passing.ok_or("a passing is a number from 1 on")?;
    Ok(Entry { point, action: self::action(action)?, passing, passed: AtomicU64::new(0) })
}

fn action(text: &str) -> Result<Action, String> {
    match text {
        "kill" => return Ok(Action::Kill),
        "stop" => return Ok(Action::Stop),
        "error" => return Ok(Action::Error),
        _ => {}
    }
    let time = text.strip_prefix("hang(").and_then(|rest| rest.strip_suffix(')')).and_then(duration);
    let known = "an action is kill, stop, error, or hang with a time, such as hang(30s) or hang(250ms)";
    time.map(Action::Hang).ok_or_else(|| known.to_owned())
}

fn duration(text: &str) -> Option<Duration> {
    if let Some(number) = text.strip_suffix("ms") {
        return number.parse().ok().map(Duration::from_millis);
    }
    text.strip_suffix('s')?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_comes_once_at_its_passing() {
        let plan: Plan = "acked=kill@2; acked=error ;sent=hang(30s)@1".parse().unwrap();
        let pauses = |action| action != Action::Error;
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push((plan.due(Point::Acked, pauses), plan.due(Point::Acked, |action| !pauses(action))));
        }
        let wanted = [(None, Some(Action::Error)), (Some(Action::Kill), None), (None, None)];
        assert_eq!(seen, wanted);
        assert_eq!(plan.due(Point::Sent, pauses), Some(Action::Hang(Duration::from_secs(30))));
        assert_eq!(plan.due(Point::Taken, pauses), None);
        assert!("".parse::<Plan>().unwrap().0.is_empty());
    }

    #[test]
    fn what_is_no_plan_is_refused_by_name() {
        for (text, why) in [
            ("pushed=kill", "there is no fail point `pushed`; there are received, authenticated"),
            ("acked", "write POINT=ACTION"),
            ("acked=kill@0", "a number from 1 on"),
            ("acked=kill@x", "a number from 1 on"),
            ("acked=explode", "an action is kill"),
            ("acked=hang(soon)", "an action is kill"),
        ] {
            let error = text.parse::<Plan>().unwrap_err().to_string();
            assert!(error.starts_with("WINDLASS_FAIL_POINTS: `") && error.contains(why), "{error}");
        }
    }

    #[test]
    fn every_point_is_named_as_it_is_written() {
        for (name, point) in POINTS {
            assert_eq!(point.to_string(), name);
            assert_eq!(format!("{point:?}").to_lowercase(), name);
        }
    }
}
