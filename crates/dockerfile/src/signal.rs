//! Signal names of STOPSIGNAL.

/// A text that names no signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid signal: {0}")]
pub struct SignalError(pub String);

/// Linux's signals by number, on the architectures Docker runs on.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// Reads a signal's name, with or without `SIG`, in any case, or its number; gives the number.
pub fn parse(text: &str) -> Result<i32, SignalError> {
    let unknown = || SignalError(text.to_owned());
    if let Ok(number) = text.parse::<i32>() {
        return if number == 0 { Err(unknown()) } else { Ok(number) };
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(at + 1).map_err(|_| unknown());
    }
    let offset = |text: &str, sign: char| -> Option<i32> {
        let digits = text.strip_prefix(sign)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let number = match name {
        "IOT" => Some(6),
        "CLD" => Some(17),
        "POLL" => Some(29),
        "UNUSED" => Some(31),
        "RTMIN" => Some(RTMIN),
        "RTMAX" => Some(RTMAX),
        name => match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
            (Some(rest), _) => offset(rest, '+').filter(|n| *n <= 15).map(|n| RTMIN + n),
            (_, Some(rest)) => offset(rest, '-').filter(|n| *n <= 14).map(|n| RTMAX - n),
            _ => None,
        },
    };
    number.ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("SIGKILL", 9),
            ("kill", 9),
            ("15", 15),
            ("SigUsr1", 10),
            ("RTMIN+3", 37),
            ("SIGRTMAX-2", 62),
            ("SYS", 31),
        ] {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
        for text in ["", "SIGFOO", "0", "SIG", "RTMIN+16", "RTMIN-1", "RTMIN+", "9 9"] {
            assert_eq!(parse(text).unwrap_err().to_string(), format!("invalid signal: {text}"));
        }
    }
}
