//! Which way leads to credentials: decided from options, environment and files, in the order of Amazon's kits.
use super::Credentials;
use super::metadata::{Token, container_url, instance_url};
use super::profile::{Files, Profile};
use super::provider::{Provider, Way};
use super::sts::{Role, Service};
use crate::s3::environment::Environment;
use crate::s3::error::Error;
use std::path::PathBuf;
use strata_http::Url;
use strata_registry::Secret;

/// What the decision is made from.
struct Search<'s> {
    environment: &'s Environment<'s>,
    files: &'s Files,
    region: &'s str,
    /// What had nothing, in order.
    tried: Vec<String>,
}

impl Provider {
    /// Options, the environment's keys, the environment's web identity, the profile in use, the container's service, the
    /// instance's. Half of something is an error rather than a reason to look further: whoever wrote it meant it. Nothing is
    /// asked of anybody.
    ///
    /// # Errors
    /// What is half there, contradicts itself, or is not supported; and that there is nothing at all.
    pub(in crate::s3) fn find(
        given: [Option<&str>; 3],
        environment: &Environment<'_>,
        files: &Files,
        region: &str,
    ) -> Result<Self, Error> {
        let mut search = Search { environment, files, region, tried: Vec::new() };
        let given = given.map(|value| value.filter(|value| !value.is_empty()).map(str::to_owned));
        let names = ["access_key_id", "secret_access_key"];
        if let Some(found) = pair("the cache's own options", names, given)? {
            return Ok(found);
        }
        search.missed("access_key_id= and secret_access_key=");
        if let Some(found) = search.environment_keys()? {
            return Ok(found);
        }
        search.missed("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
        if let Some(found) = search.web_identity()? {
            return Ok(found);
        }
        search.missed("AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN");
        if let Some(found) = search.profile(files.name(), &mut Vec::new())? {
            return Ok(found);
        }
        search.missed(&format!("profile {:?} of {}", files.name(), files.paths()));
        search.surroundings()
    }
}

impl Search<'_> {
    fn missed(&mut self, what: &str) {
        self.tried.push(what.to_owned());
    }

    fn environment_keys(&self) -> Result<Option<Provider>, Error> {
        let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        let values = [names[0], names[1], "AWS_SESSION_TOKEN"].map(|name| self.environment.get(name));
        pair("the environment", names, values)
    }

    /// As Kubernetes' service accounts are joined with roles.
    fn web_identity(&self) -> Result<Option<Provider>, Error> {
        let names = ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"];
        let Some(token) = self.environment.get(names[0]).map(PathBuf::from) else { return Ok(None) };
        let arn = self.environment.get(names[1]).ok_or_else(|| half("the environment", names))?;
        let session = self.environment.get("AWS_ROLE_SESSION_NAME");
        let origin = format!("role {arn} by the token in {}", token.display());
        let role = Role { arn, session, external_id: None, duration: None };
        Ok(Some(Provider::new(origin, Way::WebIdentity { service: self.service(None)?, role, token })))
    }

    /// What a profile says; `None` where it says nothing of credentials. `above` are the profiles that lead to it.
    fn profile(&mut self, name: &str, above: &mut Vec<String>) -> Result<Option<Provider>, Error> {
        let profile = self.files.profile(name);
        let origin = format!("profile {name:?} of {}", self.files.paths());
        let found = match (
            self.foundation(name, &origin, &profile, above)?,
            profile.get("web_identity_token_file"),
        ) {
            (None, Some(token)) => return self.profile_token(&origin, &profile, token.into()).map(Some),
            (None, None) => program(name, &origin, &profile)?,
            (found, _) => found,
        };
        match (profile.get("role_arn"), found) {
            (None, found) => Ok(found),
            (Some(arn), Some(found)) => self.role(arn, name, &origin, &profile, found).map(Some),
            (Some(_), None) => {
                let lack = "source_profile, credential_source or web_identity_token_file";
                Err(half(&origin, ["role_arn", lack]))
            }
        }
    }

    /// What a profile's role is taken with, or the profile's own keys.
    fn foundation(
        &mut self,
        name: &str,
        origin: &str,
        profile: &Profile,
        above: &mut Vec<String>,
    ) -> Result<Option<Provider>, Error> {
        match (profile.get("source_profile"), profile.get("credential_source")) {
            (Some(_), Some(_)) => Err(half_of(
                origin,
                "source_profile and credential_source are set, and only one",
                "can be meant",
            )),
            (Some(source), None) => self.source_profile(name, source, above).map(Some),
            (None, kind) => match (self.profile_keys(name, profile)?, kind) {
                (None, Some(kind)) => self.source(origin, kind).map(Some),
                (keys, _) => Ok(keys),
            },
        }
    }

    fn role(
        &self,
        arn: &str,
        name: &str,
        origin: &str,
        profile: &Profile,
        source: Provider,
    ) -> Result<Provider, Error> {
        let get = |key: &str| profile.get(key).map(str::to_owned);
        if get("mfa_serial").is_some() {
            return Err(Error::Unsupported { what: format!("mfa_serial of profile {name:?}") });
        }
        let role = Role {
            arn: arn.to_owned(),
            session: get("role_session_name"),
            external_id: get("external_id"),
            duration: get("duration_seconds"),
        };
        let way = Way::Role { service: self.service(Some(profile))?, role, source: Box::new(source) };
        Ok(Provider::new(format!("role {arn} of {origin}"), way))
    }

    /// Keys that stand in the profile itself: both in the same file.
    fn profile_keys(&self, name: &str, profile: &Profile) -> Result<Option<Provider>, Error> {
        for (path, section) in profile.sections() {
            let get = |key: &str| section.get(key).filter(|value| !value.is_empty()).cloned();
            let names = ["aws_access_key_id", "aws_secret_access_key"];
            let origin = format!("profile {name:?} of {}", path.display());
            if let Some(found) =
                pair(origin, names, [get(names[0]), get(names[1]), get("aws_session_token")])?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The profile that a role's profile stands on. One that names itself means its own keys.
    fn source_profile(
        &mut self,
        name: &str,
        source: &str,
        above: &mut Vec<String>,
    ) -> Result<Provider, Error> {
        let origin = format!("profile {name:?} of {}", self.files.paths());
        let nothing = || {
            half_of(&origin, &format!("source_profile is {source:?}, and that profile"), "has no credentials")
        };
        if source == name {
            return self.profile_keys(name, &self.files.profile(name))?.ok_or_else(nothing);
        }
        above.push(name.to_owned());
        if above.iter().any(|one| one == source) {
            let names: Vec<String> = above.iter().map(|name| format!("{name:?}")).collect();
            let circle = format!("source_profile leads from {} back to {source:?}:", names.join(" to "));
            return Err(half_of(&origin, &circle, "one of them must have keys"));
        }
        self.profile(source, above)?.ok_or_else(nothing)
    }

    /// `credential_source`
    fn source(&mut self, origin: &str, kind: &str) -> Result<Provider, Error> {
        let found = match kind {
            "Environment" => self.environment_keys()?,
            "EcsContainer" => self.container()?,
            "Ec2InstanceMetadata" => Some(self.instance(None)),
            _ => {
                return Err(half_of(
                    origin,
                    &format!("credential_source is {kind:?}:"),
                    "it can be Environment, EcsContainer or Ec2InstanceMetadata",
                ));
            }
        };
        found.ok_or_else(|| {
            half_of(
                origin,
                &format!("credential_source is {kind}, and"),
                "there is nothing of it in the environment",
            )
        })
    }

    fn profile_token(&self, origin: &str, profile: &Profile, token: PathBuf) -> Result<Provider, Error> {
        let arn =
            profile.get("role_arn").ok_or_else(|| half(origin, ["web_identity_token_file", "role_arn"]))?;
        let session = profile.get("role_session_name").map(str::to_owned);
        let role = Role { arn: arn.to_owned(), session, external_id: None, duration: None };
        let origin = format!("role {arn} of {origin}");
        Ok(Provider::new(origin, Way::WebIdentity { service: self.service(Some(profile))?, role, token }))
    }

    /// What is there without anybody's having said so.
    fn surroundings(mut self) -> Result<Provider, Error> {
        if let Some(found) = self.container()? {
            return Ok(found);
        }
        self.missed("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and AWS_CONTAINER_CREDENTIALS_FULL_URI");
        let disabled = self.environment.get("AWS_EC2_METADATA_DISABLED");
        let tried = self.tried.join("; ");
        if disabled.is_some_and(|disabled| disabled.eq_ignore_ascii_case("true")) {
            let tried = format!("{tried}; not the instance's metadata service (AWS_EC2_METADATA_DISABLED)");
            return Err(Error::NoCredentials { tried });
        }
        Ok(self.instance(Some(tried)))
    }

    fn container(&self) -> Result<Option<Provider>, Error> {
        let names = ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
        let [path, full] = names.map(|name| self.environment.get(name));
        let url = container_url(path.as_deref(), full.as_deref()).map_err(|why| Error::Variable {
            name: names[1],
            value: strata_http::redact(full.as_deref().unwrap_or_default()),
            why,
        })?;
        let Some(url) = url else { return Ok(None) };
        let file = self.environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(PathBuf::from);
        let given = self.environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Secret::new);
        let token = file.map(Token::File).or(given.map(Token::Given)).unwrap_or(Token::None);
        let origin = format!("the container's credentials at {}", strata_http::redact(&url));
        Ok(Some(Provider::new(origin, Way::Container { url, token })))
    }

    fn instance(&self, before: Option<String>) -> Provider {
        let names = ["AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"];
        let [endpoint, mode] = names.map(|name| self.environment.get(name));
        let endpoint = instance_url(endpoint, mode);
        Provider::new(format!("the instance's role at {endpoint}"), Way::Instance { endpoint, before })
    }

    /// The token service: where it is said to be, else that of the region.
    fn service(&self, profile: Option<&Profile>) -> Result<Service, Error> {
        let (name, region) = ("AWS_ENDPOINT_URL_STS", self.region.to_owned());
        let ignored = self.environment.ignores_endpoints();
        let written = || Some(profile.filter(|_| !ignored)?.get("endpoint_url")?.to_owned());
        let given = self.environment.endpoint("STS").or_else(written);
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        let text = given.unwrap_or_else(|| format!("https://sts.{region}.amazonaws.com{suffix}"));
        match Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Service { url, region }),
            _ => {
                let why = "it looks like https://sts.example.com".to_owned();
                Err(Error::Variable { name, value: strata_http::redact(&text), why })
            }
        }
    }
}

/// What a profile has that stands on nothing else: a program. What only Amazon's own tools can is refused.
fn program(name: &str, origin: &str, profile: &Profile) -> Result<Option<Provider>, Error> {
    let foreign = ["sso_session", "sso_start_url", "login_session"];
    if let Some(key) = foreign.into_iter().find(|key| profile.get(key).is_some()) {
        return Err(Error::Unsupported { what: format!("{key} of profile {name:?}") });
    }
    let command = profile.get("credential_process");
    Ok(command.map(|command| {
        Provider::new(format!("credential_process of {origin}"), Way::Process(command.to_owned()))
    }))
}

fn pair(
    origin: impl Into<String>,
    names: [&str; 2],
    values: [Option<String>; 3],
) -> Result<Option<Provider>, Error> {
    let origin = origin.into();
    match values {
        [Some(id), Some(secret), token] => {
            Ok(Some(Provider::new(origin, Way::Known(Credentials::lasting(id, secret, token)))))
        }
        [Some(_), None, _] => Err(half(&origin, names)),
        [None, Some(_), _] => Err(half(&origin, [names[1], names[0]])),
        [None, None, _] => Ok(None),
    }
}

/// The first is there, and the second not.
fn half(origin: &str, names: [&str; 2]) -> Error {
    half_of(origin, &format!("{} is set, but {}", names[0], names[1]), "is not")
}

fn half_of(origin: &str, what: &str, why: &str) -> Error {
    Error::HalfCredentials { origin: origin.to_owned(), why: format!("{what} {why}") }
}
