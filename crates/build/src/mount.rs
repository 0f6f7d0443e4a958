//! Which stage or image a `--mount` takes files from, before its values can be expanded.

/// The value of `from`, which is never expanded, so that the stages a build needs are known early.
pub(crate) fn from_of(text: &str) -> Option<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields.last_mut().expect("starts with one field").push(c),
        }
    }
    let last = fields.iter().rev().find_map(|field| {
        let (key, value) = field.split_once('=')?;
        key.eq_ignore_ascii_case("from").then(|| value.to_owned())
    });
    last.filter(|from| !from.is_empty())
}

#[cfg(test)]
mod tests {
    use super::from_of;

    #[test]
    fn finds_from_among_quoted_fields() {
        assert_eq!(from_of("type=bind,FROM=build,target=/x").as_deref(), Some("build"));
        assert_eq!(from_of("\"source=a,from=no\",target=/x"), None);
        assert_eq!(from_of("from=,target=/x"), None);
        assert_eq!(from_of("target=/from=x"), None);
    }
}
