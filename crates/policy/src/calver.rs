//! Calendar versions: formats in the tokens of calver.org, and the versions that they describe.
//!
//! A format is a sequence of tokens, of text that stands for itself (lower-case letters, `.`, `-`, `_`), and of
//! optional parts in `[…]`:
//!
//! | token | stands for |
//! |---|---|
//! | `YYYY`, `YY`, `0Y` | the year: `2026`; since 2000 without padding, `6`, `106`; since 2000 in two digits, `06` |
//! | `MM`, `0M` | the month, 1 to 12; `0M` in two digits |
//! | `WW`, `0W` | the week of the year, 1 to 53; `0W` in two digits |
//! | `DD`, `0D` | the day of the month; `0D` in two digits |
//! | `MAJOR`, `MINOR`, `MICRO` | a number below 2⁶⁴ |
//! | `MODIFIER` | a word such as `rc.1`, up to the end: a letter, then letters, digits, `.`, `-`, `_` |
//!
//! Versions compare by their date (year, then month or week, then day), wherever it stands; then by `MAJOR`, `MINOR` and
//! `MICRO`; then by `MODIFIER`, as SemVer compares pre-releases. An optional number or part of a date that is absent is
//! below any that is present; a version without a modifier is above those with one.

use std::cmp::Ordering;
use std::fmt;

use jiff::civil::Date;
use regex::{Captures, Regex};

use crate::version::compare_prerelease;

/// Longest format, in bytes. Real ones have fewer than 40.
const MAX_FORMAT: usize = 128;

/// A token: how it is written, what it stands for, its expression, and whether it is a number of varying length.
type Token = (&'static str, Field, &'static str, bool);

/// Every token; of two that begin alike, the longer is first.
const TOKENS: [Token; 13] = [
    ("YYYY", Field::Year, "[0-9]{4}", false),
    ("YY", Field::YearSince2000, "0|[1-9][0-9]{0,2}", true),
    ("0Y", Field::YearSince2000, "[0-9]{2}", false),
    ("MM", Field::Month, "1[0-2]|[1-9]", true),
    ("0M", Field::Month, "0[1-9]|1[0-2]", false),
    ("WW", Field::Week, "[1-4][0-9]|5[0-3]|[1-9]", true),
    ("0W", Field::Week, "0[1-9]|[1-4][0-9]|5[0-3]", false),
    ("DD", Field::Day, "[12][0-9]|3[01]|[1-9]", true),
    ("0D", Field::Day, "0[1-9]|[12][0-9]|3[01]", false),
    ("MAJOR", Field::Major, NUMBER, true),
    ("MINOR", Field::Minor, NUMBER, true),
    ("MICRO", Field::Micro, NUMBER, true),
    // It begins with a letter, so that it may follow a number directly: `2026.5rc1`.
    ("MODIFIER", Field::Modifier, "[A-Za-z][0-9A-Za-z._-]*", false),
];
/// As many digits as the largest `u64` has.
const NUMBER: &str = "[0-9]{1,20}";

/// What a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    YearSince2000,
    Month,
    Week,
    Day,
    Major,
    Minor,
    Micro,
    Modifier,
}

/// A format of calendar versions.
#[derive(Debug, Clone)]
pub struct CalendarFormat {
    text: String,
    pattern: Regex,
}

/// Why a text is no format of calendar versions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalendarFormatError {
    /// It is too long.
    #[error("a calendar format has at most {MAX_FORMAT} characters")]
    TooLong,
    /// There is no year.
    #[error("a calendar format needs a year: YYYY, YY or 0Y")]
    NoYear,
    /// A character that begins no token and stands for nothing.
    #[error(
        "`{0}` is no token of a calendar format: write YYYY, YY, 0Y, MM, 0M, WW, 0W, DD, 0D, MAJOR, MINOR, MICRO or \
         MODIFIER, with lower-case letters, `.`, `-` or `_` between them and `[…]` around what is optional"
    )]
    Unknown(String),
    /// Two tokens for one thing.
    #[error("`{0}` states again what another token states")]
    Twice(&'static str),
    /// Weeks are counted from the start of the year.
    #[error("a week of the year cannot stand beside a month or a day")]
    WeekBesideMonth,
    /// A day of no month.
    #[error("a day needs a month: MM or 0M")]
    DayWithoutMonth,
    /// Two numbers that cannot be told apart.
    #[error(
        "nothing tells where `{first}` ends and `{second}` begins: put a separator between them, or take tokens of a \
         fixed length (0Y, 0M, 0W, 0D)"
    )]
    Ambiguous {
        /// A number of varying length.
        first: &'static str,
        /// The number after it.
        second: &'static str,
    },
    /// `[` without `]`, or the reverse.
    #[error("`[` and `]` do not pair up")]
    Brackets,
    /// Something follows the modifier.
    #[error("MODIFIER takes all the rest: it must stand last")]
    ModifierNotLast,
}

/// A calendar version; the greater is the later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CalendarVersion {
    year: u64,
    month_or_week: Option<u64>,
    day: Option<u64>,
    major: Option<u64>,
    minor: Option<u64>,
    micro: Option<u64>,
    modifier: Modifier,
}

/// Compared as SemVer compares pre-releases: none is the greatest.
#[derive(Debug, Clone)]
struct Modifier(Box<str>);

impl CalendarFormat {
    /// Reads a format.
    pub fn parse(text: &str) -> Result<Self, CalendarFormatError> {
        if text.len() > MAX_FORMAT {
            return Err(CalendarFormatError::TooLong);
        }
        let pattern = Translation::default().translate(text)?;
        // The translation emits valid syntax only, so the sole cause left is the size.
        let pattern = Regex::new(&pattern).map_err(|_| CalendarFormatError::TooLong)?;
        Ok(Self { text: text.to_owned(), pattern })
    }

    /// The format as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The version that a text is, if all of it is of this format and its date exists.
    pub fn read(&self, text: &str) -> Option<CalendarVersion> {
        let captures = self.pattern.captures(text)?;
        let number = |field: Field| number(&captures, field);
        let year = number(Field::Year)?.or(number(Field::YearSince2000)?.map(|year| 2000 + year))?;
        let (month, week, day) = (number(Field::Month)?, number(Field::Week)?, number(Field::Day)?);
        if let Some(day) = day {
            let date = Date::new(year.try_into().ok()?, month?.try_into().ok()?, day.try_into().ok()?);
            date.ok()?;
        }
        let modifier = captures.name(Field::Modifier.name()).map_or("", |word| word.as_str());
        Some(CalendarVersion {
            year,
            month_or_week: month.or(week),
            day,
            major: number(Field::Major)?,
            minor: number(Field::Minor)?,
            micro: number(Field::Micro)?,
            modifier: Modifier(modifier.into()),
        })
    }
}

impl fmt::Display for CalendarFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for Modifier {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_prerelease(&self.0, &other.0)
    }
}

impl PartialOrd for Modifier {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Modifier {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Modifier {}

impl Field {
    /// Its group in the expression.
    fn name(self) -> &'static str {
        match self {
            Field::Year => "year",
            Field::YearSince2000 => "short",
            Field::Month => "month",
            Field::Week => "week",
            Field::Day => "day",
            Field::Major => "major",
            Field::Minor => "minor",
            Field::Micro => "micro",
            Field::Modifier => "modifier",
        }
    }

    /// Whether one version cannot have both.
    fn clashes_with(self, other: Self) -> bool {
        let is_year = |field| matches!(field, Field::Year | Field::YearSince2000);
        self == other || (is_year(self) && is_year(other))
    }
}

/// The number of a field: none where its optional part is absent. The outer option is empty for one beyond `u64`.
#[expect(clippy::option_option, reason = "the outer one makes the whole text no version, by `?`")]
fn number(captures: &Captures<'_>, field: Field) -> Option<Option<u64>> {
    match captures.name(field.name()) {
        Some(digits) => digits.as_str().parse().ok().map(Some),
        None => Some(None),
    }
}

/// A format on its way to an expression.
#[derive(Default)]
struct Translation {
    pattern: String,
    fields: Vec<Field>,
    /// The number of varying length that the text so far may end in.
    open: Option<&'static str>,
    /// For each `[` that is not closed: what was open before it.
    outer: Vec<Option<&'static str>>,
}

impl Translation {
    fn translate(mut self, text: &str) -> Result<String, CalendarFormatError> {
        self.pattern.push('^');
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let token = TOKENS.iter().find(|(word, ..)| rest.starts_with(word));
            if c != ']' && self.has(Field::Modifier) {
                return Err(CalendarFormatError::ModifierNotLast);
            }
            match (token, c) {
                (Some(token), _) => self.token(token)?,
                (None, '[') => {
                    self.outer.push(self.open);
                    self.pattern.push_str("(?:");
                }
                (None, ']') => {
                    let outer = self.outer.pop().ok_or(CalendarFormatError::Brackets)?;
                    self.open = self.open.or(outer);
                    self.pattern.push_str(")?");
                }
                (None, '.' | '-' | '_' | 'a'..='z') => {
                    self.open = None;
                    self.pattern.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
                }
                (None, other) => return Err(CalendarFormatError::Unknown(other.escape_debug().to_string())),
            }
            rest = &rest[token.map_or(c.len_utf8(), |(word, ..)| word.len())..];
        }
        self.finish()
    }

    fn token(&mut self, &(word, field, expression, varies): &Token) -> Result<(), CalendarFormatError> {
        if self.fields.iter().any(|other| field.clashes_with(*other)) {
            return Err(CalendarFormatError::Twice(word));
        }
        if let Some(first) = self.open
            && field != Field::Modifier
        {
            return Err(CalendarFormatError::Ambiguous { first, second: word });
        }
        self.fields.push(field);
        self.open = varies.then_some(word);
        for part in ["(?P<", field.name(), ">", expression, ")"] {
            self.pattern.push_str(part);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<String, CalendarFormatError> {
        if !self.outer.is_empty() {
            return Err(CalendarFormatError::Brackets);
        }
        if !self.has(Field::Year) && !self.has(Field::YearSince2000) {
            return Err(CalendarFormatError::NoYear);
        }
        if self.has(Field::Week) && (self.has(Field::Month) || self.has(Field::Day)) {
            return Err(CalendarFormatError::WeekBesideMonth);
        }
        if self.has(Field::Day) && !self.has(Field::Month) {
            return Err(CalendarFormatError::DayWithoutMonth);
        }
        self.pattern.push('$');
        Ok(self.pattern)
    }

    fn has(&self, field: Field) -> bool {
        self.fields.contains(&field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(text: &str) -> CalendarFormat {
        CalendarFormat::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn formats_take_the_versions_that_calver_org_shows_and_no_others() {
        for (text, taken, refused) in [
            (
                "YYYY.0M.0D",
                vec!["2026.01.15", "2024.02.29"],
                vec!["2026.1.15", "2026.13.01", "26.01.15", "2026.01"],
            ),
            ("YYYY.MM.DD", vec!["2026.1.5", "2026.12.31"], vec!["2026.01.05", "2026.0.1", "2026.1.32"]),
            ("YY.0M", vec!["26.04", "6.10", "106.01", "0.01"], vec!["06.10", "2026.04", "1006.01"]),
            ("0Y0M0D", vec!["260115"], vec!["26115", "261301", "20260115"]),
            ("YYYY.0W", vec!["2026.01", "2026.53"], vec!["2026.00", "2026.54", "2026.1"]),
            ("YY.WW", vec!["26.1", "26.53"], vec!["26.01", "26.54", "26.0"]),
            ("YYYY.0M.DD[-MICRO]", vec!["2026.01.5", "2026.01.15-3"], vec!["2026.01.15-", "2026.01.15.3"]),
            ("YYYY[.0M[.0D]]", vec!["2026", "2026.01", "2026.01.31"], vec!["2026.02.30", "2026."]),
            ("YYYY.MINOR.MICRO[MODIFIER]", vec!["2026.1.0", "2026.1.0rc1"], vec!["2026.1.0-rc1", "2026.1"]),
            ("YY.MINOR[.MICRO][-MODIFIER]", vec!["26.1", "26.1.2", "26.1-rc.1"], vec!["26.1-", "26.1-2"]),
            ("release-YYYY_0M", vec!["release-2026_01"], vec!["2026_01", "Release-2026_01"]),
            ("YYYY.MICRO", vec!["2026.18446744073709551615"], vec!["2026.18446744073709551616"]),
        ] {
            let format = format(text);
            assert_eq!(format.as_str(), text);
            for version in taken {
                assert!(format.read(version).is_some(), "{text} takes {version}");
            }
            for version in refused {
                assert_eq!(format.read(version), None, "{text} refuses {version}");
            }
        }
    }

    #[test]
    fn only_dates_that_exist_are_versions() {
        let format = format("YYYY.0M.0D");
        for date in ["2023.02.29", "1900.02.29", "2026.04.31", "2026.00.10", "2026.01.00"] {
            assert_eq!(format.read(date), None, "{date}");
        }
        assert!(format.read("2000.02.29").is_some());
        assert!(format.read("0001.01.01").is_some());
        assert_eq!(format.read("2026.01.15\n"), None);
        assert_eq!(format.read("２０２６.01.15"), None, "other digits than ASCII's are none");
    }

    #[test]
    fn the_date_is_compared_first_then_the_numbers_then_the_modifier() {
        for (text, ascending) in [
            (
                "YYYY.0M.DD[-MICRO]",
                vec!["2025.12.31-9", "2026.01.5", "2026.01.5-0", "2026.01.5-9", "2026.01.5-10", "2026.01.15"],
            ),
            ("DD.MM.YYYY", vec!["31.12.2025", "2.1.2026", "1.2.2026", "11.2.2026"]),
            ("MAJOR.YY.0M", vec!["9.25.12", "1.26.01", "2.26.01", "1.26.02"]),
            ("YY.WW.MICRO", vec!["9.53.7", "26.2.7", "26.10.0", "106.1.0"]),
            ("YYYY[.0M[.0D]]", vec!["2025.12.31", "2026", "2026.01", "2026.01.01", "2026.02"]),
            (
                "YYYY.MINOR[-MODIFIER]",
                vec!["2026.1-alpha", "2026.1-rc.2", "2026.1-rc.10", "2026.1", "2026.2-dev"],
            ),
        ] {
            let format = format(text);
            let versions: Vec<_> = ascending.iter().map(|version| format.read(version).unwrap()).collect();
            for (i, left) in versions.iter().enumerate() {
                for (j, right) in versions.iter().enumerate() {
                    assert_eq!(left.cmp(right), i.cmp(&j), "{} against {}", ascending[i], ascending[j]);
                }
            }
        }
    }

    #[test]
    fn spellings_of_one_version_are_equal() {
        let format = format("YYYY.MICRO");
        assert_eq!(format.read("2026.1"), format.read("2026.001"));
    }

    #[test]
    fn wrong_formats_say_what_is_wrong() {
        for (text, message) in [
            ("", "needs a year"),
            ("0M.0D", "needs a year"),
            ("YYYY.YY", "`YY` states again"),
            ("YYYY.MM.0M", "`0M` states again"),
            ("YYYY.0W.0D", "a week of the year cannot stand beside a month or a day"),
            ("YYYY.0M.0W", "a week of the year cannot stand beside a month or a day"),
            ("YYYY.DD", "a day needs a month"),
            ("YYYYMMDD", "nothing tells where `MM` ends and `DD` begins"),
            ("YY0M", "nothing tells where `YY` ends and `0M` begins"),
            ("YYYY.MICRO[.]0M", "nothing tells where `MICRO` ends and `0M` begins"),
            ("YYYY[.MM]0D", "nothing tells where `MM` ends and `0D` begins"),
            ("YYYY.[MICRO", "do not pair up"),
            ("YYYY.MICRO]", "do not pair up"),
            ("YYYY.MODIFIER.0M", "must stand last"),
            ("YYYY[.MODIFIER]-0M", "must stand last"),
            ("YYYYY", "`Y` is no token"),
            ("YYYY.1", "`1` is no token"),
            ("YYYY 0M", "` ` is no token"),
            ("YYYY.(0M)", "`(` is no token"),
            ("YYYY.é", "`é` is no token"),
            ("YYYY\u{7}", r"`\u{7}` is no token"),
        ] {
            let error = CalendarFormat::parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
        let long = "YYYY".to_owned() + &"[v]".repeat(MAX_FORMAT / 3);
        assert_eq!(CalendarFormat::parse(&long).unwrap_err(), CalendarFormatError::TooLong);
        let deep = format(&("YYYY".to_owned() + &"[".repeat(62) + &"]".repeat(62)));
        assert!(deep.read("2026").is_some(), "nesting within the length is no problem");
    }
}
