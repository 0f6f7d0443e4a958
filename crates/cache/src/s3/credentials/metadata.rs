//! Services that hand out a role's keys to whoever runs beside them: those of containers, and of instances (IMDSv2).
use super::network::{Network, NoAnswer, Reach};
use super::{Credentials, document, read_token};
use crate::s3::error::ProviderError;
use std::path::PathBuf;
use strata_http::{Request, Url, is_loopback};
use strata_registry::{Secret, printable};

/// Where Amazon's container service answers paths.
const CONTAINERS: &str = "http://169.254.170.2";

/// Those that may be asked without TLS besides this machine: Amazon's container service, and its agent for pods.
const LINK_LOCAL: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

/// Where instances ask.
const INSTANCES: [&str; 2] = ["http://169.254.169.254", "http://[fd00:ec2::254]"];

/// What is said to be shown to a container's service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    None,
    Given(Secret),
    /// Which somebody else renews.
    File(PathBuf),
}

/// Where a container asks, from the two variables; a path wins. The error is a sentence.
pub(super) fn container_url(path: Option<&str>, full: Option<&str>) -> Result<Option<String>, String> {
    if let Some(path) = path {
        let slash = if path.starts_with('/') { "" } else { "/" };
        return Ok(Some(format!("{CONTAINERS}{slash}{path}")));
    }
    let Some(full) = full else { return Ok(None) };
    let url = Url::parse(full).map_err(|error| error.to_string())?;
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(host) || LINK_LOCAL.contains(&host) => {}
        _ => return Err("without TLS only this machine and Amazon's own services are asked".to_owned()),
    }
    Ok(Some(url.into()))
}

/// Where an instance asks: as it is told, or by its network's protocol.
pub(super) fn instance_url(endpoint: Option<String>, mode: Option<String>) -> String {
    let ipv6 = mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
    let url = endpoint.unwrap_or_else(|| INSTANCES[usize::from(ipv6)].to_owned());
    url.trim_end_matches('/').to_owned()
}

/// The keys of a container's role.
pub(super) fn container(network: &Network, url: &str, token: &Token) -> Result<Credentials, ProviderError> {
    let token = match token {
        Token::None => None,
        Token::Given(token) => Some(token.clone()),
        Token::File(path) => Some(read_token(path)?),
    };
    let server = strata_http::redact(url);
    let make = || {
        let request = Request::get(url).header("Accept", "application/json");
        match &token {
            Some(token) => request.header("Authorization", token.reveal()),
            None => request,
        }
    };
    let answer = network.ask(Reach::Near, make).map_err(|no| no.from(&server, |_| ""))?;
    document::parse(&answer, &server)
}

/// The keys of an instance's role. Without a session's token, as the first version of the protocol has it, nothing is asked:
/// whoever makes this machine send a GET could have them, too.
pub(super) fn instance(network: &Network, endpoint: &str) -> Result<Credentials, ProviderError> {
    let advice = |no: NoAnswer| {
        no.from(endpoint, |refusal| match refusal.status {
            403 => "; this instance's metadata service is switched off",
            404 => "; no role is attached to this instance",
            _ => "",
        })
    };
    let ask = |request: &dyn Fn() -> Request<'static>| network.ask(Reach::Near, request).map_err(advice);
    let wanted = || {
        Request::put(format!("{endpoint}/latest/api/token"))
            .header("X-aws-ec2-metadata-token-ttl-seconds", "21600")
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    let session = Secret::new(text(ask(&wanted)?));
    let get = |path: &str| {
        let url = format!("{endpoint}/latest/meta-data/iam/security-credentials/{path}");
        ask(&|| Request::get(url.as_str()).header("X-aws-ec2-metadata-token", session.reveal()))
    };
    let roles = text(get("")?);
    let role = roles.lines().next().unwrap_or_default();
    if role.is_empty() || role.contains(['/', '?', '#', '<']) {
        let why = format!("it names no role: {:?}", printable(role, 80));
        return Err(ProviderError::Malformed { from: endpoint.to_owned(), why });
    }
    document::parse(&get(role)?, endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_containers_ask() {
        let url = |path, full| container_url(path, full).map_err(|_| ()).map(Option::unwrap_or_default);
        assert_eq!(url(Some("/v2/x"), Some("http://other")).unwrap(), "http://169.254.170.2/v2/x");
        assert_eq!(url(Some("x"), None).unwrap(), "http://169.254.170.2/x");
        assert_eq!(url(None, None).unwrap(), "");
        for good in [
            "https://keys.example/a",
            "http://127.0.0.1:8080/a",
            "http://localhost:80/a",
            "http://[::1]/a",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
        ] {
            assert!(url(None, Some(good)).is_ok(), "{good}");
        }
        for bad in [
            "http://keys.example/a",
            "http://10.0.0.1/",
            "ftp://localhost/",
            "keys",
            "http://localhost.example/",
        ] {
            assert_eq!(url(None, Some(bad)), Err(()), "{bad}");
        }
    }

    #[test]
    fn where_instances_ask() {
        assert_eq!(instance_url(None, None), "http://169.254.169.254");
        assert_eq!(instance_url(None, Some("IPv6".to_owned())), "http://[fd00:ec2::254]");
        assert_eq!(instance_url(Some("http://localhost:1/".to_owned()), None), "http://localhost:1");
    }
}
