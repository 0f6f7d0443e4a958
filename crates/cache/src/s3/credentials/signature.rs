//! Signature Version 4 of a form that is posted: what the token service wants. (`rusty-s3` signs for object stores alone.)
use super::Credentials;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;
use sha2::{Digest as _, Sha256};
use strata_http::Url;

/// What stands in forms and paths as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// `a=b&c=d`
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let encoded = |text| utf8_percent_encode(text, PLAIN);
    let pairs = fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// What such a request goes by.
pub(super) struct Post<'p> {
    pub(super) url: &'p Url,
    pub(super) body: &'p str,
    pub(super) service: &'p str,
    pub(super) region: &'p str,
    pub(super) now: jiff::Timestamp,
}

pub(super) const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

impl Post<'_> {
    /// The headers that the request must have besides `Content-Type`, which is [`FORM`].
    pub(super) fn headers(&self, credentials: &Credentials) -> Vec<(&'static str, String)> {
        let (time, day) =
            (self.now.strftime("%Y%m%dT%H%M%SZ").to_string(), self.now.strftime("%Y%m%d").to_string());
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let token = credentials.session_token.as_ref().map(strata_registry::Secret::reveal);
        let (named, signed) = self.signed_headers(&time, token);
        let path = self.url.path();
        let request = format!("POST\n{path}\n\n{named}\n{signed}\n{}", hex(&Sha256::digest(self.body)));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
        let secret = format!("AWS4{}", credentials.secret_access_key.reveal());
        let parts = [day.as_str(), self.region, self.service, "aws4_request"];
        let key = parts.iter().fold(secret.into_bytes(), |key, part| mac(&key, part));
        let (id, signature) = (&credentials.access_key_id, hex(&mac(&key, &text)));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}"
        );
        let token = token.map(|token| ("X-Amz-Security-Token", token.to_owned()));
        [("X-Amz-Date", time), ("Authorization", authorization)].into_iter().chain(token).collect()
    }

    /// The headers that take part, a line for each, and their names.
    fn signed_headers(&self, time: &str, token: Option<&str>) -> (String, String) {
        let host = self.url.host_str().unwrap_or_default();
        let host = self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let mut headers = vec![("content-type", FORM), ("host", &host), ("x-amz-date", time)];
        headers.extend(token.map(|token| ("x-amz-security-token", token)));
        let lines = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        (lines, headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";"))
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_keep_what_is_in_them() {
        assert_eq!(form(&[("A", "b c"), ("D", "e/f+g=&~")]), "A=b%20c&D=e%2Ff%2Bg%3D%26~");
    }

    /// The signatures are those that Amazon's botocore makes of the same request.
    #[test]
    fn as_amazon_signs() {
        let url = Url::parse("https://sts.eu-west-1.amazonaws.com/").unwrap();
        let now = jiff::Timestamp::from_second(1_440_938_160).unwrap();
        let body = "Action=GetCallerIdentity&Version=2011-06-15";
        let post = Post { url: &url, body, service: "sts", region: "eu-west-1", now };
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned();
        let mut credentials = Credentials::lasting("AKIDEXAMPLE".to_owned(), secret, None);
        let signature = |credentials: &Credentials| {
            let headers = post.headers(credentials);
            headers[1].1.rsplit_once("Signature=").unwrap().1.to_owned()
        };
        assert_eq!(
            signature(&credentials),
            "d9ce7d87516e54d16bce0dfaec690a00a86d0c6a4505e7fbaf9081d93ffcbc1f"
        );
        credentials.session_token = Some(strata_registry::Secret::new("a/token+="));
        assert_eq!(
            signature(&credentials),
            "51b9d375b72fd0d97eb49bf9442031818fbfb89d0bf30176f61f11aff85c804d"
        );
    }
}
