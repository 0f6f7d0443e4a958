//! `STOPSIGNAL`: which words name a signal of Linux.

/// Names without `SIG`, in the order of their numbers on Linux, some with a second name.
const NAMES: [&str; 36] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "POLL", "PWR", "SYS", "RTMIN", "RTMAX",
];

/// Whether a number (1 to 64) or a name, with or without `SIG`, in any case; `RTMIN+n` and `RTMAX-n` included.
pub(super) fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number);
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let realtime = |prefix: &str, most: u8| {
        let offset = name.strip_prefix(prefix).and_then(|rest| rest.parse::<u8>().ok());
        offset.is_some_and(|offset| (1..=most).contains(&offset))
    };
    NAMES.contains(&name) || realtime("RTMIN+", 15) || realtime("RTMAX-", 14)
}

#[cfg(test)]
mod tests {
    use super::is_signal;

    #[test]
    fn names_and_numbers() {
        for known in ["SIGTERM", "term", "9", "64", "SIGRTMIN+3", "RTMAX-14", "sigusr1"] {
            assert!(is_signal(known), "{known}");
        }
        for unknown in ["", "0", "65", "SIGNAL", "RTMIN+16", "RTMIN+", "-9", "SIG"] {
            assert!(!is_signal(unknown), "{unknown}");
        }
    }
}
