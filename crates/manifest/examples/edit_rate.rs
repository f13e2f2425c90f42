//! Measures scanning and editing: `cargo run --release -p windlass-manifest --example edit_rate [MEGABYTES]`. `cargo
//! xtask bench` reads what it prints: a name and a number of megabytes per second on each line. Of several rounds the
//! quickest counts, which other work on the machine disturbs least.

use std::hint::black_box;
use std::time::Instant;

use granit_parser::Parser;
use memchr::memmem;
use windlass_manifest::{Edit, apply, scan};

const ROUNDS: usize = 5;
const MARKER: &str = " # {\"$imagepolicy\": \"apps:app\"}";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let megabytes: usize = std::env::args().nth(1).map_or(Ok(8), |text| text.parse())?;
    let plain = files(megabytes, "");
    let marked = files(megabytes, MARKER);
    rate("scan without markers", &plain, |file| assert!(scan(file).places.is_empty()));
    rate("memory search", &plain, |file| {
        black_box(memmem::find(file, b"$imagepolicy"));
    });
    rate("scan with markers", &marked, |file| assert_eq!(scan(file).places.len(), 1));
    rate("scan and edit", &marked, |file| {
        let found = scan(file);
        let edits = [Edit { place: 0, value: "ghcr.io/org/app:1.1.0".to_owned() }];
        let edited = apply(file, &found, &edits).expect("the file can be edited");
        assert_ne!(edited, *file);
    });
    rate("parsing", &marked, |file| {
        let text = std::str::from_utf8(file).expect("the files are text");
        black_box(Parser::new_from_str(text).flatten().count());
    });
    Ok(())
}

/// Deployments of about 1.3 kilobytes, each a file.
fn files(megabytes: usize, marker: &str) -> Vec<Vec<u8>> {
    let first = file(0, marker);
    (0..megabytes * 1_000_000 / first.len()).map(|number| file(number, marker)).collect()
}

fn file(number: usize, marker: &str) -> Vec<u8> {
    let settings = (0..8).map(|setting| {
        let value = number * 31 + setting;
        format!("            - name: SETTING_{setting}\n              value: \"{value}\"\n")
    });
    let environment = settings.collect::<Vec<_>>().concat();
    format!(
        "# Owned by team {team}\n\
         apiVersion: apps/v1\n\
         kind: Deployment\n\
         metadata:\n  name: app-{number}\n  namespace: shop\n  labels: {{app: app-{number}, tier: web}}\n\
         spec:\n  replicas: 3\n  selector:\n    matchLabels:\n      app: app-{number}\n\
         \x20 template:\n    metadata:\n      labels:\n        app: app-{number}\n\
         \x20     annotations:\n        prometheus.io/scrape: 'true'\n        prometheus.io/port: \"8080\"\n\
         \x20   spec:\n      serviceAccountName: app\n      containers:\n        - name: app\n\
         \x20         image: ghcr.io/org/app:1.0.0{marker}\n          args: [\"--listen\", \":8080\"]\n\
         \x20         env:\n{environment}\
         \x20         resources:\n            requests: {{cpu: 100m, memory: 64Mi}}\n\
         \x20         readinessProbe:\n            httpGet:\n              path: /ready\n              port: 8080\n",
        team = number % 7,
    )
    .into_bytes()
}

/// Prints how many megabytes in a second the work takes.
fn rate(name: &str, files: &[Vec<u8>], mut work: impl FnMut(&Vec<u8>)) {
    let bytes: usize = files.iter().map(Vec::len).sum();
    let times = (0..ROUNDS).map(|_| {
        let started = Instant::now();
        files.iter().for_each(&mut work);
        started.elapsed()
    });
    let quickest = times.min().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "a size in bytes is far below 2⁵³")]
    let megabytes = bytes as f64 / 1e6;
    println!("{name}: {:.1}", megabytes / quickest.as_secs_f64());
}
