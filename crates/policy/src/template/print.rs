//! Printing as Go's `fmt` does: `%v` and the verbs of `printf`.

use std::fmt::Write as _;
use std::sync::LazyLock;

use super::MAX_TEXT;
use super::functions::Failure;
use super::types::Shape;
use super::value::{Key, Value};

/// Widest padding and longest precision; Go allows a million.
const MAX_WIDTH: usize = 10_000;

/// What Go's `printf` knows and this one does not: floats, pointers, Unicode, octal and binary numbers, Go syntax,
/// explicit indices, and widths as arguments.
const UNSUPPORTED_VERBS: &str = "eEfFgGbBoOUpw#*[";

/// Text that is being built, with a limit.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    text: String,
}

impl Buffer {
    pub(super) fn push(&mut self, text: &str) -> Result<(), Failure> {
        if self.text.len() + text.len() > MAX_TEXT {
            return Err(Failure::limit(format!("the text is longer than {MAX_TEXT} bytes")));
        }
        self.text.push_str(text);
        Ok(())
    }

    pub(super) fn repeat(&mut self, text: &str, count: usize) -> Result<(), Failure> {
        if text.is_empty() { Ok(()) } else { (0..count).try_for_each(|_| self.push(text)) }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    pub(super) fn value(self) -> Value {
        Value::text(self.text)
    }
}

/// Appends a value as an action prints it: as `%v`, and nothing as `<no value>`.
pub(super) fn print(value: &Value, out: &mut Buffer) -> Result<(), Failure> {
    match value {
        Value::Nil => out.push("<no value>"),
        value => Verb::PLAIN.append(value, out),
    }
}

/// sprig's `strval`: `%v` of a value.
pub(super) fn plain(value: &Value) -> Result<String, Failure> {
    let mut out = Buffer::default();
    Verb::PLAIN.append(value, &mut out)?;
    Ok(out.finish())
}

/// Go's `fmt.Sprint`: a space between two operands of which neither is a string.
pub(super) fn sprint(values: &[Value]) -> Result<String, Failure> {
    let mut out = Buffer::default();
    for (index, value) in values.iter().enumerate() {
        let text = |value: &Value| matches!(value, Value::Text(_));
        if index > 0 && !text(value) && !text(&values[index - 1]) {
            out.push(" ")?;
        }
        Verb::PLAIN.append(value, &mut out)?;
    }
    Ok(out.finish())
}

/// Go's `fmt.Sprintln`.
pub(super) fn sprintln(values: &[Value]) -> Result<String, Failure> {
    let mut out = Buffer::default();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(" ")?;
        }
        Verb::PLAIN.append(value, &mut out)?;
    }
    out.push("\n")?;
    Ok(out.finish())
}

/// Go's `fmt.Sprintf`, for the verbs `v s q d x X t c T` with flags, width and precision.
pub(super) fn sprintf(format: &str, values: &[Value]) -> Result<String, Failure> {
    let mut out = Buffer::default();
    let mut values_left = values.iter();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        out.push(before)?;
        let (verb, after) = Verb::parse(after)?;
        rest = after;
        match verb.letter {
            None => out.push("%!(NOVERB)")?,
            Some('%') => out.push("%")?,
            Some(letter) => match values_left.next() {
                None => out.push(&format!("%!{letter}(MISSING)"))?,
                Some(value) => verb.append(value, &mut out)?,
            },
        }
    }
    out.push(rest)?;
    let extra: Vec<&Value> = values_left.collect();
    if !extra.is_empty() {
        out.push("%!(EXTRA ")?;
        for (index, value) in extra.into_iter().enumerate() {
            out.push(if index > 0 { ", " } else { "" })?;
            Verb::PLAIN.typed(value, &mut out)?;
        }
        out.push(")")?;
    }
    Ok(out.finish())
}

/// One verb with its flags.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "Go has independent flags")]
struct Verb {
    /// Absent at the end of the format.
    letter: Option<char>,
    plus: bool,
    left: bool,
    zero: bool,
    space: bool,
    width: usize,
    precision: Option<usize>,
}

impl Verb {
    const PLAIN: Verb = Verb {
        letter: Some('v'),
        plus: false,
        left: false,
        zero: false,
        space: false,
        width: 0,
        precision: None,
    };

    /// Reads what follows a `%`.
    fn parse(text: &str) -> Result<(Self, &str), Failure> {
        let mut verb = Verb { letter: None, ..Verb::PLAIN };
        let flags = text.len() - text.trim_start_matches(['+', '-', '0', ' ']).len();
        let (flags, rest) = text.split_at(flags);
        verb.plus = flags.contains('+');
        verb.left = flags.contains('-');
        verb.space = flags.contains(' ');
        verb.zero = flags.contains('0') && !verb.left;
        let (width, rest) = take_number(rest)?;
        verb.width = width.unwrap_or(0);
        let rest = match rest.strip_prefix('.') {
            Some(rest) => {
                let (precision, rest) = take_number(rest)?;
                verb.precision = Some(precision.unwrap_or(0));
                rest
            }
            None => rest,
        };
        verb.letter = rest.chars().next();
        match verb.letter {
            Some('q') if verb.plus => Err(Failure::new("printf: %+q is not supported")),
            Some(other) if UNSUPPORTED_VERBS.contains(other) => {
                Err(Failure::new(format!("printf: %{other} is not supported")))
            }
            // An unknown verb is printed as such.
            letter => Ok((verb, &rest[letter.map_or(0, char::len_utf8)..])),
        }
    }

    fn append(self, value: &Value, out: &mut Buffer) -> Result<(), Failure> {
        match (value, self.letter) {
            (value, Some('T')) => self.pad(value.type_name(), out),
            (Value::Record(record), Some('v' | 's' | 'q' | 'x' | 'X'))
                if record.shape == Shape::NamespacedName =>
            {
                // Go prints a `Stringer` by its method.
                let name = record.methods.first().cloned().unwrap_or(Value::Nil);
                self.append(&name, out)
            }
            (Value::List(list), _) => {
                out.push("[")?;
                for (index, item) in list.items.iter().enumerate() {
                    out.push(if index > 0 { " " } else { "" })?;
                    self.append(item, out)?;
                }
                out.push("]")
            }
            (Value::Map(map), _) => {
                out.push("map[")?;
                for (index, (key, item)) in map.entries.iter().enumerate() {
                    out.push(if index > 0 { " " } else { "" })?;
                    self.append_key(key, out)?;
                    out.push(":")?;
                    self.append(item, out)?;
                }
                out.push("]")
            }
            (Value::Record(record), _) => {
                out.push("{")?;
                let names = record.shape.fields();
                for (index, (field, (name, ..))) in record.fields.iter().zip(names).enumerate() {
                    out.push(if index > 0 { " " } else { "" })?;
                    if self.plus && self.letter == Some('v') {
                        out.push(name)?;
                        out.push(":")?;
                    }
                    self.append(field, out)?;
                }
                out.push("}")
            }
            (scalar, _) => self.append_scalar(scalar, out),
        }
    }

    fn append_key(self, key: &Key, out: &mut Buffer) -> Result<(), Failure> {
        self.append(&key.value(), out)
    }

    fn append_scalar(self, value: &Value, out: &mut Buffer) -> Result<(), Failure> {
        match (value, self.letter.unwrap_or('v')) {
            (Value::Nil, 'v') => self.pad("<nil>", out),
            (Value::Nil, letter) => out.push(&format!("%!{letter}(<nil>)")),
            (Value::Bool(value), 'v' | 't') => self.pad(if *value { "true" } else { "false" }, out),
            (Value::Int(value), 'v' | 'd' | 'x' | 'X') => self.integer(*value, out),
            (Value::Int(value), 'c') => {
                let c = u32::try_from(*value)
                    .ok()
                    .and_then(char::from_u32)
                    .unwrap_or(char::REPLACEMENT_CHARACTER);
                self.pad(c.encode_utf8(&mut [0; 4]), out)
            }
            (Value::Int(value), 'q') => {
                let c = u32::try_from(*value)
                    .ok()
                    .and_then(char::from_u32)
                    .unwrap_or(char::REPLACEMENT_CHARACTER);
                self.pad(&quote_with(c.encode_utf8(&mut [0; 4]), '\''), out)
            }
            (Value::Text(text), 'v' | 's') => self.pad(self.truncated(text), out),
            (Value::Text(text), 'q') => self.pad(&quote(self.truncated(text)), out),
            (Value::Text(text), letter @ ('x' | 'X')) => self.hexadecimal(text, letter == 'X', out),
            (value, letter) => {
                out.push(&format!("%!{letter}("))?;
                Verb { letter: Some('v'), ..self }.typed(value, out)?;
                out.push(")")
            }
        }
    }

    /// `string=a`, as `fmt` names a value that it could not print as asked.
    fn typed(self, value: &Value, out: &mut Buffer) -> Result<(), Failure> {
        if *value == Value::Nil {
            return out.push("<nil>");
        }
        out.push(value.type_name())?;
        out.push("=")?;
        self.append(value, out)
    }

    fn truncated(self, text: &str) -> &str {
        let end = self.precision.and_then(|precision| text.char_indices().nth(precision));
        end.map_or(text, |(end, _)| &text[..end])
    }

    fn integer(self, value: i64, out: &mut Buffer) -> Result<(), Failure> {
        let mut digits = match self.letter {
            Some('x') => format!("{:x}", value.unsigned_abs()),
            Some('X') => format!("{:X}", value.unsigned_abs()),
            _ => value.unsigned_abs().to_string(),
        };
        let sign = if value < 0 {
            "-"
        } else if self.plus && self.letter != Some('v') {
            "+"
        } else if self.space {
            " "
        } else {
            ""
        };
        let least = match self.precision {
            // A precision of zero prints zero as nothing.
            Some(0) if value == 0 => return self.pad("", out),
            Some(precision) => precision,
            None if self.zero => self.width.saturating_sub(sign.len()),
            None => 0,
        };
        if digits.len() < least {
            digits.insert_str(0, &"0".repeat(least - digits.len()));
        }
        // Zero padding and a precision exclude each other.
        Verb { zero: false, ..self }.pad(&format!("{sign}{digits}"), out)
    }

    fn hexadecimal(self, text: &str, upper: bool, out: &mut Buffer) -> Result<(), Failure> {
        let taken = text.as_bytes().iter().take(self.precision.unwrap_or(text.len()));
        let mut digits = String::new();
        for (index, byte) in taken.enumerate() {
            if self.space && index > 0 {
                digits.push(' ');
            }
            // Writing to a `String` cannot fail.
            let _ = if upper { write!(digits, "{byte:02X}") } else { write!(digits, "{byte:02x}") };
        }
        self.pad(&digits, out)
    }

    /// Pads to the width, counted in characters.
    fn pad(self, text: &str, out: &mut Buffer) -> Result<(), Failure> {
        let missing = self.width.saturating_sub(text.chars().count());
        if self.left {
            out.push(text)?;
            return out.repeat(" ", missing);
        }
        out.repeat(if self.zero { "0" } else { " " }, missing)?;
        out.push(text)
    }
}

fn take_number(text: &str) -> Result<(Option<usize>, &str), Failure> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Ok((None, rest));
    }
    match digits.parse() {
        Ok(number) if number <= MAX_WIDTH => Ok((Some(number), rest)),
        _ => Err(Failure::limit(format!("printf: a width or precision above {MAX_WIDTH}"))),
    }
}

/// Go's `strconv.Quote`.
pub(super) fn quote(text: &str) -> String {
    quote_with(text, '"')
}

fn quote_with(text: &str, mark: char) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(mark);
    for c in text.chars() {
        match c {
            c if c == mark || c == '\\' => out.extend(['\\', c]),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if printable(c) => out.push(c),
            // Writing to a `String` cannot fail.
            c if c.is_ascii() => drop(write!(out, "\\x{:02x}", c as u32)),
            c if (c as u32) < 0x1_0000 => drop(write!(out, "\\u{:04x}", c as u32)),
            c => drop(write!(out, "\\U{:08x}", c as u32)),
        }
    }
    out.push(mark);
    out
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
fn printable(c: char) -> bool {
    static OTHER: LazyLock<regex::Regex> = LazyLock::new(|| {
        regex::Regex::new(r"[\p{C}\p{Z}]").expect("the expression is constant and a test compiles it")
    });
    match c {
        ' '..='~' => true,
        c if c.is_ascii() => false,
        c => !OTHER.is_match(c.encode_utf8(&mut [0; 4])),
    }
}
