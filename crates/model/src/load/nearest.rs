//! Suggestions for misspelt names. Owns the distance and its threshold alone.

/// Longest name that is compared; no field or kind comes near it.
const MAX_LENGTH: usize = 64;

/// The known name that a misspelt one most likely means: at most two edits away (one for names of up to three
/// letters), case ignored.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let allowed = if name.chars().count() <= 3 { 1 } else { 2 };
    known
        .iter()
        .map(|candidate| (distance(name, candidate), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits between two names over lower-case characters: Levenshtein's, and a swap of neighbours counts as one.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(MAX_LENGTH).flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().take(MAX_LENGTH).flat_map(char::to_lowercase).collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let substituted = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substituted.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_find_their_name_and_strangers_find_none() {
        let known = ["interval", "image", "secretRef", "GitRepository"];
        assert_eq!(nearest("intervall", &known), Some("interval"));
        assert_eq!(nearest("secretref", &known), Some("secretRef"));
        assert_eq!(nearest("imgae", &known), Some("image"));
        assert_eq!(nearest("OCIRepository", &known), None);
        assert_eq!(nearest("suspend", &known), None);
        assert_eq!(nearest("", &known), None);
    }
}
