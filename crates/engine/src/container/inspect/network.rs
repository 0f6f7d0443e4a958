//! `NetworkSettings`: where the container is while it runs.
use crate::stored::{Stored, StoredEndpoint};
use serde_json::{Map, Value, json};
use strata_oci::Digest;
use strata_store::{ContainerRecord, ContainerState};

pub(super) fn settings(container: &ContainerRecord, stored: &Stored) -> Value {
    let pid = match &container.state {
        ContainerState::Running { process, .. } => Some(process.pid),
        _ => None,
    };
    let endpoint = stored.endpoint.as_ref().filter(|_| pid.is_some());
    let text = |value: fn(&StoredEndpoint) -> &String| endpoint.map(value).cloned().unwrap_or_default();
    let mut ports = port_bindings(endpoint);
    for port in &stored.exposed {
        ports.entry(port.clone()).or_insert(Value::Null);
    }
    let (address, gateway, mac) = (text(|e| &e.address), text(|e| &e.gateway), text(|e| &e.mac));
    let prefix = endpoint.map_or(0, |endpoint| endpoint.prefix);
    let network_id = identity("network", &[&stored.network, &text(|e| &e.bridge)]);
    let endpoint_id = endpoint.map(|_| identity("endpoint", &[&container.id])).unwrap_or_default();
    let network = json!({
        "IPAMConfig": null,
        "Links": null,
        "Aliases": null,
        "MacAddress": mac,
        "DriverOpts": null,
        "GwPriority": 0,
        "NetworkID": network_id,
        "EndpointID": endpoint_id,
        "Gateway": gateway,
        "IPAddress": address,
        "IPPrefixLen": prefix,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": null,
    });
    let networks: Map<String, Value> = [(stored.network.clone(), network)].into_iter().collect();
    json!({
        "Bridge": text(|e| &e.bridge),
        "SandboxID": pid.map(|_| identity("sandbox", &[&container.id])).unwrap_or_default(),
        "SandboxKey": pid.map(|pid| format!("/proc/{pid}/ns/net")).unwrap_or_default(),
        "Ports": ports,
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": endpoint_id,
        "Gateway": gateway,
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": address,
        "IPPrefixLen": prefix,
        "IPv6Gateway": "",
        "MacAddress": mac,
        "Networks": networks,
    })
}

/// Docker has IDs where strata has names: 64 digits that stay the same for the same thing.
fn identity(kind: &str, of: &[&str]) -> String {
    Digest::of(format!("{kind}\0{}", of.join("\0")).as_bytes()).hex()
}

pub(super) fn port_bindings(endpoint: Option<&StoredEndpoint>) -> Map<String, Value> {
    let mut ports: Map<String, Value> = Map::new();
    for binding in endpoint.iter().flat_map(|endpoint| &endpoint.bindings) {
        let key = format!("{}/{}", binding.container_port, binding.protocol);
        let entry = ports.entry(key).or_insert_with(|| json!([]));
        if let Some(list) = entry.as_array_mut() {
            list.push(
                json!({ "HostIp": binding.host_ip.to_string(), "HostPort": binding.host_port.to_string() }),
            );
        }
    }
    ports
}
