//! From single measurements to the figures that are shown.

use std::time::Duration;

/// Measured times, in ascending order.
#[derive(Debug, Clone)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// Takes them in any order.
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The time that this many of a hundred do not exceed: the nearest rank, so always a time that was measured. Zero
    /// without any.
    pub(crate) fn quantile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// The middle one.
    pub(crate) fn median(&self) -> Duration {
        self.quantile(50)
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        Self::new(times.into_iter().collect())
    }
}

/// Times and counts for people: `41.2 ms`, `6,120 /s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Milliseconds,
    /// How many times the baseline.
    Times,
    PerSecond,
    /// A million bytes each.
    Megabytes,
    MegabytesPerSecond,
    Number,
}

/// One measured value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figure {
    pub(crate) value: f64,
    pub(crate) unit: Unit,
}

impl Figure {
    pub(crate) fn time(time: Duration) -> Self {
        Self { value: time.as_secs_f64() * 1000.0, unit: Unit::Milliseconds }
    }

    /// How often `baseline` goes into `time`.
    pub(crate) fn ratio(time: Duration, baseline: Duration) -> Self {
        Self { value: time.div_duration_f64(baseline), unit: Unit::Times }
    }

    pub(crate) fn rate(number: usize, time: Duration) -> Self {
        Self { value: float(number) / time.as_secs_f64(), unit: Unit::PerSecond }
    }

    pub(crate) fn number(number: usize) -> Self {
        Self { value: float(number), unit: Unit::Number }
    }

    pub(crate) fn megabytes(bytes: u64) -> Self {
        Self { value: float(usize::try_from(bytes).unwrap_or(usize::MAX)) / 1e6, unit: Unit::Megabytes }
    }

    /// The value with as many digits as it deserves, and its unit.
    pub(crate) fn text(&self) -> String {
        show(self.value, self.unit)
    }
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    pub(crate) fn is_met(self, figure: Figure) -> bool {
        match self {
            Self::AtMost(bound) => figure.value <= bound,
            Self::AtLeast(bound) => figure.value >= bound,
        }
    }

    pub(crate) fn text(self, unit: Unit) -> String {
        match self {
            Self::AtMost(bound) => format!("≤ {}", show(bound, unit)),
            Self::AtLeast(bound) => format!("≥ {}", show(bound, unit)),
        }
    }
}

impl Unit {
    /// As it stands behind a value, and in JSON.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Times => "×",
            Self::PerSecond => "/s",
            Self::Megabytes => "MB",
            Self::MegabytesPerSecond => "MB/s",
            Self::Number => "",
        }
    }
}

fn show(value: f64, unit: Unit) -> String {
    let number = match unit {
        Unit::Times => format!("{value:.2}"),
        // One tag takes microseconds.
        Unit::Milliseconds if value < 0.1 => format!("{value:.4}"),
        Unit::Milliseconds | Unit::Megabytes | Unit::MegabytesPerSecond if value < 1000.0 => {
            format!("{value:.1}")
        }
        _ => thousands(&format!("{value:.0}")),
    };
    format!("{number} {}", unit.symbol()).trim_end().to_owned()
}

/// `12345` as `12,345`.
fn thousands(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn float(number: usize) -> f64 {
    // More than four thousand million of anything is not measured here.
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let hundred: Samples = (1..=100).rev().map(Duration::from_millis).collect();
        for (percent, expected) in [(1, 1), (50, 50), (95, 95), (99, 99), (100, 100)] {
            assert_eq!(hundred.quantile(percent), Duration::from_millis(expected));
        }
        let three: Samples = [3, 1, 2].map(Duration::from_secs).into_iter().collect();
        assert_eq!((three.median(), three.quantile(99)), (Duration::from_secs(2), Duration::from_secs(3)));
        assert_eq!(Samples::new(Vec::new()).quantile(99), Duration::ZERO);
    }

    #[test]
    fn figures_have_their_unit_and_few_digits() {
        let time = Duration::from_micros(41_234);
        for (figure, expected) in [
            (Figure::time(time), "41.2 ms"),
            (Figure::time(time * 100), "4,123 ms"),
            (Figure::ratio(time, time * 2), "0.50 ×"),
            (Figure::rate(12_345, Duration::from_secs(1)), "12,345 /s"),
            (Figure::megabytes(23_400_000), "23.4 MB"),
            (Figure::number(1000), "1,000"),
            (Figure::number(7), "7"),
        ] {
            assert_eq!(figure.text(), expected);
        }
    }

    #[test]
    fn a_target_is_met_at_its_bound() {
        let figure = Figure::number(5);
        assert!(Target::AtMost(5.0).is_met(figure) && Target::AtLeast(5.0).is_met(figure));
        assert!(!Target::AtMost(4.9).is_met(figure) && !Target::AtLeast(5.1).is_met(figure));
    }
}
