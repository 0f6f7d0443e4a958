//! The JSON in which containers' and instances' services and programs hand out credentials.
use super::Credentials;
use crate::s3::error::ProviderError;
use serde::Deserialize;
use std::time::SystemTime;
use strata_registry::{Secret, printable};

/// All spellings have the same names; which are there differs.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    /// Of programs: 1.
    version: Option<u32>,
    /// Of instances: `Success`, or why not.
    code: Option<String>,
    message: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    #[serde(alias = "SessionToken")]
    token: Option<String>,
    expiration: Option<String>,
}

/// Reads it. `from` is who gave it; not even the position of a mistake is told, for the text holds a secret.
pub(super) fn parse(text: &[u8], from: &str) -> Result<Credentials, ProviderError> {
    let malformed = |why: &str| ProviderError::Malformed { from: from.to_owned(), why: why.to_owned() };
    let document: Document = serde_json::from_slice(text)
        .map_err(|_| malformed("what it gives is not the JSON of credentials"))?;
    if let Some(code) = document.code.filter(|code| code != "Success") {
        let message = document.message.map_or_else(String::new, |message| format!(": {message}"));
        let said = printable(&format!("{code}{message}"), 400);
        return Err(ProviderError::Refused { server: from.to_owned(), said });
    }
    if document.version.is_some_and(|version| version != 1) {
        return Err(malformed("what it gives has a Version other than 1"));
    }
    let filled = |value: Option<String>, lack: &str| {
        value.filter(|value| !value.is_empty()).ok_or_else(|| malformed(lack))
    };
    let expires = document.expiration.filter(|text| !text.is_empty()).map(|text| time(&text, from));
    Ok(Credentials {
        access_key_id: filled(document.access_key_id, "what it gives has no AccessKeyId")?,
        secret_access_key: Secret::new(filled(
            document.secret_access_key,
            "what it gives has no SecretAccessKey",
        )?),
        session_token: document.token.filter(|token| !token.is_empty()).map(Secret::new),
        expires: expires.transpose()?,
    })
}

/// A time as RFC 3339 writes it.
pub(super) fn time(text: &str, from: &str) -> Result<SystemTime, ProviderError> {
    text.parse::<jiff::Timestamp>().map(SystemTime::from).map_err(|_| ProviderError::Malformed {
        from: from.to_owned(),
        why: format!("its expiration {:?} is not a time", printable(text, 40)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_the_three_kinds_of_givers_write() {
        let instance = br#"{"Code":"Success","LastUpdated":"x","Type":"AWS-HMAC","AccessKeyId":"A","SecretAccessKey":"hidden",
            "Token":"t","Expiration":"1970-01-01T01:00:00Z"}"#;
        let found = parse(instance, "it").unwrap();
        assert_eq!((found.access_key_id.as_str(), found.secret_access_key.reveal()), ("A", "hidden"));
        assert_eq!(found.session_token.as_ref().unwrap().reveal(), "t");
        assert_eq!(found.expires, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(3600)));
        assert!(!format!("{found:?}").contains("hidden"));
        let program = br#"{"Version":1,"AccessKeyId":"A","SecretAccessKey":"s","SessionToken":"t"}"#;
        let found = parse(program, "it").unwrap();
        assert_eq!((found.session_token.unwrap().reveal(), found.expires), ("t", None));
    }

    #[test]
    fn what_is_none_says_why_and_nothing_secret() {
        for (text, why) in [
            ("{\"SecretAccessKey\": hidden}", "it: what it gives is not the JSON of credentials"),
            ("{\"SecretAccessKey\": \"hidden\"}", "it: what it gives has no AccessKeyId"),
            (
                "{\"AccessKeyId\": \"A\", \"SecretAccessKey\": \"\"}",
                "it: what it gives has no SecretAccessKey",
            ),
            ("{\"Version\": 2, \"AccessKeyId\": \"A\"}", "it: what it gives has a Version other than 1"),
            (
                "{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"Message\":\"no\"}",
                "it says AssumeRoleUnauthorizedAccess: no",
            ),
            (
                "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hidden\",\"Expiration\":\"soon\"}",
                "it: its expiration \"soon\" is not a time",
            ),
        ] {
            assert_eq!(parse(text.as_bytes(), "it").unwrap_err().to_string(), why);
        }
    }
}
