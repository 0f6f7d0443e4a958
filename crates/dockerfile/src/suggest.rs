//! "did you mean": the nearest of some names.

/// The option nearest to `value`, at most two edits away; `None` if there is none or if one is equal.
///
/// Without `case_sensitive` the answer is written in the case of `value`.
pub fn nearest<'a>(
    value: &str,
    options: impl IntoIterator<Item = &'a str>,
    case_sensitive: bool,
) -> Option<String> {
    let fold = |s: &str| if case_sensitive { s.to_owned() } else { s.to_lowercase() };
    let wanted = fold(value);
    let mut best: Option<(usize, String)> = None;
    for option in options {
        let option = fold(option);
        if option == wanted {
            return None;
        }
        let distance = distance(&wanted, &option);
        if distance <= 2 && best.as_ref().is_none_or(|(least, _)| distance < *least) {
            best = Some((distance, option));
        }
    }
    let (_, option) = best?;
    Some(if case_sensitive || value == value.to_lowercase() {
        option
    } else if value == value.to_uppercase() {
        option.to_uppercase()
    } else {
        option
    })
}

/// ` (did you mean X?)`, or nothing.
pub(crate) fn suffix<'a>(value: &str, options: impl IntoIterator<Item = &'a str>, case: bool) -> String {
    nearest(value, options, case).map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
}

/// Levenshtein's distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
