//! The token service: a role's keys for a while, for whoever shows keys of its own or a token of its cluster.
use super::network::{Network, NoAnswer, Reach};
use super::signature::{FORM, Post, form};
use super::{Credentials, document, read_token};
use crate::s3::error::ProviderError;
use crate::s3::refusal::{Refusal, element};
use jiff::Timestamp;
use std::path::Path;
use std::time::{Duration, SystemTime};
use strata_http::{Request, Url};
use strata_registry::Secret;

/// The protocol's version.
const VERSION: &str = "2011-06-15";

/// A role to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Role {
    /// `arn:aws:iam::123456789012:role/builder`
    pub(super) arn: String,
    /// What the session is called in the account's logs.
    pub(super) session: Option<String>,
    /// What somebody else's account may want to be shown.
    pub(super) external_id: Option<String>,
    /// Seconds.
    pub(super) duration: Option<String>,
}

/// Where the token service is, and where that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) url: Url,
    pub(super) region: String,
}

impl Service {
    /// The fields that both ways of asking have.
    fn fields<'f>(role: &'f Role, action: &'f str, session: &'f str) -> Vec<(&'f str, &'f str)> {
        let mut fields = vec![
            ("Action", action),
            ("Version", VERSION),
            ("RoleArn", role.arn.as_str()),
            ("RoleSessionName", role.session.as_deref().unwrap_or(session)),
        ];
        fields.extend(role.duration.as_deref().map(|seconds| ("DurationSeconds", seconds)));
        fields
    }

    /// By keys of one's own, with which the request is signed.
    pub(super) fn assume(
        &self,
        network: &Network,
        role: &Role,
        source: &Credentials,
    ) -> Result<Credentials, ProviderError> {
        let now = network.now();
        let session = session(now);
        let mut fields = Self::fields(role, "AssumeRole", &session);
        fields.extend(role.external_id.as_deref().map(|id| ("ExternalId", id)));
        let body = form(&fields);
        match self.post(network, &body, Some((source, now))) {
            // A clock that is wrong is corrected by what the server says, once.
            Err(NoAnswer::Refused(refusal)) if refusal.skew(now).is_some() => {
                let seconds = refusal.skew(now).unwrap_or_default();
                let by = Duration::from_secs(seconds.unsigned_abs());
                let theirs = if seconds < 0 { now - by } else { now + by };
                self.read(self.post(network, &body, Some((source, theirs))))
            }
            answer => self.read(answer),
        }
    }

    /// By a token that the cluster wrote into a file, and renews there.
    pub(super) fn assume_with_token(
        &self,
        network: &Network,
        role: &Role,
        token: &Path,
    ) -> Result<Credentials, ProviderError> {
        let token = read_token(token)?;
        let session = session(network.now());
        let mut fields = Self::fields(role, "AssumeRoleWithWebIdentity", &session);
        fields.push(("WebIdentityToken", token.reveal()));
        self.read(self.post(network, &form(&fields), None))
    }

    fn post(
        &self,
        network: &Network,
        body: &str,
        signer: Option<(&Credentials, SystemTime)>,
    ) -> Result<Vec<u8>, NoAnswer> {
        let headers = signer.map(|(credentials, now)| {
            let now = Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH);
            let post = Post { url: &self.url, body, service: "sts", region: &self.region, now };
            post.headers(credentials)
        });
        network.ask(Reach::Far, || {
            let request =
                Request::post(self.url.as_str()).header("Content-Type", FORM).bytes(body.as_bytes());
            headers
                .iter()
                .flatten()
                .fold(request, |request, (name, value)| request.header(name, value.as_str()))
        })
    }

    fn read(&self, answer: Result<Vec<u8>, NoAnswer>) -> Result<Credentials, ProviderError> {
        let server = self.url.origin().ascii_serialization();
        let text = answer.map_err(|no| no.from(&server, advice))?;
        let text = String::from_utf8_lossy(&text);
        let field = |name: &str| {
            element(&text, name).map(|value| value.trim().to_owned()).ok_or_else(|| {
                let why = format!("its answer has no {name}");
                ProviderError::Malformed { from: server.clone(), why }
            })
        };
        Ok(Credentials {
            access_key_id: field("AccessKeyId")?,
            secret_access_key: Secret::new(field("SecretAccessKey")?),
            session_token: Some(Secret::new(field("SessionToken")?)),
            expires: Some(document::time(&field("Expiration")?, &server)?),
        })
    }
}

/// What a session is called that nobody has named.
fn session(now: SystemTime) -> String {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("strata-{seconds}")
}

fn advice(refusal: &Refusal) -> &'static str {
    match refusal.code.as_str() {
        "AccessDenied" => "; does the role's trust policy name who asks?",
        "ExpiredTokenException" => "; whoever writes the token file does not renew it",
        "InvalidClientTokenId" | "SignatureDoesNotMatch" => "; check the keys the role is taken with",
        _ => "",
    }
}
