//! How long to wait before the next try. Waiting and trying are the caller's.
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

/// Exponential back-off: the pause doubles with every failure, up to a longest one.
///
/// ```
/// use strata_http::Retry;
/// use std::time::Duration;
///
/// let retry = Retry { tries: 3, first: Duration::from_millis(500), longest: Duration::from_secs(30) };
/// assert_eq!(retry.pause(1, None), Some(Duration::from_millis(500)));
/// // The server asked for four seconds.
/// assert_eq!(retry.pause(2, Some(Duration::from_secs(4))), Some(Duration::from_secs(4)));
/// // The third failure is the last.
/// assert_eq!(retry.pause(3, None), None);
/// ```
///
/// A loop around it:
///
/// ```no_run
/// # use strata_http::{Client, Error, Request, Response, Retry};
/// fn fetch(client: &Client, retry: Retry, url: &str) -> Result<Response, Error> {
///     for failures in 1.. {
///         let outcome = client.send(Request::get(url));
///         let pause = match &outcome {
///             Ok(response) if response.is_transient() => retry.pause(failures, response.retry_after()),
///             Err(error) if error.is_transient() => retry.pause(failures, None),
///             _ => None,
///         };
///         match pause {
///             Some(pause) => std::thread::sleep(pause),
///             None => return outcome,
///         }
///     }
///     unreachable!("pause ends")
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often something is tried in all; 1 is no retry.
    pub tries: u32,
    /// Pause after the first failure.
    pub first: Duration,
    /// No pause is longer.
    pub longest: Duration,
}

impl Default for Retry {
    /// Five tries within about eight seconds.
    fn default() -> Self {
        Self { tries: 5, first: Duration::from_millis(500), longest: Duration::from_secs(30) }
    }
}

impl Retry {
    /// One try.
    pub const NEVER: Self = Self { tries: 1, first: Duration::ZERO, longest: Duration::ZERO };

    /// How long to wait after the given number of failures (from 1); `None`: give up.
    ///
    /// `asked` is what the server wants ([`Response::retry_after`](crate::Response::retry_after)). It is never undercut; a
    /// server that wants more than the longest pause gets no further try, for nobody waits an hour for a build.
    pub fn pause(&self, failures: u32, asked: Option<Duration>) -> Option<Duration> {
        if failures >= self.tries || asked.is_some_and(|asked| asked > self.longest) {
            return None;
        }
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        Some(doubled.min(self.longest).max(asked.unwrap_or_default()))
    }

    /// As [`Retry::pause`], shortened at random by up to a half, but not below what the server asked for: clients that were cut
    /// off together do not come back together.
    pub fn jittered(&self, failures: u32, asked: Option<Duration>) -> Option<Duration> {
        let pause = self.pause(failures, asked)?;
        // Every RandomState hashes differently: randomness enough for this.
        let random = RandomState::new().build_hasher().finish() % 1024;
        let shortened = pause / 2 + (pause / 2).mul_f64(random as f64 / 1024.0);
        Some(shortened.max(asked.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let retry = Retry { tries: 6, first: Duration::from_secs(1), longest: Duration::from_secs(5) };
        let pauses: Vec<_> = (1..=7).map(|n| retry.pause(n, None).map(|pause| pause.as_secs())).collect();
        assert_eq!(pauses, [Some(1), Some(2), Some(4), Some(5), Some(5), None, None]);
        assert_eq!(Retry::NEVER.pause(1, None), None);
    }

    #[test]
    fn the_server_is_not_undercut_and_not_waited_for_too_long() {
        let retry = Retry { tries: 9, first: Duration::from_secs(2), longest: Duration::from_secs(10) };
        assert_eq!(retry.pause(1, Some(Duration::from_secs(7))), Some(Duration::from_secs(7)));
        assert_eq!(retry.pause(1, Some(Duration::from_secs(1))), Some(Duration::from_secs(2)));
        assert_eq!(retry.pause(1, Some(Duration::from_secs(11))), None);
        assert_eq!(retry.pause(u32::MAX - 1, None), None);
    }

    #[test]
    fn pauses_vary_within_their_half() {
        let pause = Duration::from_secs(8);
        let retry = Retry { tries: 2, first: pause, longest: pause };
        let all: Vec<Duration> = (0..64).filter_map(|_| retry.jittered(1, None)).collect();
        assert!(all.iter().all(|one| *one >= pause / 2 && *one <= pause));
        assert!(all.len() == 64 && all.iter().any(|one| *one != all[0]), "they are all the same");
        assert_eq!(retry.jittered(1, Some(pause)), Some(pause));
        assert_eq!(retry.jittered(2, None), None);
    }
}
