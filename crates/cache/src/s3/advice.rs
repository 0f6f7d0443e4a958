//! What to do about an object store's no.
use super::error::Deed;
use super::refusal::Refusal;
use super::settings::Settings;

impl Refusal {
    /// What to do about it.
    pub(super) fn advice(&self, deed: Deed, settings: &Settings, tries: u32) -> String {
        let origin = &settings.provider;
        if self.is_transient() {
            return format!("; it was tried {tries} times: try again later");
        }
        if let Some(region) = self.region.as_ref().filter(|region| **region != settings.region) {
            return format!("; the bucket is in another region: set region={region}");
        }
        match (self.code.as_str(), self.status) {
            ("NoSuchBucket", _) => {
                "; make the bucket first, or check bucket=, endpoint_url= and use_path_style=".to_owned()
            }
            ("InvalidAccessKeyId", _) => format!("; the server does not know the access key from {origin}"),
            ("SignatureDoesNotMatch", _) => {
                format!("; check the secret access key from {origin}, and region=")
            }
            ("ExpiredToken" | "TokenRefreshRequired" | "InvalidToken", _) => {
                format!("; get new credentials: the session token from {origin} is not valid any more")
            }
            ("RequestTimeTooSkewed", _) => "; set this machine's clock".to_owned(),
            ("PermanentRedirect" | "TemporaryRedirect" | "AuthorizationQueryParametersError", _)
            | ("", 301 | 307) => "; check region= and endpoint_url=".to_owned(),
            ("AccessDenied" | "", 401 | 403) => {
                format!("; the credentials are those from {origin}: they need {}", deed.permission())
            }
            ("", _) => "; is this the address of an S3 server? check endpoint_url=".to_owned(),
            _ => String::new(),
        }
    }
}
