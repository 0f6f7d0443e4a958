//! Signals by name, as `STOPSIGNAL`, `kill -s` and `stop -s` take them (`spec/executor.md` D).

use std::fmt;
use std::str::FromStr;

use crate::sys::{self, SignalSet};

/// Names in the order of their numbers on Linux (1 to 31), without `SIG`.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// First and last real-time signal as user space counts them: the C library keeps 32 and 33 for itself.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// A signal number between 1 and 64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(i32);

impl Signal {
    /// Hang-up.
    pub const HUP: Self = Self(1);
    /// Interrupt (`ctrl-c`).
    pub const INT: Self = Self(2);
    /// Quit (`ctrl-\`).
    pub const QUIT: Self = Self(3);
    /// Kill: cannot be caught.
    pub const KILL: Self = Self(9);
    /// Polite end: the default stop signal.
    pub const TERM: Self = Self(15);
    /// Child status changed.
    pub const CHLD: Self = Self(17);
    /// The terminal changed its size.
    pub const WINCH: Self = Self(28);

    /// The signal with this number, if it is one (1 to 64).
    pub fn from_number(number: i32) -> Option<Self> {
        (1..=RTMAX).contains(&number).then_some(Self(number))
    }

    /// The number, as the kernel takes it.
    pub fn number(self) -> i32 {
        self.0
    }
}

/// Runs `body` while `signals` wait for this thread, and delivers them afterwards. For installing handlers in steps: until
/// the last one is done, a signal would find half of them and be lost.
///
/// # Errors
/// Fails when the kernel refuses a mask, which it does not.
pub fn deferred<T>(signals: &[Signal], body: impl FnOnce() -> T) -> std::io::Result<T> {
    let wanted = signals.iter().fold(0, |set, signal| set | 1 << (signal.0 - 1));
    let old = sys::set_signal_mask(SignalSet(wanted))?;
    sys::set_signal_mask(SignalSet(old.0 | wanted))?;
    let value = body();
    sys::set_signal_mask(old)?;
    Ok(value)
}

/// Whether this process was started with the signal ignored, as `nohup` starts it.
pub fn is_ignored(signal: Signal) -> bool {
    let Ok(status) = fs_err::read_to_string("/proc/self/status") else { return false };
    let ignored =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|set| set & 1 << (signal.0 - 1) != 0)
}

/// The text names no signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid signal: {0}")]
pub struct InvalidSignal(pub String);

impl FromStr for Signal {
    type Err = InvalidSignal;

    /// Accepts `SIGTERM`, `TERM`, `term`, `15`, `RTMIN+3`, `SIGRTMAX-1`.
    fn from_str(text: &str) -> Result<Self, InvalidSignal> {
        let invalid = || InvalidSignal(text.to_owned());
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().ok().and_then(Self::from_number).ok_or_else(invalid);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(position) = NAMES.iter().position(|known| *known == name) {
            return Ok(Self(position as i32 + 1));
        }
        match name {
            "CLD" => return Ok(Self(17)),
            "POLL" => return Ok(Self(29)),
            "IOT" => return Ok(Self(6)),
            "RTMIN" => return Ok(Self(RTMIN)),
            "RTMAX" => return Ok(Self(RTMAX)),
            _ => {}
        }
        let number = if let Some(offset) = name.strip_prefix("RTMIN+") {
            offset.parse::<i32>().ok().and_then(|n| RTMIN.checked_add(n))
        } else if let Some(offset) = name.strip_prefix("RTMAX-") {
            offset.parse::<i32>().ok().and_then(|n| RTMAX.checked_sub(n))
        } else {
            None
        };
        number.filter(|n| (RTMIN..=RTMAX).contains(n)).map(Self).ok_or_else(invalid)
    }
}

impl fmt::Display for Signal {
    /// `SIGTERM`, `SIGRTMIN+3`; 32 and 33 have no name and print as numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n @ 1..=31 => write!(f, "SIG{}", NAMES[n as usize - 1]),
            RTMIN => f.write_str("SIGRTMIN"),
            n if n > RTMIN => write!(f, "SIGRTMIN+{}", n - RTMIN),
            n => write!(f, "{n}"),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_real_time_offsets() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("TERM", 15),
            ("term", 15),
            ("15", 15),
            ("SIGKILL", 9),
            ("HUP", 1),
            ("SYS", 31),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMIN+30", 64),
            ("RTMAX-1", 63),
            ("CLD", 17),
            ("64", 64),
        ] {
            assert_eq!(text.parse::<Signal>().map(Signal::number), Ok(number), "{text}");
        }
        for text in ["", "0", "65", "-1", "SIG", "NOSUCH", "RTMIN+31", "RTMIN+", "RTMAX-31", "99999999999"] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
        for number in (1..=31).chain(34..=64) {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(signal.to_string().parse::<Signal>(), Ok(signal));
        }
    }
}
