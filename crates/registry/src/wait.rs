//! Time: when to try again, and who tells what time it is.
use jiff::{SignedDuration, Timestamp};
use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Tells the time and waits. The tests have one that does not take long.
pub trait Clock: Send + Sync {
    /// The time of day.
    fn now(&self) -> SystemTime;
    /// Waits, or returns as soon as the alarm rings.
    fn sleep(&self, duration: Duration, alarm: &Alarm);
}

/// Wakes those who wait when nothing is worth waiting for any more.
#[derive(Debug, Default)]
pub struct Alarm {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Alarm {
    /// Waits so long, but not after the alarm has rung.
    pub fn wait(&self, duration: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        // Whether it rang or the time is over is all the same.
        drop(self.bell.wait_timeout_while(rung, duration, |rung| !*rung));
    }

    /// Whether there is nothing worth waiting for any more.
    pub fn has_rung(&self) -> bool {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes everybody, for good.
    pub fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.notify_all();
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration, alarm: &Alarm) {
        alarm.wait(duration);
    }
}

/// When a registry that counts requests may be asked again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextTry {
    /// The time, if the registry told one.
    pub at: Option<Timestamp>,
    /// How long that is from the answer, rounded up to seconds.
    pub after: Option<Duration>,
    /// How many requests the registry allows within its window, if it told.
    pub limit: Option<u64>,
    /// The length of that window.
    pub window: Option<Duration>,
}

/// What follows the registry's own words.
impl fmt::Display for NextTry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(limit) = self.limit {
            write!(f, "; it allows {limit} requests")?;
            if let Some(window) = self.window {
                write!(f, " in {}", spoken(window))?;
            }
        }
        match (self.at, self.after) {
            (Some(at), Some(after)) => {
                let at = at.strftime("%Y-%m-%d %H:%M:%S UTC");
                write!(f, "; try again in {}, at {at}", spoken(after))
            }
            _ => {
                f.write_str("; try again later, or log in if you have not: registries allow their users more")
            }
        }
    }
}

impl NextTry {
    /// From the headers of a refusal: `Retry-After` (already read), else `RateLimit-Reset` and its like, which count
    /// seconds or name a time; and the limit itself.
    pub(crate) fn of<'a>(
        retry_after: Option<Duration>,
        header: impl Fn(&str) -> Option<&'a str>,
        now: SystemTime,
    ) -> Self {
        let now = Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH);
        let reset = || {
            let names = ["ratelimit-reset", "x-ratelimit-reset", "x-retry-after"];
            let value: u64 = names.iter().find_map(|name| leading_number(header(name)?))?;
            // More than a year of seconds is a time of day.
            if value < 365 * 86_400 {
                return Some(Duration::from_secs(value));
            }
            let seconds = i64::try_from(value).ok()? - now.as_second();
            Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
        };
        let after = retry_after.or_else(reset);
        let at = after.and_then(|after| now.checked_add(SignedDuration::try_from(after).ok()?).ok());
        let limit = ["ratelimit-limit", "x-ratelimit-limit"].iter().find_map(|name| header(name));
        let window =
            limit.and_then(|limit| leading_number(limit.split_once("w=")?.1)).map(Duration::from_secs);
        Self { at, after: at.and(after), limit: limit.and_then(leading_number), window }
    }
}

fn leading_number(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    let unit = |number: u64, name: &str| match number {
        1 => format!("1 {name}"),
        _ => format!("{number} {name}s"),
    };
    match seconds {
        0..=119 => unit(seconds, "second"),
        120..=7199 => unit(seconds.div_ceil(60), "minute"),
        _ => unit(seconds.div_ceil(3600), "hour"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(retry_after: Option<u64>, headers: &'static [(&'static str, &'static str)]) -> NextTry {
        let header = |name: &str| headers.iter().find(|(have, _)| *have == name).map(|(_, value)| *value);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        NextTry::of(retry_after.map(Duration::from_secs), header, now)
    }

    #[test]
    fn when_it_may_work_again() {
        let hub = next(Some(260), &[("ratelimit-limit", "100;w=21600")]).to_string();
        assert_eq!(
            hub,
            "; it allows 100 requests in 6 hours; try again in 5 minutes, at 2027-01-15 08:04:20 UTC"
        );
        let seconds = next(None, &[("ratelimit-reset", "1")]).to_string();
        assert_eq!(seconds, "; try again in 1 second, at 2027-01-15 08:00:01 UTC");
        let epoch = next(None, &[("x-ratelimit-reset", "1800007300")]).to_string();
        assert_eq!(epoch, "; try again in 3 hours, at 2027-01-15 10:01:40 UTC");
        assert!(next(None, &[]).to_string().starts_with("; try again later"));
        assert!(next(None, &[("ratelimit-reset", "soon")]).to_string().starts_with("; try again later"));
    }
}
