//! Who asks.
use super::Error;
use super::profile::{self, Profile};
use super::settings::Environment;
use std::fmt;
use std::path::PathBuf;
use strata_registry::Secret;

/// An access key, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// `AKIA...`
    pub access_key_id: String,
    /// What requests are signed with.
    pub secret_access_key: Secret,
    /// For keys that were given out for a while.
    pub session_token: Option<Secret>,
    /// For messages: `the environment`, `profile "build" of /root/.aws/credentials`.
    pub origin: String,
}

impl Credentials {
    fn new(origin: impl Into<String>, id: String, secret: String, token: Option<String>) -> Self {
        Self {
            access_key_id: id,
            secret_access_key: Secret::new(secret),
            session_token: token.map(Secret::new),
            origin: origin.into(),
        }
    }

    /// From what the user wrote, else the environment, else a profile. Half a pair is an error rather than a reason to look
    /// further: whoever wrote it meant it.
    pub(super) fn find(
        given: [Option<&str>; 3],
        environment: &Environment<'_>,
        files: &Files,
    ) -> Result<Self, Error> {
        let [id, secret, token] =
            given.map(|value| value.filter(|value| !value.is_empty()).map(str::to_owned));
        let names = ["access_key_id", "secret_access_key"];
        if let Some(found) = pair("the cache's own options", names, [id, secret, token])? {
            return Ok(found);
        }
        let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        let values = [names[0], names[1], "AWS_SESSION_TOKEN"].map(|name| environment.get(name));
        if let Some(found) = pair("the environment", names, values)? {
            return Ok(found);
        }
        files.credentials()?.ok_or_else(|| files.nothing(environment))
    }
}

fn pair(
    origin: impl Into<String>,
    names: [&str; 2],
    values: [Option<String>; 3],
) -> Result<Option<Credentials>, Error> {
    let origin = origin.into();
    let half = |have: usize| Error::HalfCredentials {
        origin: origin.clone(),
        have: names[have].to_owned(),
        lack: names[1 - have].to_owned(),
    };
    match values {
        [Some(id), Some(secret), token] => Ok(Some(Credentials::new(origin, id, secret, token))),
        [Some(_), None, _] => Err(half(0)),
        [None, Some(_), _] => Err(half(1)),
        [None, None, _] => Ok(None),
    }
}

/// What the user's files say about the profile in use.
pub(super) struct Files {
    name: String,
    /// Each file that was read, with the profile if it has it: credentials first, then configuration.
    profiles: Vec<(PathBuf, Option<Profile>)>,
}

impl Files {
    /// `~/.aws/credentials` and `~/.aws/config`, or those that `AWS_SHARED_CREDENTIALS_FILE` and `AWS_CONFIG_FILE` name. A
    /// file that is not there says nothing.
    pub(super) fn read(environment: &Environment<'_>) -> Result<Self, Error> {
        let name = environment.get("AWS_PROFILE").or_else(|| environment.get("AWS_DEFAULT_PROFILE"));
        let explicit = name.is_some();
        let name = name.unwrap_or_else(|| "default".to_owned());
        let home = environment.get("HOME").map(PathBuf::from);
        let mut profiles = Vec::new();
        for (variable, default) in
            [("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")]
        {
            let named = environment.get(variable).map(PathBuf::from);
            let own = || home.as_ref().map(|home| home.join(".aws").join(default));
            let Some(path) = named.or_else(own) else { continue };
            match fs_err::read_to_string(&path) {
                Ok(text) => profiles.push((path, profile::find(&text, &name))),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => profiles.push((path, None)),
                Err(source) => return Err(Error::CredentialsFile { source }),
            }
        }
        if explicit && profiles.iter().all(|(_, profile)| profile.is_none()) {
            return Err(Error::NoProfile { name, files: listed(&profiles) });
        }
        Ok(Self { name, profiles })
    }

    /// A key of the profile, from the first file that has it.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let profiles = self.profiles.iter().filter_map(|(_, profile)| profile.as_ref());
        profiles.filter_map(|profile| profile.get(key)).map(String::as_str).find(|value| !value.is_empty())
    }

    fn credentials(&self) -> Result<Option<Credentials>, Error> {
        for (path, profile) in &self.profiles {
            let Some(profile) = profile else { continue };
            let origin = format!("profile {:?} of {}", self.name, path.display());
            let names = ["aws_access_key_id", "aws_secret_access_key"];
            let get = |key: &str| profile.get(key).filter(|value| !value.is_empty()).cloned();
            let values = [get(names[0]), get(names[1]), get("aws_session_token")];
            if let Some(found) = pair(origin, names, values)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Why there are none: a way that only Amazon's own clients know is named, with the way around it.
    fn nothing(&self, environment: &Environment<'_>) -> Error {
        let in_profile = ["credential_process", "sso_session", "sso_start_url", "role_arn"];
        let in_environment = [
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        ];
        let key = in_profile.into_iter().find(|key| self.get(key).is_some());
        let variable = in_environment.into_iter().find(|name| environment.get(name).is_some());
        let foreign = key.map(|key| format!("{key} of profile {:?}", self.name));
        Error::NoCredentials {
            files: listed(&self.profiles),
            foreign: Foreign(foreign.or_else(|| variable.map(str::to_owned))),
        }
    }
}

fn listed(profiles: &[(PathBuf, Option<Profile>)]) -> String {
    let paths: Vec<String> = profiles.iter().map(|(path, _)| path.display().to_string()).collect();
    paths.join(" and ")
}

/// A source of credentials that is configured, and not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign(Option<String>);

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(way) => write!(
                f,
                "; {way} is not supported: run `eval \"$(aws configure export-credentials --format env)\"` before"
            ),
            None => Ok(()),
        }
    }
}
