//! What this user has configured: environment, and files where Docker and podman have them. The clients of registries and
//! object stores, and where devices are described.

use crate::failure::Failure;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use strata_engine::object_store::{Options, Stores};
use strata_engine::registry::{Config, Credentials, HttpOptions, Mirror, Proxies, Registries};

/// Read in this order; what they say adds up. Docker's own file is read because who calls strata `docker` has one.
const SYSTEM_SETTINGS: [&str; 2] = ["/etc/docker/daemon.json", "/etc/strata/config.json"];
/// Where Docker and podman keep registries' certificates.
const SYSTEM_CERTIFICATES: [&str; 2] = ["/etc/docker/certs.d", "/etc/containers/certs.d"];
const HUB: &str = "docker.io";

/// The part of a settings file that is about registries; Docker's keys, and one of our own.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Settings {
    /// Mirrors of Docker Hub.
    registry_mirrors: Vec<String>,
    insecure_registries: Vec<String>,
    /// Where files about devices are (CDI).
    cdi_spec_dirs: Vec<PathBuf>,
    /// Mirrors of any registry.
    mirrors: BTreeMap<String, Vec<String>>,
}

/// A client from the environment. Credentials and certificates are read when they are needed.
pub(crate) fn from_environment() -> Result<Registries, Failure> {
    Ok(Registries::new(config(&variable, &SYSTEM_SETTINGS.map(PathBuf::from))?))
}

/// How object stores are reached: by `AWS_...`, files in the home directory, and the proxies of everything else.
pub(crate) fn object_stores() -> Stores {
    let http = HttpOptions { proxies: Proxies::from_variables(variable), ..HttpOptions::default() };
    let named =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let own = |(name, _): &(String, String)| name.starts_with("AWS_") || name == "HOME";
    let variables = std::env::vars_os().filter_map(named).filter(own).collect();
    Stores { variables, options: Options { http, ..Options::default() } }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn config(variable: &dyn Fn(&str) -> Option<String>, system: &[PathBuf]) -> Result<Config, Failure> {
    let mut config = Config {
        credentials: Credentials::from_files(credential_files(variable)),
        certificates: SYSTEM_CERTIFICATES.iter().map(PathBuf::from).collect(),
        http: HttpOptions { proxies: Proxies::from_variables(variable), ..HttpOptions::default() },
        ..Config::default()
    };
    if let Some(home) = config_home(variable) {
        config.certificates.extend(["docker", "containers"].map(|who| home.join(who).join("certs.d")));
    }
    for file in setting_files(variable, system) {
        let Settings { registry_mirrors, insecure_registries, mirrors, .. } = read(&file)?;
        let of = |of: &str, urls: Vec<String>| -> Vec<Mirror> {
            urls.into_iter().map(|url| Mirror { of: of.to_owned(), url }).collect()
        };
        config.mirrors.extend(of(HUB, registry_mirrors));
        config.mirrors.extend(mirrors.into_iter().flat_map(|(registry, urls)| of(&registry, urls)));
        let host = |entry: String| match entry.split_once("://") {
            Some((_, host)) => host.trim_end_matches('/').to_owned(),
            None => entry,
        };
        config.insecure.extend(insecure_registries.into_iter().map(host));
    }
    Ok(config)
}

/// `STRATA_CONFIG` alone if it is set; else those of the system, and the user's own.
fn setting_files(variable: &dyn Fn(&str) -> Option<String>, system: &[PathBuf]) -> Vec<PathBuf> {
    match variable("STRATA_CONFIG") {
        Some(file) => vec![PathBuf::from(file)],
        None => {
            let own = config_home(variable).map(|home| home.join("strata/config.json"));
            system.iter().cloned().chain(own).collect()
        }
    }
}

/// Where the files about devices are: what the settings say last, or the usual places.
pub(crate) fn device_directories() -> Result<Vec<PathBuf>, Failure> {
    let mut directories = strata_engine::cdi::DIRECTORIES.map(PathBuf::from).to_vec();
    for file in setting_files(&variable, &SYSTEM_SETTINGS.map(PathBuf::from)) {
        let given = read(&file)?.cdi_spec_dirs;
        if !given.is_empty() {
            directories = given;
        }
    }
    Ok(directories)
}

/// `REGISTRY_AUTH_FILE` alone if it is set; else Docker's file, and podman's for reading.
fn credential_files(variable: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    if let Some(file) = variable("REGISTRY_AUTH_FILE") {
        return vec![file.into()];
    }
    let docker = variable("DOCKER_CONFIG").map(PathBuf::from);
    let docker = docker.or_else(|| variable("HOME").map(|home| Path::new(&home).join(".docker")));
    let runtime = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
    let podman = [runtime, config_home(variable)];
    let podman = podman.into_iter().flatten().map(|directory| directory.join("containers/auth.json"));
    docker.into_iter().map(|directory| directory.join("config.json")).chain(podman).collect()
}

fn config_home(variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let given = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    given.or_else(|| variable("HOME").map(|home| Path::new(&home).join(".config")))
}

fn read(file: &Path) -> Result<Settings, Failure> {
    let text = match fs_err::read_to_string(file) {
        Ok(text) if text.trim().is_empty() => return Ok(Settings::default()),
        Ok(text) => text,
        // What an ordinary user may not read is not meant for them.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            return Ok(Settings::default());
        }
        Err(error) => return Err(error.into()),
    };
    serde_json::from_str(&text).map_err(|error| Failure::new(format!("{}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)], system: &[PathBuf]) -> Result<Config, Failure> {
        let find = |name: &str| {
            variables.iter().find(|(have, _)| *have == name).map(|(_, value)| (*value).to_owned())
        };
        config(&find, system)
    }

    #[test]
    fn settings_of_all_files_add_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let (first, second) = (directory.path().join("daemon.json"), directory.path().join("config.json"));
        let docker = r#"{"log-level":"warn","registry-mirrors":["https://a"],"insecure-registries":["http://x:5000/"]}"#;
        fs_err::write(&first, docker).expect("written");
        let own = r#"{"mirrors":{"quay.io":["https://b/quay"],"docker.io":["c"]},"insecure-registries":["10.0.0.0/8"]}"#;
        fs_err::write(&second, own).expect("written");
        let config = with(&[], &[first.clone(), second.clone()]).expect("settings");
        let mirrors: Vec<String> =
            config.mirrors.iter().map(|one| format!("{} {}", one.of, one.url)).collect();
        assert_eq!(mirrors, ["docker.io https://a", "docker.io c", "quay.io https://b/quay"]);
        assert_eq!(config.insecure, ["x:5000", "10.0.0.0/8"]);
        let alone = second.to_str().expect("UTF-8");
        assert_eq!(with(&[("STRATA_CONFIG", alone)], &[first]).expect("settings").insecure, ["10.0.0.0/8"]);

        fs_err::write(&second, "{\"mirrors\": 1}").expect("written");
        let error = with(&[], std::slice::from_ref(&second)).expect_err("not settings").to_string();
        assert!(error.contains(&format!("{}: ", second.display())) && error.contains("line 1"), "{error}");
    }

    #[test]
    fn credentials_lie_where_docker_and_podman_keep_them() {
        let files = |variables: &[(&str, &str)]| {
            let find = |name: &str| {
                variables.iter().find(|(have, _)| *have == name).map(|(_, value)| (*value).to_owned())
            };
            let files = credential_files(&find);
            files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            files(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r")]),
            ["/h/.docker/config.json", "/r/containers/auth.json", "/h/.config/containers/auth.json"]
        );
        assert_eq!(files(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d")])[0], "/d/config.json");
        assert_eq!(files(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/a.json")]), ["/a.json"]);
        assert!(files(&[]).is_empty());
    }
}
