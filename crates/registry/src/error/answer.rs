//! What a registry says when it refuses: status, error document and headers, made an [`Error`].
use crate::challenge::{Challenge, choose};
use crate::repository::Target;
use crate::text::printable;
use crate::wait::NextTry;
use crate::{Access, Error, Repository};
use serde_json::Value;
use std::io::Read as _;
use std::time::SystemTime;
use strata_http::Response;
use strata_oci::Digest;

/// Error documents are short; of what is longer, the rest is left unread.
const LONGEST: u64 = 64 << 10;
/// As much of a registry's words as a message shows.
const SHOWN: usize = 500;

/// What a request was about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// The registry as a whole.
    Host(&'a str),
    /// A repository: its tags, an upload to it.
    Repository(&'a Repository, Access),
    /// A manifest.
    Manifest(&'a Repository, &'a Target, Access),
    /// A blob.
    Blob(&'a Repository, &'a Digest, Access),
}

impl<'a> Subject<'a> {
    fn repository(&self) -> Option<(&'a Repository, Access)> {
        match *self {
            Self::Host(_) => None,
            Self::Repository(repository, access)
            | Self::Manifest(repository, _, access)
            | Self::Blob(repository, _, access) => Some((repository, access)),
        }
    }
}

/// The thing's name, at the start of a message.
impl std::fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(host) => f.write_str(host),
            Self::Repository(repository, _) => repository.fmt(f),
            Self::Manifest(repository, target, _) => f.write_str(&target.within(repository)),
            Self::Blob(repository, digest, _) => write!(f, "{repository}@{digest}"),
        }
    }
}

/// A refusal, read.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// The codes of the error document: `MANIFEST_UNKNOWN`.
    codes: Vec<String>,
    /// Its words, or the status in words.
    pub(crate) message: String,
    next: NextTry,
    /// It names a token server. We have been there, or it would not have come to this: our token does not do.
    token: bool,
}

impl Refusal {
    /// Reads what is left of an answer.
    pub(crate) fn read(response: Response, now: SystemTime) -> Self {
        let status = response.status();
        let next = NextTry::of(response.retry_after(), |name| response.header(name), now);
        let token = matches!(choose(&response), Some(Challenge::Bearer(_)));
        let mut body = Vec::new();
        // A body that breaks says no more than none.
        let _ = response.into_body().take(LONGEST).read_to_end(&mut body);
        let (codes, message) = understand(&body);
        let message = message.unwrap_or_else(|| in_words(status));
        Self { status, codes, message, next, token }
    }

    fn says(&self, code: &str) -> bool {
        self.codes.iter().any(|one| one.eq_ignore_ascii_case(code))
    }

    /// Whether it is about how often we ask.
    pub(crate) fn is_too_many(&self) -> bool {
        self.status == 429 || self.says("TOOMANYREQUESTS")
    }

    /// As an error of a request about `subject`, which `host` refused.
    pub(crate) fn about(self, subject: Subject<'_>, host: &str) -> Error {
        let Self { status, message, next, .. } = &self;
        let (status, next) = (*status, *next);
        let (host, message) = (host.to_owned(), message.clone());
        if self.is_too_many() {
            return Error::TooManyRequests { host, message, next };
        }
        match (status, subject.repository()) {
            (401 | 403, Some((repository, access))) if status == 403 || self.token || self.says("DENIED") => {
                Error::Denied { repository: repository.clone(), access, message }
            }
            (401 | 403, _) => {
                // Some say twice what the error says itself.
                let message = message.strip_prefix("unauthorized: ").unwrap_or(&message).to_owned();
                Error::Unauthorized { host, message }
            }
            (404, Some((repository, _))) if self.says("NAME_UNKNOWN") && !self.says("MANIFEST_UNKNOWN") => {
                match subject {
                    // Docker does not tell the two apart either.
                    Subject::Manifest(_, target, Access::Pull) => {
                        Error::ManifestUnknown { reference: target.within(repository) }
                    }
                    _ => Error::NameUnknown { repository: repository.clone(), message },
                }
            }
            (404, Some((repository, access))) => match subject {
                Subject::Manifest(_, target, Access::Pull | Access::Delete) => {
                    Error::ManifestUnknown { reference: target.within(repository) }
                }
                Subject::Blob(_, digest, Access::Pull | Access::Delete) => {
                    Error::BlobUnknown { repository: repository.clone(), digest: *digest }
                }
                _ if access == Access::Pull => Error::NameUnknown { repository: repository.clone(), message },
                _ => Error::Status { subject: subject.to_string(), host, status, message },
            },
            (405, _) => Error::Unsupported { host, operation: "this request", message },
            (400 | 411 | 413 | 416, Some((_, Access::Push))) => {
                Error::Refused { subject: subject.to_string(), message }
            }
            _ if self.says("UNSUPPORTED") => Error::Unsupported { host, operation: "this request", message },
            _ => Error::Status { subject: subject.to_string(), host, status, message },
        }
    }
}

/// Codes and words of the error documents in use: registries' `{"errors": [...]}`, OAuth's `{"error",
/// "error_description"}`, Docker Hub's `{"details"}` and `{"message"}`.
pub(crate) fn understand(body: &[u8]) -> (Vec<String>, Option<String>) {
    let Ok(document) = serde_json::from_slice::<Value>(body) else { return (Vec::new(), None) };
    let text = |value: &Value, name: &str| {
        value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let Some(errors) = document.get("errors").and_then(Value::as_array) else {
        let message = ["error_description", "details", "message", "error"]
            .iter()
            .find_map(|name| text(&document, name))
            .map(|message| printable(&message, SHOWN));
        return (text(&document, "error").into_iter().collect(), message);
    };
    let codes: Vec<String> = errors.iter().filter_map(|error| text(error, "code")).collect();
    let sentence = |error: &Value| {
        let code = text(error, "code").map(|code| code.to_lowercase().replace('_', " "));
        match (code, text(error, "message")) {
            // The specification's word for everything else says nothing.
            (Some(code), Some(message)) if code == "unknown" => Some(message),
            (Some(code), Some(message)) if !message.eq_ignore_ascii_case(&code) => {
                Some(format!("{code}: {message}"))
            }
            (code, message) => message.or(code),
        }
    };
    let sentences: Vec<String> = errors.iter().take(5).filter_map(sentence).collect();
    let message = (!sentences.is_empty()).then(|| printable(&sentences.join("; "), SHOWN));
    (codes, message)
}

fn in_words(status: u16) -> String {
    let words = match status {
        400 => "bad request",
        401 => "authentication required",
        403 => "forbidden",
        404 => "not found",
        405 => "method not allowed",
        413 => "too large for the registry, or for a proxy before it",
        416 => "range not satisfiable",
        429 => "slow down",
        500 => "internal server error",
        502 => "bad gateway",
        503 => "service unavailable",
        504 => "gateway timeout",
        507 => "no space is left there",
        _ => return format!("status {status}"),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        let (codes, message) = understand(body.as_bytes());
        let message = message.unwrap_or_else(|| in_words(status));
        Refusal { status, codes, message, next: NextTry::default(), token: false }
    }

    #[test]
    fn documents_in_use() {
        for (body, want) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#,
                "manifest unknown",
            ),
            (
                r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"},{"code":"X"}]}"#,
                "denied: requested access to the resource is denied; x",
            ),
            (r#"{"errors":[{"code":"UNKNOWN","message":"no space is left"}]}"#, "no space is left"),
            (r#"{"details":"incorrect username or password"}"#, "incorrect username or password"),
            (r#"{"error":"invalid_grant","error_description":"token expired"}"#, "token expired"),
            (r#"{"message":"a\u001b[2Jb"}"#, "a\\u{1b}[2Jb"),
            ("<html>busy</html>", "service unavailable"),
            (r#"{"errors":[]}"#, "service unavailable"),
            (r#"{"errors":"no list"}"#, "service unavailable"),
        ] {
            assert_eq!(refusal(503, body).message, want, "{body}");
        }
        assert!(refusal(503, &format!("{{\"message\":\"{}\"}}", "x".repeat(9999))).message.len() < 600);
    }

    #[test]
    fn refusals_become_dockers_sentences() {
        let repository = Repository::new("docker.io", "library/nosuch");
        let target = Target::Tag("latest".to_owned());
        let pull = Subject::Manifest(&repository, &target, Access::Pull);
        let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        assert_eq!(
            refusal(404, unknown).about(pull, "docker.io").to_string(),
            "failed to resolve reference \"docker.io/library/nosuch:latest\": docker.io/library/nosuch:latest: not found"
        );
        let denied =
            r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
        assert_eq!(
            refusal(401, denied).about(pull, "docker.io").to_string(),
            "pull access denied for docker.io/library/nosuch, repository does not exist or may require `strata login`: denied: requested access to the resource is denied"
        );
        let own = Repository::new("reg.example:5000", "a/b");
        let push = Subject::Repository(&own, Access::Push);
        assert_eq!(
            refusal(401, "").about(push, "reg.example:5000").to_string(),
            "reg.example:5000: unauthorized: authentication required; log in with `strata login reg.example:5000`"
        );
        let twice = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        assert_eq!(
            refusal(401, twice).about(push, "r.example").to_string(),
            "r.example: unauthorized: authentication required; log in with `strata login r.example`"
        );
        assert!(
            refusal(403, "")
                .about(push, "x")
                .to_string()
                .starts_with("push access to reg.example:5000/a/b denied")
        );
        assert!(matches!(refusal(503, "").about(push, "x"), Error::Status { status: 503, .. }));
        let hub =
            r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
        assert!(matches!(refusal(403, hub).about(pull, "x"), Error::TooManyRequests { .. }));
    }
}
