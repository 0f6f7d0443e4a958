//! `--chmod` of COPY and ADD: octal or symbolic (`spec/build.md` 2.4). What a mode does to files is the layer crate's.

/// A text that is neither an octal mode nor a symbolic one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
pub struct ChmodError(pub String);

/// Checks an expanded `--chmod`: up to four octal digits behind any zeros, or clauses as chmod(1) takes them.
pub fn check(text: &str) -> Result<(), ChmodError> {
    let is_mode = if text.starts_with(|c: char| c.is_ascii_digit()) {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        digits && u32::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o7777)
    } else {
        text.split(',').all(is_clause)
    };
    if is_mode { Ok(()) } else { Err(ChmodError(text.to_owned())) }
}

/// `[ugoa]*([-+=][rwxXstugo]*)+`
fn is_clause(clause: &str) -> bool {
    let actions = clause.trim_start_matches(['u', 'g', 'o', 'a']);
    actions.starts_with(['+', '-', '=']) && actions.chars().all(|c| "+-=rwxXstugo".contains(c))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_is_a_mode() {
        for text in [
            "0",
            "755",
            "07777",
            "0000644",
            "u=rwX,go=rX",
            "+x",
            "a+X",
            "go-w",
            "g=u",
            "u+rw-x",
            "=",
            "o=",
            "u=gw",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        for text in
            ["64a", "10000", "8", "", "0o7", "-1", "u", "u+q", "x+r", "u=rw,", ",+x", "99999999999999"]
        {
            let wanted = format!(
                "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
            );
            assert_eq!(check(text).unwrap_err().to_string(), wanted);
        }
    }
}
