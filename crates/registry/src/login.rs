//! Whether a registry takes a name and password, and what is kept instead of the password.
use crate::authorize::{TokenRequest, basic_header};
use crate::challenge::Challenge;
use crate::credentials::Credential;
use crate::endpoint::Endpoint;
use crate::scope::Scopes;
use crate::{Error, Registries};
use strata_http::Response;

impl Registries {
    /// Shows a registry these credentials and returns what to keep: the same, or the identity token that its token
    /// server gave out for them.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] when the registry does not take them.
    pub fn check_login(&self, host: &str, credential: &Credential) -> Result<Credential, Error> {
        let endpoint = self.endpoint(host)?;
        let (challenge, response) = endpoint.first_contact()?;
        match challenge {
            // A registry that lets everybody in takes any name.
            None if response.is_success() => Ok(credential.clone()),
            None => Err(endpoint.refused_login(response)),
            Some(Challenge::Basic) => {
                let Credential::Password { username, password } = credential else {
                    return Ok(credential.clone());
                };
                shown(&endpoint, &basic_header(username, password.reveal()))?;
                Ok(credential.clone())
            }
            Some(Challenge::Bearer(bearer)) => {
                let request = TokenRequest {
                    host,
                    bearer: &bearer,
                    scopes: &Scopes::none(),
                    credential: Some(credential),
                    offline: true,
                };
                let granted = endpoint.fetch_token(&request)?;
                shown(&endpoint, &granted.header())?;
                Ok(match granted.refresh {
                    Some(token) => {
                        Credential::Identity { username: credential.username().map(str::to_owned), token }
                    }
                    None => credential.clone(),
                })
            }
        }
    }
}

fn shown(endpoint: &Endpoint, header: &str) -> Result<Response, Error> {
    let response = endpoint.show(header)?;
    if response.is_success() { Ok(response) } else { Err(endpoint.refused_login(response)) }
}
