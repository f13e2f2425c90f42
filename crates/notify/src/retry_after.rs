//! `Retry-After` (RFC 9110, section 10.2.3), in both of its forms.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// A longer wait is this one: a notice that is a quarter of an hour late is still worth a try.
const MAX: Duration = Duration::from_mins(15);

/// How long the receiver asks to wait. A date is read against the answer's own `Date`, so that no clock but the
/// receiver's is involved.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds).min(MAX));
    }
    let wait = date(headers, &header::RETRY_AFTER)?.duration_since(date(headers, &header::DATE)?);
    Some(Duration::try_from(wait).unwrap_or_default().min(MAX))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(headers.get(name)?.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_bounded() {
        let now = Some("Wed, 21 Oct 2015 07:28:00 GMT");
        for (value, date, expected) in [
            ("0", None, Some(0)),
            ("30", None, Some(30)),
            (" 30 ", None, Some(30)),
            ("86400", None, Some(900)),
            ("18446744073709551615", None, Some(900)),
            ("18446744073709551616", None, None),
            ("-1", None, None),
            ("1.5", None, None),
            ("", None, None),
            ("soon", now, None),
            ("Wed, 21 Oct 2015 07:28:30 GMT", now, Some(30)),
            ("Wed, 21 Oct 2015 07:27:30 GMT", now, Some(0)),
            ("Thu, 22 Oct 2015 07:28:00 GMT", now, Some(900)),
            ("Wed, 21 Oct 2015 07:28:30 GMT", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            headers.extend(date.map(|date| (header::DATE, date.parse().unwrap())));
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
