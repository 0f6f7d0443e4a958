//! What only the engine knows of a RUN and what yet decides its result (`spec/build.md` 4.1).
use super::BuildRequest;
use strata_build::Input;

/// Limits, and which names `--add-host` made known (where they lead is not asked); the order of the flags is not either.
pub(super) fn of(request: &BuildRequest) -> Vec<Input> {
    let limits = request
        .ulimits
        .iter()
        .map(|(name, soft, hard)| Input { name: format!("ulimit {name}"), value: format!("{soft}:{hard}") });
    let hosts = request.add_hosts.iter();
    let hosts = hosts.map(|(name, _)| Input { name: format!("host {name}"), value: String::new() });
    let mut inputs: Vec<Input> = limits.chain(hosts).collect();
    inputs.sort_by(|a, b| (&a.name, &a.value).cmp(&(&b.name, &b.value)));
    inputs.dedup();
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{BuildOptions, ContextSource};
    use std::collections::BTreeMap;

    fn request(hosts: &[(&str, &str)], limits: &[(&str, u64, u64)]) -> BuildRequest {
        BuildRequest {
            context: ContextSource::Empty,
            dockerfile_path: None,
            contexts: BTreeMap::new(),
            keep_image: true,
            needs_layers: false,
            cache_from: Vec::new(),
            cache_to: Vec::new(),
            pull: false,
            shape: Default::default(),
            tags: Vec::new(),
            options: BuildOptions::default(),
            secrets: Vec::new(),
            surroundings: crate::build::Surroundings::default(),
            add_hosts: hosts
                .iter()
                .map(|(name, address)| ((*name).to_owned(), (*address).to_owned()))
                .collect(),
            device_directories: Vec::new(),
            annotations: BTreeMap::new(),
            annotated: BTreeMap::new(),
            layout_images: Vec::new(),
            shm_size: None,
            limits: Default::default(),
            ulimits: limits.iter().map(|(name, soft, hard)| ((*name).to_owned(), *soft, *hard)).collect(),
        }
    }

    #[test]
    fn the_order_of_flags_and_addresses_do_not_count() {
        let one = of(&request(&[("b", "1.1.1.1"), ("a", "2.2.2.2")], &[("nofile", 1, 2), ("core", 0, 0)]));
        let two = of(&request(&[("a", "3.3.3.3"), ("b", "1.1.1.1")], &[("core", 0, 0), ("nofile", 1, 2)]));
        assert_eq!(one, two);
        let names: Vec<_> = one.iter().map(|input| format!("{}={}", input.name, input.value)).collect();
        assert_eq!(names, ["host a=", "host b=", "ulimit core=0:0", "ulimit nofile=1:2"]);
    }

    #[test]
    fn names_and_limits_count() {
        let plain = of(&request(&[], &[]));
        assert!(plain.is_empty());
        assert_ne!(of(&request(&[("a", "1.1.1.1")], &[])), plain);
        assert_ne!(of(&request(&[], &[("core", 0, 1)])), of(&request(&[], &[("core", 0, 2)])));
    }
}
