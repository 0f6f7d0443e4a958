//! What a server says when it says no.
use std::time::{Duration, SystemTime};
use strata_http::Response;
use strata_registry::printable;
use xmlparser::{ElementEnd, Token, Tokenizer};

/// Error documents have a few hundred bytes.
const DOCUMENT: u64 = 64 << 10;

/// A clock that is this much off is worth correcting: signatures hold for 15 minutes.
const SKEW: Duration = Duration::from_secs(60);

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// S3's word for it; empty where there was no document, as after a HEAD.
    pub(super) code: String,
    message: String,
    /// Where the bucket is, if that is elsewhere.
    pub(super) region: Option<String>,
    /// The server's clock.
    date: Option<SystemTime>,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    /// Reads the document of an answer that is a refusal by its status.
    pub(super) fn read(response: Response) -> Self {
        let mut refusal = Self::head(&response);
        if let Ok(body) = response.into_body().bytes(DOCUMENT) {
            refusal.take(&String::from_utf8_lossy(&body));
        }
        refusal
    }

    /// S3 says 200 before it begins to copy or to put parts together, and says in the body that it failed.
    pub(super) fn in_success(mut self, document: &str) -> Option<Self> {
        self.take(document);
        (root(document) == Some("Error")).then_some(self)
    }

    /// What the headers tell.
    pub(super) fn head(response: &Response) -> Self {
        Self {
            status: response.status(),
            code: String::new(),
            message: String::new(),
            region: response.header("x-amz-bucket-region").map(|region| printable(region, 40)),
            date: response.date(),
            retry_after: response.retry_after(),
        }
    }

    fn take(&mut self, document: &str) {
        // Those who give out credentials beside a container say it in JSON.
        let json: Option<serde_json::Value> = serde_json::from_str(document).ok();
        let field = |name: &str| json.as_ref()?.get(name)?.as_str().map(|text| printable(text, 400));
        if let Some(message) = field("message").or_else(|| field("Message")) {
            self.message = message;
            self.code = field("code").or_else(|| field("Code")).unwrap_or_else(|| "refused".to_owned());
            return;
        }
        let text = |name, limit| element(document, name).map(|text| printable(&text, limit));
        self.code = text("Code", 80).unwrap_or_default();
        self.message = text("Message", 400).unwrap_or_default();
        self.region = text("Region", 40).or(self.region.take());
    }

    /// Whether the same request may well succeed a little later.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self.status, 408 | 429 | 500 | 502 | 503 | 504)
            || matches!(
                self.code.as_str(),
                // The last one comes with 400: the body was too slow.
                "SlowDown" | "InternalError" | "ServiceUnavailable" | "Throttling" | "RequestTimeout"
            )
    }

    /// The credentials have run out.
    pub(super) fn is_about_time(&self) -> bool {
        matches!(self.code.as_str(), "ExpiredToken" | "TokenRefreshRequired")
    }

    /// There is a bucket, and nothing in it under that key; or nobody says whether there is a bucket.
    pub(super) fn is_missing_key(&self) -> bool {
        self.status == 404 && matches!(self.code.as_str(), "NoSuchKey" | "NotFound" | "")
    }

    /// How far the server's clock is ahead of `now`, where that may be why it says no.
    pub(super) fn skew(&self, now: SystemTime) -> Option<i64> {
        let date = self.date.filter(|_| matches!(self.status, 400 | 401 | 403))?;
        let ahead = |duration: Duration| i64::try_from(duration.as_secs()).ok();
        match date.duration_since(now) {
            Ok(ahead_of_us) if ahead_of_us > SKEW => ahead(ahead_of_us),
            Err(behind) if behind.duration() > SKEW => ahead(behind.duration()).map(|seconds| -seconds),
            _ => None,
        }
    }

    /// S3's code and words, and the status.
    pub(super) fn said(&self) -> String {
        let status = self.status;
        match (self.code.as_str(), self.message.as_str()) {
            ("", _) => format!("status {status}"),
            (code, "") => format!("{code} (status {status})"),
            (code, message) => format!("{code}: {} (status {status})", message.trim_end_matches('.')),
        }
    }
}

/// The name of the outermost element.
fn root(document: &str) -> Option<&str> {
    Tokenizer::from(document).map_while(Result::ok).find_map(|token| match token {
        Token::ElementStart { local, .. } => Some(local.as_str()),
        _ => None,
    })
}

/// The text of the first element of this name, in whatever namespace: servers do not agree on one.
pub(super) fn element(document: &str, name: &str) -> Option<String> {
    let mut inside = false;
    let mut found = None;
    for token in Tokenizer::from(document).map_while(Result::ok) {
        match token {
            Token::ElementStart { local, .. } => inside = local.as_str() == name && found.is_none(),
            // The end of a start tag does not end the element.
            Token::ElementEnd { end: ElementEnd::Open, .. } => {}
            Token::ElementEnd { .. } => inside = false,
            Token::Text { text } if inside => found = Some(unescaped(text.as_str())),
            Token::Cdata { text, .. } if inside => found = Some(text.as_str().to_owned()),
            _ => {}
        }
    }
    found
}

fn unescaped(text: &str) -> String {
    let mut plain = text.to_owned();
    // The ampersand comes last, so that what it makes is not read again.
    for (entity, character) in
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&apos;", "'"), ("&amp;", "&")]
    {
        plain = plain.replace(entity, character);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{element, root};

    #[test]
    fn documents_of_different_servers() {
        let amazon = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code><Message>The &lt;key&gt; \
                      &amp;lt; does</Message><Key/><RequestId>4</RequestId></Error>";
        assert_eq!(root(amazon), Some("Error"));
        assert_eq!(element(amazon, "Code").as_deref(), Some("NoSuchKey"));
        assert_eq!(element(amazon, "Message").as_deref(), Some("The <key> &lt; does"));
        assert_eq!(element(amazon, "Key"), None);
        let other = "<s:R xmlns:s='x'><s:UploadId> a<![CDATA[b]]></s:UploadId><UploadId>c</UploadId></s:R>";
        assert_eq!(root(other), Some("R"));
        assert_eq!(element(other, "UploadId").as_deref(), Some("b"));
        assert_eq!(element("<A><ETag>&quot;1&quot;</ETag></A>", "ETag").as_deref(), Some("\"1\""));
        for broken in ["", "<Error><Code>", "{}", "<<<"] {
            assert_eq!(element(broken, "Code"), None, "{broken}");
        }
    }
}
