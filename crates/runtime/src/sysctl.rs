//! Kernel parameters of a container: only those that belong to its own namespaces (CVE-2022-0811).

use crate::container::command::c_string;
use crate::container::error::StartError;
use crate::container::plan::{Op, Step};
use crate::spec::{ContainerSpec, DEFAULT_SYSCTLS, Network};

/// A value to write below `/proc/sys`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Value {
    path: String,
    value: String,
    /// A default of ours that an older kernel may not have.
    optional: bool,
}

impl Value {
    pub(crate) fn into_step(self, name: &str) -> Result<Step, StartError> {
        let op = Op::ProcWrite {
            path: c_string("sysctl", &self.path)?,
            data: self.value.into_bytes().into(),
            optional: self.optional,
        };
        Ok(Step { op, what: format!("set sysctl {name}") })
    }
}

/// Checks every parameter of the specification.
pub(crate) fn plan(spec: &ContainerSpec) -> Result<Vec<(String, Value)>, StartError> {
    let mut values = Vec::new();
    for (name, value) in &spec.sysctls {
        let is_default = DEFAULT_SYSCTLS.contains(&(name, value));
        if is_default && spec.network == Network::Host {
            continue;
        }
        let refuse = |reason| StartError::Sysctl { name: name.clone(), reason };
        // A dot may stand for a slash or for itself (net.ipv4.conf.eth0.1): whoever needs the latter writes slashes.
        let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/');
        if name.is_empty() || !name.bytes().all(valid) || (name.contains('/') && name.contains('.')) {
            return Err(refuse("letters, digits, `_`, `-`, and either dots or slashes only"));
        }
        let path = name.replace('.', "/");
        if path.split('/').any(|part| part.is_empty() || part == "..") {
            return Err(refuse("it has an empty part"));
        }
        if path.starts_with("net/") {
            if spec.network == Network::Host {
                return Err(refuse("the network is the host's"));
            }
        } else if !is_namespaced(&path) {
            return Err(refuse("it belongs to the host"));
        }
        let value = Value { path: format!("sys/{path}"), value: value.clone(), optional: is_default };
        values.push((name.clone(), value));
    }
    Ok(values)
}

/// Parameters of the IPC and UTS namespaces.
fn is_namespaced(path: &str) -> bool {
    const EXACT: [&str; 12] = [
        "kernel/msgmax",
        "kernel/msgmnb",
        "kernel/msgmni",
        "kernel/sem",
        "kernel/shmall",
        "kernel/shmmax",
        "kernel/shmmni",
        "kernel/shm_rmid_forced",
        "kernel/msg_next_id",
        "kernel/shm_next_id",
        "kernel/domainname",
        "kernel/hostname",
    ];
    EXACT.contains(&path) || path.starts_with("fs/mqueue/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(name: &str, network: Network) -> Result<Vec<(String, Value)>, StartError> {
        plan(&ContainerSpec { sysctls: vec![(name.into(), "1".into())], network, ..ContainerSpec::default() })
    }

    #[test]
    fn only_the_containers_own_parameters() {
        for name in ["net.ipv4.ip_forward", "net/ipv4/ip_forward", "kernel.shmmax", "fs.mqueue.msg_max"] {
            assert!(plan_of(name, Network::New).is_ok(), "{name}");
        }
        for name in [
            "kernel.core_pattern",
            "vm.swappiness",
            "net.x=1+kernel.core_pattern",
            "net/../kernel/core_pattern",
            "net..ipv4",
            "net.ipv4/ip_forward",
            "",
            "kernel/../net",
            "net.",
            "fs.file-max",
        ] {
            assert!(plan_of(name, Network::New).is_err(), "{name}");
        }
        assert!(plan_of("net.ipv4.ip_forward", Network::Host).is_err());
    }

    #[test]
    fn defaults_are_left_out_without_an_own_network() {
        let spec = |network| ContainerSpec { network, ..ContainerSpec::default() };
        assert_eq!(plan(&spec(Network::New)).unwrap().len(), 2);
        assert_eq!(plan(&spec(Network::Host)).unwrap().len(), 0);
    }
}
