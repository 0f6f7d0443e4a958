//! Human sizes and durations, digit for digit as Docker prints them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::sync::OnceLock;

/// `946.2MB`: base 1000, four significant digits.
pub(crate) fn size(bytes: u64) -> String {
    size_with_precision(bytes, 4)
}

/// `979MB`: three significant digits, for `images` and `history`.
pub(crate) fn size_short(bytes: u64) -> String {
    size_with_precision(bytes, 3)
}

fn size_with_precision(bytes: u64, digits: usize) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), UNITS[unit])
}

/// Go's `%.Ng` for 0 <= value < 1000 (rounding up to 1000 stays `1000`).
fn significant(value: f64, digits: usize) -> String {
    let whole = if value >= 100.0 {
        3
    } else if value >= 10.0 {
        2
    } else {
        1
    };
    let text = format!("{value:.*}", digits.saturating_sub(whole));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `About a minute`, `3 weeks`: the thresholds of Docker's units package.
pub(crate) fn duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds as f64 / 3600.0).round() as i64;
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// The time that relative times are measured from. `STRATA_NOW` (Unix seconds) freezes it for whole-output tests.
pub(crate) fn now() -> Timestamp {
    std::env::var("STRATA_NOW")
        .ok()
        .and_then(|text| text.parse().ok())
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or_else(Timestamp::now)
}

/// `3 weeks ago`; `N/A` when the time is unknown or not after 1970.
pub(crate) fn ago(time: Option<Timestamp>, now: Timestamp) -> String {
    match time {
        Some(time) if time.as_second() > 0 => format!("{} ago", duration(now.as_second() - time.as_second())),
        _ => "N/A".to_owned(),
    }
}

/// This machine's zone, from its file: asked by name, jiff walks through the whole directory of zones first, which takes
/// longer than listing a hundred images.
fn local_zone() -> TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    let from_file = || {
        let is_named = std::env::var_os("TZ").is_some();
        let file = if is_named { None } else { fs_err::read("/etc/localtime").ok() };
        file.and_then(|bytes| TimeZone::tzif("Local", &bytes).ok()).unwrap_or_else(TimeZone::system)
    };
    ZONE.get_or_init(from_file).clone()
}

/// `2026-11-21 13:15:00 +0000 UTC`, as `--format '{{.CreatedAt}}'` shows it (local zone).
pub(crate) fn go_time(time: Timestamp) -> String {
    time.to_zoned(local_zone()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// RFC 3339 with the local offset and whole seconds, as `history --human=false` shows it.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    let text = time.to_zoned(local_zone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    text.strip_suffix("+00:00").map(|utc| format!("{utc}Z")).unwrap_or(text)
}

/// The first `limit` characters, the last of them `…` when something was cut.
pub(crate) fn ellipsis(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_significant_digits_and_no_trailing_zeros() {
        let cases = [
            (0, "0B"),
            (164, "164B"),
            (1000, "1kB"),
            (11_200_000, "11.2MB"),
            (946_200_000, "946.2MB"),
            (1_008_819_014, "1.009GB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size_short(979_123_000), "979MB");
        assert_eq!(size_short(1_008_819_014), "1.01GB");
    }

    #[test]
    fn durations_follow_dockers_thresholds() {
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3600, "About an hour"),
            (26 * 3600, "26 hours"),
            (48 * 3600, "2 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (730 * 86400, "2 years"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn ellipsis_counts_characters() {
        assert_eq!(ellipsis("abcdef", 6), "abcdef");
        assert_eq!(ellipsis("äbcdefg", 6), "äbcde…");
    }
}
