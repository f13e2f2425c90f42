//! Measures selection: `cargo run --release -p windlass-policy --example select_rate [TAGS]`. `cargo xtask bench` reads
//! what it prints: a name and a number of milliseconds on each line. Of several rounds the quickest counts, which other
//! work on the machine disturbs least.

use std::hint::black_box;
use std::iter;
use std::time::{Duration, Instant};

use regex::Regex;
use windlass_model::resource::{PolicyRule, TagFilter};
use windlass_policy::selection::Selector;

const ROUNDS: usize = 20;
/// Two of three sorts of tags pass, as in a repository with releases, variants and builds of a branch.
const PATTERN: &str = r"^(?P<version>v?[0-9]+\.[0-9]+\.[0-9]+)(-alpine)?$";
const RANGE: &str = ">=1.0.0 <90.0.0";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let number: usize = std::env::args().nth(1).map_or(Ok(100_000), |text| text.parse())?;
    let tags: Vec<String> = (0..number).map(tag).collect();
    let filter = TagFilter { pattern: PATTERN.to_owned(), extract: "$version".to_owned() };
    let selector = Selector::compile(&PolicyRule::SemVer { range: RANGE.to_owned() }, Some(&filter))?;
    let all = quickest(|| {
        drop(black_box(selector.select(tags.iter().map(String::as_str))));
    });
    let best = selector.select(tags.iter().map(String::as_str))?;
    // What the promoter does for a tag that an event names: the best one so far and the new one are compared.
    let one = quickest(|| {
        drop(black_box(selector.select(iter::once(best).chain(["89.9999.9999"]))));
    });
    let regex = Regex::new(PATTERN)?;
    let bare = quickest(|| {
        let mut places = regex.capture_locations();
        let found = tags.iter().filter(|tag| regex.captures_read(&mut places, tag).is_some());
        black_box(found.count());
    });
    for (name, time) in [("all", all), ("one", one), ("matching", bare)] {
        println!("{name}: {:.6}", time.as_secs_f64() * 1000.0);
    }
    Ok(())
}

fn tag(number: usize) -> String {
    let (major, minor, patch) = (number % 97, number / 97 % 100, number / 9_700);
    match number % 3 {
        0 => format!("v{major}.{minor}.{patch}"),
        1 => format!("{major}.{minor}.{patch}-alpine"),
        _ => format!("main-{:07x}-{}", number * 2_654_435_761 % 0xfff_ffff, 1_700_000_000 + number),
    }
}

fn quickest(mut work: impl FnMut()) -> Duration {
    let times = (0..ROUNDS).map(|_| {
        let started = Instant::now();
        work();
        started.elapsed()
    });
    times.min().unwrap_or_default()
}
