//! Networks of containers and build steps: one bridge per store, and the files that name resolution reads.
use crate::{Engine, EngineError};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use strata_oci::Digest;
use strata_runtime::net::{
    Bridge, BridgeConfig, Endpoint, EndpointConfig, Namespace, ResolvConf, hosts_file,
};

/// The default store's bridge.
const DEFAULT_BRIDGE: &str = "strata0";
/// The default store, whose bridge has the plain name.
const DEFAULT_ROOT: &str = "/var/lib/strata";

/// A network namespace on the store's bridge. The namespace goes when the last of its holders does.
pub(crate) struct Attached {
    pub(crate) bridge: Bridge,
    pub(crate) namespace: Namespace,
    pub(crate) endpoint: Endpoint,
}

impl Engine {
    /// The store's bridge: its name, and where its record is. Stores must not share one: each gives out addresses.
    pub(crate) fn bridge_config(&self) -> BridgeConfig {
        let root = self.store().root();
        let name = if root == Path::new(DEFAULT_ROOT) {
            DEFAULT_BRIDGE.to_owned()
        } else {
            let hex = Digest::of(root.as_os_str().as_encoded_bytes()).hex();
            format!("st-{}", &hex[..10])
        };
        BridgeConfig { name, state: self.store().run_dir().join("network") }
    }

    /// A new namespace with an address on the bridge, which is made if it is missing.
    pub(crate) fn attach_to_bridge(&self) -> Result<Attached, EngineError> {
        let bridge = Bridge::ensure(&self.bridge_config()).map_err(EngineError::runtime)?;
        let namespace = Namespace::create().map_err(EngineError::runtime)?;
        let endpoint = Endpoint::attach(&bridge, &namespace, None, &EndpointConfig::default())
            .map_err(EngineError::runtime)?;
        Ok(Attached { bridge, namespace, endpoint })
    }
}

/// `host-gateway` stands for the host's address on the bridge.
pub(crate) fn extra_hosts(
    hosts: &[(String, String)],
    gateway: Option<Ipv4Addr>,
) -> Result<Vec<(String, IpAddr)>, EngineError> {
    let mut extra = Vec::new();
    for (name, address) in hosts {
        let address = match address.as_str() {
            "host-gateway" => IpAddr::V4(gateway.unwrap_or(Ipv4Addr::LOCALHOST)),
            text => text
                .parse()
                .map_err(|_| EngineError::Invalid(format!("invalid IP address in add-host: {text:?}")))?,
        };
        extra.push((name.clone(), address));
    }
    Ok(extra)
}

/// `/etc/hosts` and `/etc/resolv.conf` for a namespace of its own, or for the host's.
#[derive(PartialEq, Eq)]
pub(crate) struct NameFiles {
    pub(crate) hosts: String,
    pub(crate) resolv_conf: String,
}

impl NameFiles {
    /// `own`: the address and names of the container, where it has an address. `filtered`: the host's loopback name
    /// servers cannot be reached.
    pub(crate) fn new(
        own: Option<(IpAddr, &[&str])>,
        extra: &[(String, IpAddr)],
        dns: &[IpAddr],
        filtered: bool,
    ) -> Self {
        let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
        let mut conf = ResolvConf::parse(&read("/etc/resolv.conf"));
        if filtered {
            if conf.is_resolved_stub() {
                conf = ResolvConf::parse(&read("/run/systemd/resolve/resolv.conf"));
            }
            conf = conf.for_bridge();
        }
        let conf = conf.overridden(dns, &[], &[]);
        Self { hosts: hosts_file(own, extra), resolv_conf: conf.render() }
    }
}
