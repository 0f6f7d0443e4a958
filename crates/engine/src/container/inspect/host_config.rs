//! `HostConfig`: what was asked for. Keys of what strata does not have carry Docker's defaults, so that programs find them.
use super::network::port_bindings;
use crate::stored::Stored;
use serde_json::{Map, Value, json};
use strata_runtime::spec::Rlimit;

pub(super) fn host_config(stored: &Stored) -> Value {
    let mut all = Map::new();
    for part in [sandbox(stored), resources(stored)] {
        all.extend(part.as_object().cloned().unwrap_or_default());
    }
    if !stored.asked.tmpfs.is_empty() {
        all.insert("Tmpfs".to_owned(), json!(stored.asked.tmpfs));
    }
    Value::Object(all)
}

fn sandbox(stored: &Stored) -> Value {
    let (spec, asked) = (&stored.spec, &stored.asked);
    let some = |list: &Vec<String>| if list.is_empty() { Value::Null } else { json!(list) };
    let hosts: Vec<String> =
        stored.add_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect();
    let paths = |list: &[std::path::PathBuf]| match spec.privileged {
        true => Value::Null,
        false => json!(list),
    };
    json!({
        "Binds": binds(stored),
        "ContainerIDFile": asked.cidfile,
        "LogConfig": { "Type": "json-file", "Config": {} },
        "NetworkMode": stored.network,
        "PortBindings": port_bindings(stored.endpoint.as_ref()),
        "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
        "AutoRemove": stored.remove,
        "VolumeDriver": "",
        "VolumesFrom": null,
        "ConsoleSize": [0, 0],
        "CapAdd": some(&asked.cap_add),
        "CapDrop": some(&asked.cap_drop),
        "CgroupnsMode": "private",
        "Dns": stored.dns,
        "DnsOptions": [],
        "DnsSearch": [],
        "ExtraHosts": some(&hosts),
        "GroupAdd": some(&spec.extra_groups),
        "IpcMode": "private",
        "Cgroup": "",
        "Links": null,
        "OomScoreAdj": spec.oom_score_adj.unwrap_or(0),
        "PidMode": "",
        "Privileged": spec.privileged,
        "PublishAllPorts": asked.publish_all,
        "ReadonlyRootfs": spec.read_only,
        "SecurityOpt": some(&asked.security_opt),
        "UTSMode": "",
        "UsernsMode": "",
        "ShmSize": spec.shm_size,
        "Runtime": "strata",
        "Isolation": "",
        "MaskedPaths": paths(&spec.masked_paths),
        "ReadonlyPaths": paths(&spec.read_only_paths),
        "Init": spec.init,
    })
}

fn resources(stored: &Stored) -> Value {
    let limits = &stored.spec.limits;
    let memory = limits.memory.unwrap_or(0);
    let ulimit = |limit: &Rlimit| json!({ "Name": limit.name, "Soft": limit.soft, "Hard": limit.hard });
    json!({
        "CpuShares": limits.cpu_shares.unwrap_or(0),
        "Memory": memory,
        "NanoCpus": (limits.cpus.unwrap_or(0.0) * 1e9) as u64,
        "CgroupParent": "",
        "BlkioWeight": 0,
        "BlkioWeightDevice": [],
        "BlkioDeviceReadBps": [],
        "BlkioDeviceWriteBps": [],
        "BlkioDeviceReadIOps": [],
        "BlkioDeviceWriteIOps": [],
        "CpuPeriod": 0,
        "CpuQuota": 0,
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpusetCpus": "",
        "CpusetMems": "",
        "Devices": [],
        "DeviceCgroupRules": null,
        "DeviceRequests": null,
        "MemoryReservation": 0,
        "MemorySwap": limits.memory_swap.unwrap_or_else(|| i64::try_from(memory.saturating_mul(2)).unwrap_or(-1)),
        "MemorySwappiness": null,
        "OomKillDisable": null,
        "PidsLimit": limits.pids,
        "Ulimits": stored.spec.rlimits.iter().map(ulimit).collect::<Vec<_>>(),
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    })
}

/// `source:destination[:mode]`, of binds and volumes.
fn binds(stored: &Stored) -> Value {
    let binds: Vec<String> = stored
        .mounts
        .iter()
        .filter(|mount| mount.kind != "tmpfs")
        .map(|mount| {
            let source = if mount.name.is_empty() { &mount.source } else { &mount.name };
            let mode = if mount.mode.is_empty() { String::new() } else { format!(":{}", mount.mode) };
            format!("{source}:{}{mode}", mount.destination)
        })
        .collect();
    json!(binds)
}
