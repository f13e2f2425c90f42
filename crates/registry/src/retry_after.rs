//! How long a throttling registry asks to be left alone.
//!
//! The wall clock is not read: a date is compared with the `Date` of the same answer, so that neither our clock nor
//! the registry's needs to be right.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use jiff::civil::DateTime;

/// The three forms of a date that HTTP knows (RFC 9110, section 5.6.7): IMF-fixdate, RFC 850, asctime.
const HTTP_DATES: [&str; 3] =
    ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// The pause that `Retry-After` asks for (RFC 9110, section 10.2.3: seconds or a date), else the one in the message
/// of GHCR's errors. Unbounded: the budget sets the bounds.
pub(crate) fn wanted(headers: &HeaderMap, body: &[u8]) -> Option<Duration> {
    header(headers).or_else(|| message(body))
}

fn header(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = http_date(value)?;
    let now = http_date(headers.get(DATE)?.to_str().ok()?.trim())?;
    Some(until.duration_since(now).try_into().unwrap_or(Duration::ZERO))
}

fn http_date(text: &str) -> Option<DateTime> {
    HTTP_DATES.iter().find_map(|format| DateTime::strptime(format, text).ok())
}

/// GHCR writes `toomanyrequests: retry-after: 880.092µs, allowed: 44000/minute`, a duration in Go's notation.
fn message(body: &[u8]) -> Option<Duration> {
    let body = std::str::from_utf8(body).ok()?.to_ascii_lowercase();
    let (_, rest) = body.split_once("retry-after:")?;
    let end = rest.find([',', '"', '\n', '\\', '}']).unwrap_or(rest.len());
    go_duration(rest[..end].trim())
}

/// `1h2m3.5s`, `880.092µs`: numbers with units, summed.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..unit_at].parse().ok()?;
        rest = &rest[unit_at..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let scale = match &rest[..unit_end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            // The micro sign, the Greek letter, and the plain spelling.
            "\u{b5}s" | "\u{3bc}s" | "us" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number * scale;
        rest = &rest[unit_end..];
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(seconds).ok() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DATE_NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn wants(retry_after: &str, date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        wanted(&headers, b"")
    }

    #[test]
    fn seconds_and_every_form_of_date_are_understood() {
        for (value, seconds) in [
            ("0", 0),
            ("120", 120),
            (" 7 ", 7),
            ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
            ("Sunday, 06-Nov-94 08:50:37 GMT", 60),
            ("Sun Nov  6 08:50:37 1994", 60),
            ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
            ("99999999999999999999999", u64::MAX),
        ] {
            assert_eq!(wants(value, Some(DATE_NOW)), Some(Duration::from_secs(seconds)), "{value}");
        }
    }

    #[test]
    fn what_is_not_understood_is_no_answer() {
        for value in ["", "-1", "1.5", "soon", "Sun, 99 Nov 1994 08:50:37 GMT"] {
            assert_eq!(wants(value, Some(DATE_NOW)), None, "{value}");
        }
        assert_eq!(wants("Sun, 06 Nov 1994 08:50:37 GMT", None), None, "a date needs the answer's own date");
        assert_eq!(wants("Sun, 06 Nov 1994 08:50:37 GMT", Some("today")), None);
    }

    #[test]
    fn durations_in_error_messages_are_understood() {
        for (body, wanted_nanos) in [
            ("toomanyrequests: retry-after: 880.092µs, allowed: 44000/minute", Some(880_092)),
            (
                r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 1m1.5s, allowed: 1"}]}"#,
                Some(61_500_000_000),
            ),
            (r#"{"message":"Retry-After: 2ms"}"#, Some(2_000_000)),
            ("retry-after: soon", None),
            ("retry-after: ", None),
            ("retry-after: 5", None),
            ("retry-after: .s", None),
            ("slow down", None),
        ] {
            let found = wanted(&HeaderMap::new(), body.as_bytes());
            assert_eq!(found, wanted_nanos.map(Duration::from_nanos), "{body}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(header in "\\PC{0,60}", body in any::<Vec<u8>>(), duration in "[0-9.hmsuµn]{0,40}") {
            let mut headers = HeaderMap::new();
            if let Ok(value) = header.parse() {
                headers.insert(RETRY_AFTER, value);
            }
            let _ = wanted(&headers, &body);
            let _ = wanted(&headers, format!("retry-after: {duration}").as_bytes());
        }
    }
}
