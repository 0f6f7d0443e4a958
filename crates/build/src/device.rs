//! `RUN --device`: which devices a name means, and which of them a Dockerfile may have (`spec/build.md` section 3).
use std::collections::BTreeSet;
use strata_dockerfile::Device;

/// A device that this machine offers (CDI), as far as choosing needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownDevice {
    /// `vendor.com/class=name`
    pub name: String,
    /// Another name for it and others, given by whoever installed it.
    pub class: Option<String>,
    /// Whoever installed it lets every build have it.
    pub auto_allowed: bool,
}

/// `--allow device[=NAME[,alias=OTHER]]`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceGrant {
    /// Every device.
    All,
    /// This one, this kind, or this class.
    Named(String),
    /// What the Dockerfile calls `alias` is the device `name`.
    Alias {
        /// As the Dockerfile has it.
        alias: String,
        /// What is given for it.
        name: String,
    },
}

/// The sentence says what is wrong with the flag.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeviceError {
    #[error("required device {0:?} is not registered")]
    Missing(String),
    #[error(
        "device {0} is requested by the build but not allowed: give the build `--allow device={0}` if you trust this \
         Dockerfile"
    )]
    NotAllowed(String),
}

/// Full names of what one flag asks for among `known`, which is sorted by name. Empty: it is not there and need not be.
pub(crate) fn choose(
    wanted: &Device,
    known: &[KnownDevice],
    grants: &BTreeSet<DeviceGrant>,
) -> Result<Vec<String>, DeviceError> {
    let alias = grants.iter().find_map(|grant| match grant {
        DeviceGrant::Alias { alias, name } if *alias == wanted.name => Some(name),
        _ => None,
    });
    let found = find(alias.unwrap_or(&wanted.name), known);
    if found.is_empty() && wanted.required {
        return Err(DeviceError::Missing(wanted.name.clone()));
    }
    let may =
        |device: &&&KnownDevice| alias.is_some() || device.auto_allowed || is_granted(device, known, grants);
    match found.iter().find(|device| !may(device)) {
        Some(device) => Err(DeviceError::NotAllowed(device.name.clone())),
        None => Ok(found.iter().map(|device| device.name.clone()).collect()),
    }
}

fn is_granted(device: &KnownDevice, known: &[KnownDevice], grants: &BTreeSet<DeviceGrant>) -> bool {
    grants.iter().any(|grant| match grant {
        DeviceGrant::All => true,
        DeviceGrant::Named(name) => find(name, known).contains(&device),
        DeviceGrant::Alias { .. } => false,
    })
}

/// `vendor/class=name`; `vendor/class` is the first of them, `vendor/class=*` all. What is none of these is a class.
fn find<'k>(name: &str, known: &'k [KnownDevice]) -> Vec<&'k KnownDevice> {
    let (kind, of_kind) = name.split_once('=').unwrap_or((name, ""));
    let mut found: Vec<&KnownDevice> = Vec::new();
    if kind.contains('/') {
        let same_kind =
            |device: &&KnownDevice| device.name.split_once('=').is_some_and(|(known, _)| known == kind);
        found = match of_kind {
            "" => known.iter().find(same_kind).into_iter().collect(),
            "*" => known.iter().filter(same_kind).collect(),
            _ => known.iter().filter(|device| device.name == name).collect(),
        };
    }
    if found.is_empty() {
        found = known.iter().filter(|device| device.class.as_deref() == Some(name)).collect();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<KnownDevice> {
        let device = |name: &str, class: Option<&str>, auto_allowed| KnownDevice {
            name: name.to_owned(),
            class: class.map(str::to_owned),
            auto_allowed,
        };
        vec![
            device("acme.com/card=bar", Some("fast"), false),
            device("acme.com/card=foo", Some("fast"), false),
            device("acme.com/open=x", None, true),
        ]
    }

    fn outcome(flag: &str, grants: &[DeviceGrant]) -> Result<Vec<String>, String> {
        let wanted = Device::parse(flag).expect("valid");
        let grants = grants.iter().cloned().collect();
        choose(&wanted, &known(), &grants).map_err(|error| error.to_string())
    }

    #[test]
    fn names_kinds_wildcards_and_classes() {
        let all = [DeviceGrant::All];
        for (flag, names) in [
            ("acme.com/card=foo", vec!["acme.com/card=foo"]),
            ("name=acme.com/card=foo", vec!["acme.com/card=foo"]),
            ("acme.com/card", vec!["acme.com/card=bar"]),
            ("acme.com/card=*", vec!["acme.com/card=bar", "acme.com/card=foo"]),
            ("fast", vec!["acme.com/card=bar", "acme.com/card=foo"]),
            ("acme.com/none=x", vec![]),
            ("slow", vec![]),
        ] {
            assert_eq!(outcome(flag, &all).expect("found"), names, "{flag}");
        }
    }

    #[test]
    fn what_is_required_must_be_there() {
        let missing = outcome("acme.com/none=x,required", &[DeviceGrant::All]);
        assert_eq!(missing.expect_err("missing"), "required device \"acme.com/none=x\" is not registered");
        assert_eq!(outcome("slow,required=false", &[]), Ok(vec![]));
    }

    #[test]
    fn a_dockerfile_gets_what_the_user_or_the_installer_allows() {
        let named = |name: &str| [DeviceGrant::Named(name.to_owned())];
        let refused = outcome("acme.com/card=foo", &[]).expect_err("not allowed");
        assert!(refused.starts_with("device acme.com/card=foo is requested by the build but not allowed"));
        assert!(outcome("acme.com/open=x", &[]).is_ok());
        assert!(outcome("acme.com/card=foo", &named("acme.com/card=foo")).is_ok());
        assert!(outcome("fast", &named("acme.com/card=*")).is_ok());
        assert!(outcome("acme.com/card=*", &named("fast")).is_ok());
        // The kind alone is its first device.
        assert!(outcome("acme.com/card=foo", &named("acme.com/card")).is_err());
        let alias = DeviceGrant::Alias { alias: "gpu".to_owned(), name: "acme.com/card=foo".to_owned() };
        assert_eq!(outcome("gpu", std::slice::from_ref(&alias)).expect("alias"), ["acme.com/card=foo"]);
        assert!(outcome("acme.com/card=foo", &[alias]).is_err());
    }
}
