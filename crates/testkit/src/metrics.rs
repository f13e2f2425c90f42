//! Reading Prometheus' text format, as far as assertions need it.

/// The samples of one scrape.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Reads a scrape. Lines that are no samples are skipped.
    pub fn parse(text: &str) -> Self {
        Self { samples: text.lines().filter_map(parse_sample).collect() }
    }

    /// The sum of all samples of this name that have these labels; `None` when there is none.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut values =
            self.samples.iter().filter(|sample| sample.is(name, labels)).map(|sample| sample.value);
        let first = values.next()?;
        Some(first + values.sum::<f64>())
    }

    /// Like [`Metrics::get`], with 0 for a counter that nothing has counted yet.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.get(name, labels).unwrap_or(0.0)
    }

    /// The names that occur, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.samples.iter().map(|sample| sample.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Sample {
    fn is(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.name == name
            && labels.iter().all(|(key, value)| self.labels.iter().any(|(k, v)| k == key && v == value))
    }
}

fn parse_sample(line: &str) -> Option<Sample> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (name, rest) = line.split_at(line.find(['{', ' '])?);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(labelled) => parse_labels(labelled)?,
        None => (Vec::new(), rest),
    };
    // A timestamp or an exemplar may follow the value.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// `a="b",c="d"} rest`: quotes, backslashes and line ends are escaped in values.
fn parse_labels(mut text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (key, quoted) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        loop {
            match characters.next()? {
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (end, '"') => {
                    text = &quoted[end + 1..];
                    break;
                }
                (_, other) => value.push(other),
            }
        }
        labels.push((key.to_owned(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPE: &str = "\
# HELP requests Requests.
# TYPE requests counter
requests_total{host=\"a\",outcome=\"ok\"} 3
requests_total{host=\"b\",outcome=\"ok\"} 4 1700000000
requests_total{host=\"b\",outcome=\"a \\\"quoted\\\" } brace\"} 1
depth 2.5
# EOF
";

    #[test]
    fn sums_the_samples_that_have_the_labels() {
        let metrics = Metrics::parse(SCRAPE);
        assert_eq!(metrics.get("requests_total", &[]), Some(8.0));
        assert_eq!(metrics.get("requests_total", &[("outcome", "ok")]), Some(7.0));
        assert_eq!(metrics.get("requests_total", &[("outcome", "a \"quoted\" } brace")]), Some(1.0));
        assert_eq!(metrics.get("depth", &[]), Some(2.5));
        assert_eq!(metrics.names(), ["depth", "requests_total"]);
    }

    #[test]
    fn what_is_missing_is_none_and_counts_as_zero() {
        let metrics = Metrics::parse(SCRAPE);
        assert_eq!(metrics.get("requests", &[]), None);
        assert_eq!(metrics.get("depth", &[("host", "a")]), None);
        assert!(metrics.count("requests", &[]).abs() < f64::EPSILON);
    }
}
