//! Text from outside, made fit for a message.

/// At most `limit` characters of `text`, with control characters (a terminal would obey them) escaped.
pub fn printable(text: &str, limit: usize) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    for c in characters.by_ref().take(limit) {
        let direction =
            matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || direction { out.extend(c.escape_default()) } else { out.push(c) }
    }
    if characters.next().is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn terminals_are_not_commanded() {
        assert_eq!(printable("plain tëxt", 20), "plain tëxt");
        assert_eq!(printable("a\x1b[31mb\r\n\u{202e}c", 50), "a\\u{1b}[31mb\\r\\n\\u{202e}c");
        assert_eq!(printable("12345678", 4), "1234…");
    }
}
