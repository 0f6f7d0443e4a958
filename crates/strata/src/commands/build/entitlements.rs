//! `--allow`: what the user lets a Dockerfile have beyond the sandbox.

use super::request::bad;
use crate::failure::Failure;
use std::collections::BTreeSet;
use strata_engine::build::{DeviceGrant, Entitlement};

/// `network.host`, `security.insecure`, several separated by commas, or `device[=NAME[,alias=OTHER]]`. Who builds with the
/// host's network has allowed it.
pub(super) fn entitlements(
    given: &[String],
    network: &str,
) -> Result<(BTreeSet<Entitlement>, BTreeSet<DeviceGrant>), Failure> {
    let (mut allowed, mut devices) = (BTreeSet::new(), BTreeSet::new());
    for text in given {
        if let Some(name) = text.strip_prefix("device=") {
            devices.insert(device(name)?);
            continue;
        }
        for one in text.split(',') {
            match one {
                "device" => drop(devices.insert(DeviceGrant::All)),
                one => drop(allowed.insert(one.parse().map_err(Failure::flag)?)),
            }
        }
    }
    if network == "host" {
        allowed.insert(Entitlement::NetworkHost);
    }
    Ok((allowed, devices))
}

fn device(text: &str) -> Result<DeviceGrant, Failure> {
    let (name, options) = text.split_once(',').unwrap_or((text, ""));
    if name.is_empty() {
        return Ok(DeviceGrant::All);
    }
    let mut grant = DeviceGrant::Named(name.to_owned());
    for option in options.split(',').filter(|option| !option.is_empty()) {
        grant = match option.split_once('=') {
            Some(("alias", alias)) => DeviceGrant::Alias { alias: alias.to_owned(), name: name.to_owned() },
            Some((key, _)) => return Err(bad(format!("unknown device config key {key:?}: use alias"))),
            None => return Err(bad(format!("invalid device config {option:?}: use alias=NAME"))),
        };
    }
    Ok(grant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_allowed() {
        let given = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            entitlements(&texts, "default").map_err(|failure| failure.to_string())
        };
        let (allowed, devices) = given(&["network.host,security.insecure", "device"]).expect("valid");
        assert_eq!(allowed.len(), 2);
        assert_eq!(devices, [DeviceGrant::All].into());
        let (_, devices) = given(&["device=a.b/c=d", "device=a.b/c=e,alias=gpu"]).expect("valid");
        let alias = DeviceGrant::Alias { alias: "gpu".to_owned(), name: "a.b/c=e".to_owned() };
        assert_eq!(devices, [DeviceGrant::Named("a.b/c=d".to_owned()), alias].into());
        assert!(given(&["device=a.b/c,alia=x"]).expect_err("refused").contains("unknown device config key"));
        assert!(given(&["devices"]).expect_err("refused").contains("unknown entitlement \"devices\""));
        assert_eq!(entitlements(&[], "host").expect("valid").0, [Entitlement::NetworkHost].into());
    }
}
