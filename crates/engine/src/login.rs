//! `login` and `logout`: what a registry takes is kept where the user's configuration says.

use strata_registry::{Credential, CredentialsError, Error, Keeper, Registries};

/// Docker Hub, as references name it.
const HUB: &str = "docker.io";
/// What Docker calls Docker Hub when it speaks of logins.
const HUB_LOGIN: &str = "https://index.docker.io/v1/";

/// Why a login or logout did not work.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Not the name of a registry.
    #[error("invalid registry {0:?}: give its host, with the port if it has one: registry.example:5000")]
    Server(String),
    /// The registry does not take name and password.
    #[error("login to {server} failed: {message}; check the user name and the password or token")]
    Refused {
        /// The registry.
        server: String,
        /// Its words.
        message: String,
    },
    /// The registry could not be asked.
    #[error("login to {server} failed: {source}")]
    Registry {
        /// The registry.
        server: String,
        /// Why.
        source: Box<Error>,
    },
    /// The login could not be kept, or what is kept could not be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// The registry that an argument of `login` means: its host, out of a URL if that is given. Docker Hub without one.
///
/// # Errors
/// [`LoginError::Server`]
pub fn server(argument: Option<&str>) -> Result<String, LoginError> {
    let Some(argument) = argument.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(HUB.to_owned());
    };
    let rest =
        argument.strip_prefix("https://").or_else(|| argument.strip_prefix("http://")).unwrap_or(argument);
    let host = rest.split('/').next().unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-:[]_".contains(c);
    if host.is_empty() || rest.contains("://") || !host.chars().all(fits) {
        return Err(LoginError::Server(argument.to_owned()));
    }
    Ok(match host {
        "index.docker.io" | "registry-1.docker.io" => HUB.to_owned(),
        other => other.to_owned(),
    })
}

/// The registry's name as Docker's messages have it.
pub fn shown(server: &str) -> &str {
    if server == HUB { HUB_LOGIN } else { server }
}

/// What is kept for a registry.
///
/// # Errors
/// [`LoginError::Credentials`]
pub fn known(registries: &Registries, server: &str) -> Result<Option<Credential>, LoginError> {
    Ok(registries.config().credentials.find_host(server)?)
}

/// Asks the registry whether it takes the credentials, and keeps them, or the token it gives for them.
///
/// # Errors
/// [`LoginError::Refused`], and what keeps an answer away; nothing is kept then.
pub fn login(registries: &Registries, server: &str, credential: &Credential) -> Result<Keeper, LoginError> {
    let kept = registries.check_login(server, credential).map_err(|error| match error {
        Error::Unauthorized { message, .. } | Error::Denied { message, .. } => {
            LoginError::Refused { server: server.to_owned(), message }
        }
        source => LoginError::Registry { server: server.to_owned(), source: Box::new(source) },
    })?;
    Ok(registries.config().credentials.store(server, &kept)?)
}

/// Forgets what is kept for a registry. That nothing was is no error.
///
/// # Errors
/// [`LoginError::Credentials`]
pub fn logout(registries: &Registries, server: &str) -> Result<(), LoginError> {
    registries.config().credentials.erase(server)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_named_in_many_ways() {
        for (argument, want) in [
            (None, "docker.io"),
            (Some(""), "docker.io"),
            (Some("https://index.docker.io/v1/"), "docker.io"),
            (Some("docker.io"), "docker.io"),
            (Some("https://reg.example:5000/v2/"), "reg.example:5000"),
            (Some("reg.example/team/app"), "reg.example"),
            (Some("[::1]:5000"), "[::1]:5000"),
        ] {
            assert_eq!(server(argument).expect("a registry"), want, "{argument:?}");
        }
        for bad in ["https://", "ftp://x", "a b", "user@host", "/x"] {
            assert!(matches!(server(Some(bad)), Err(LoginError::Server(_))), "{bad}");
        }
        assert_eq!((shown("docker.io"), shown("a")), ("https://index.docker.io/v1/", "a"));
    }
}
