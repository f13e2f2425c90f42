//! Patterns of paths: `charts/*/templates/**`.

use std::fmt;
use std::str::FromStr;

/// Longer patterns are refused, so that matching stays cheap.
const MAX_PATTERN: usize = 1_024;

/// A pattern of paths with forward slashes: `*` is any text within one name, `?` one character of it, and `**` as a whole
/// name any number of folders. A pattern without a slash is about the last name alone; a slash at its start is
/// ignored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Glob {
    pattern: String,
}

/// A text that is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a pattern of paths: {reason}")]
pub struct InvalidGlob {
    pattern: String,
    reason: &'static str,
}

impl FromStr for Glob {
    type Err = InvalidGlob;

    fn from_str(pattern: &str) -> Result<Self, Self::Err> {
        let reason = match pattern {
            "" => "it is empty",
            _ if pattern.len() > MAX_PATTERN => "it is too long",
            _ if pattern.contains(['[', ']', '{', '}', '\\']) => "only `*`, `**` and `?` have a meaning",
            _ => return Ok(Self { pattern: pattern.to_owned() }),
        };
        Err(InvalidGlob { pattern: pattern.chars().take(80).collect(), reason })
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

impl Glob {
    /// Whether the whole path is of this pattern. The cost is at most the product of the two lengths.
    pub fn matches(&self, path: &str) -> bool {
        let pattern = self.pattern.strip_prefix('/').unwrap_or(&self.pattern);
        if !self.pattern.contains('/') && pattern != "**" {
            return is_name(pattern, path.rsplit('/').next().unwrap_or(path));
        }
        let names: Vec<&str> = path.split('/').collect();
        // Which of the path's first names the pattern's first names can stand for.
        let mut reached = vec![false; names.len() + 1];
        reached[0] = true;
        for part in pattern.split('/') {
            reached = if part == "**" { from_first(&reached) } else { one_further(&reached, part, &names) };
        }
        reached[names.len()]
    }
}

fn from_first(reached: &[bool]) -> Vec<bool> {
    let first = reached.iter().position(|reached| *reached).unwrap_or(reached.len());
    (0..reached.len()).map(|at| at >= first).collect()
}

fn one_further(reached: &[bool], part: &str, names: &[&str]) -> Vec<bool> {
    let mut next = vec![false; reached.len()];
    for (at, name) in names.iter().enumerate() {
        next[at + 1] = reached[at] && is_name(part, name);
    }
    next
}

/// Whether one name is of a pattern without slashes: after a mismatch, the last `*` takes one character more.
fn is_name(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        for (pattern, path, matches) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", "x/y/a.yaml", true),
            ("*.yaml", "a.yml", false),
            ("/*.yaml", "a.yaml", true),
            ("/*.yaml", "x/a.yaml", false),
            ("charts/*/templates/*.yaml", "charts/web/templates/a.yaml", true),
            ("charts/*/templates/*.yaml", "charts/web/x/templates/a.yaml", false),
            ("charts/**/templates/**", "charts/web/x/templates/a/b.yaml", true),
            ("charts/**/templates/**", "charts/templates/b.yaml", true),
            ("**/templates/*", "templates/b.yaml", true),
            ("**/templates/*", "a/templates/c/b.yaml", false),
            ("**", "a/b", true),
            ("a/**", "a/b/c", true),
            ("a/**", "b/a/c", false),
            ("dep?oy-*-*.yaml", "deploy-a-b-c.yaml", true),
            ("dep?oy-*-*.yaml", "deploy-a.yaml", false),
            ("é?", "éü", true),
        ] {
            assert_eq!(pattern.parse::<Glob>().unwrap().matches(path), matches, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["", "a[b]", "{a,b}", "a\\*", &"a".repeat(2_000)] {
            assert!(pattern.parse::<Glob>().is_err(), "{pattern}");
        }
    }

    #[test]
    fn hostile_patterns_are_cheap() {
        let pattern: Glob = format!("{}b", "*a".repeat(400)).parse().unwrap();
        assert!(!pattern.matches(&"a".repeat(100_000)));
        let pattern: Glob = format!("{}b", "**/".repeat(300)).parse().unwrap();
        assert!(!pattern.matches(&"a/".repeat(10_000)));
    }
}
