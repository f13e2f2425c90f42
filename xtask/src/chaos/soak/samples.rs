//! What a process holds, sampled over time, and whether it grew.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{Instant, interval};
use windlass_testkit::windlass::Windlass;

use crate::figures::Figure;

/// Between two samples.
const INTERVAL: Duration = Duration::from_secs(5);
/// What is kept for a minute must be full before anything can be called growth: an image gets the releases that it keeps
/// within a minute, the next poll finds out which are gone, and two minutes later nothing remembers those,
const SHORTEST_WARM_UP: Duration = Duration::from_mins(4);
/// and a long trial has more time for it: a quarter.
const WARM_UP: u32 = 4;
/// Rows that are shown.
const ROWS: usize = 10;
/// Up to a tenth is no growth: what is written in batches swings by as much.
const SHARE: f64 = 0.1;

/// Samples in the order in which they were taken.
#[derive(Debug)]
pub(super) struct Samples {
    taken: Vec<Sample>,
    length: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Since the start.
    at: Duration,
    /// Resident memory, bytes.
    resident: u64,
    /// What of it is the process's own: neither its program nor packs that it reads.
    own: u64,
    /// Open descriptors.
    descriptors: u64,
    /// Bytes below the data folder.
    disk: u64,
}

/// From the middle of the first third after the warm-up to the middle of the last.
#[derive(Debug)]
pub(super) struct Growth {
    what: &'static str,
    from: Figure,
    to: Figure,
    /// Less than this is none, whatever its share: what an allocator keeps after a burst, some packs, a few connections.
    floor: f64,
    /// By the line that fits all samples after the warm-up best.
    hourly: f64,
}

impl Samples {
    /// The columns of [`Samples::rows`].
    pub(super) const HEADINGS: [&'static str; 5] =
        ["minute", "resident", "its own", "descriptors", "data folder"];

    /// Samples for so long.
    ///
    /// # Errors
    /// When the process has ended.
    pub(super) async fn take(windlass: &Windlass, data: &Path, length: Duration) -> Result<Self> {
        let (start, mut taken) = (Instant::now(), Vec::new());
        let mut ticks = interval(INTERVAL);
        while ticks.tick().await < start + length {
            taken.push(Sample {
                at: start.elapsed(),
                resident: windlass.resident_memory()?,
                own: windlass.own_memory()?,
                descriptors: descriptors(windlass.id())?,
                disk: size(data)?,
            });
        }
        Ok(Self { taken, length })
    }

    /// A few of them, evenly spread, the last one among them.
    pub(super) fn rows(&self) -> Vec<[String; 5]> {
        let each = self.taken.len().div_ceil(ROWS).max(1);
        let chosen = self.taken.iter().rev().step_by(each).collect::<Vec<_>>().into_iter().rev();
        let row = |sample: &Sample| {
            [
                format!("{:.1}", sample.at.as_secs_f64() / 60.0),
                Figure::megabytes(sample.resident).text(),
                Figure::megabytes(sample.own).text(),
                sample.descriptors.to_string(),
                Figure::megabytes(sample.disk).text(),
            ]
        };
        chosen.map(row).collect()
    }

    /// What became of each after the warm-up.
    pub(super) fn growths(&self) -> [Growth; 3] {
        let warm = SHORTEST_WARM_UP.max(self.length / WARM_UP);
        let after: Vec<&Sample> = self.taken.iter().filter(|sample| sample.at >= warm).collect();
        [
            Growth::of("memory of its own", &after, 8.0, |sample| Figure::megabytes(sample.own)),
            Growth::of("descriptors", &after, 8.0, |sample| count(sample.descriptors)),
            Growth::of("data folder", &after, 4.0, |sample| Figure::megabytes(sample.disk)),
        ]
    }
}

impl Growth {
    fn of(what: &'static str, samples: &[&Sample], floor: f64, figure: fn(&Sample) -> Figure) -> Self {
        let third = samples.len() / 3;
        let middle = |samples: &[&Sample]| {
            let mut figures: Vec<Figure> = samples.iter().map(|sample| figure(sample)).collect();
            figures.sort_by(|a, b| a.value.total_cmp(&b.value));
            figures.get(figures.len() / 2).copied().unwrap_or(Figure::number(0))
        };
        let points = samples.iter().map(|sample| (sample.at.as_secs_f64() / 3600.0, figure(sample).value));
        Self {
            what,
            from: middle(&samples[..third]),
            to: middle(&samples[samples.len() - third..]),
            floor,
            hourly: slope(&points.collect::<Vec<_>>()),
        }
    }

    /// Whether it is more than what swings.
    pub(super) fn is_too_much(&self) -> bool {
        let growth = self.to.value - self.from.value;
        growth > self.floor && growth > SHARE * self.from.value
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, from, to, hourly, .. } = self;
        let hourly = Figure { value: *hourly, unit: from.unit }.text();
        let verdict = if self.is_too_much() { "it grows" } else { "no growth" };
        write!(
            f,
            "After the warm-up, {what}: {} → {}, a slope of {hourly} an hour: {verdict}.",
            from.text(),
            to.text()
        )
    }
}

fn count(number: u64) -> Figure {
    Figure::number(usize::try_from(number).unwrap_or(usize::MAX))
}

/// The slope of the line with the least squares; 0 without two different places.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = Figure::number(points.len()).value.max(1.0);
    let sum = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (sum(|point| point.0), sum(|point| point.1));
    let (across, along) = points.iter().fold((0.0, 0.0), |(across, along), point| {
        let away = point.0 - x;
        (away.mul_add(point.1 - y, across), away.mul_add(away, along))
    });
    if along > 0.0 { across / along } else { 0.0 }
}

fn descriptors(process: u32) -> Result<u64> {
    let folder = format!("/proc/{process}/fd");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {folder} (Linux only)"))?;
    Ok(entries.count() as u64)
}

/// The bytes of all files below a folder. One that goes meanwhile counts as gone.
fn size(folder: &Path) -> Result<u64> {
    let present = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Ok(0),
        _ => Err(error).with_context(|| format!("reading {}", folder.display())),
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return present(error),
    };
    let mut total = 0;
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                present(error)?;
                continue;
            }
        };
        total += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path())?,
            Ok(metadata) => metadata.len(),
            Err(error) => present(error)?,
        };
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(own: impl Fn(u64) -> u64) -> Growth {
        let sample = |second: u64| Sample {
            at: Duration::from_secs(second),
            resident: own(second),
            own: own(second),
            descriptors: 30,
            disk: 1_000_000,
        };
        let taken = (0..1200).step_by(5).map(sample).collect();
        let [memory, descriptors, disk] = Samples { taken, length: Duration::from_mins(20) }.growths();
        assert!(!descriptors.is_too_much() && !disk.is_too_much());
        memory
    }

    #[test]
    fn a_leak_is_told_from_a_warm_up_and_from_what_swings() {
        let leak = growth(|second| 20_000_000 + second * 20_000);
        assert!(leak.is_too_much());
        assert!((leak.hourly - 72.0).abs() < 0.01, "{leak}");
        assert!(leak.to_string().contains("it grows"), "{leak}");
        assert!(!growth(|second| 20_000_000 + second.min(200) * 200_000).is_too_much());
        assert!(!growth(|second| 20_000_000 + second % 60 * 100_000).is_too_much());
        assert!(!growth(|second| 200_000_000 + second * 20_000).is_too_much(), "less than a tenth");
    }

    #[test]
    fn all_files_below_a_folder_count_and_what_is_gone_does_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/b"), [0; 10]).unwrap();
        fs::write(folder.path().join("c"), [0; 5]).unwrap();
        assert_eq!(size(folder.path()).unwrap(), 15);
        assert_eq!(size(&folder.path().join("gone")).unwrap(), 0);
        assert!(descriptors(std::process::id()).unwrap() > 0);
    }
}
