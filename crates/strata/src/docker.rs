//! What Docker has and strata does not have yet: who types it is not told of a mistake.

/// What is said of it.
pub(crate) const NOT_YET: &str = " (Docker has it, strata does not yet)";

/// Commands, by their path.
const COMMANDS: &[&str] = &[
    "attach",
    "commit",
    "container attach",
    "container commit",
    "container cp",
    "container create",
    "container export",
    "container pause",
    "container port",
    "container rename",
    "container restart",
    "container start",
    "container stats",
    "container top",
    "container unpause",
    "container update",
    "context",
    "cp",
    "create",
    "events",
    "export",
    "network",
    "pause",
    "plugin",
    "port",
    "rename",
    "restart",
    "search",
    "start",
    "stats",
    "swarm",
    "system events",
    "system prune",
    "top",
    "unpause",
    "update",
];

/// Flags of `run`.
const RUN_FLAGS: &[&str] = &[
    "annotation",
    "attach",
    "blkio-weight",
    "cgroup-parent",
    "cgroupns",
    "cpu-period",
    "cpu-quota",
    "cpu-shares",
    "cpuset-cpus",
    "cpuset-mems",
    "detach-keys",
    "device",
    "device-cgroup-rule",
    "dns-option",
    "dns-search",
    "domainname",
    "expose",
    "gpus",
    "health-cmd",
    "health-interval",
    "health-retries",
    "health-start-interval",
    "health-start-period",
    "health-timeout",
    "ip",
    "ip6",
    "ipc",
    "isolation",
    "kernel-memory",
    "label-file",
    "link",
    "log-driver",
    "log-opt",
    "mac-address",
    "memory-reservation",
    "memory-swap",
    "memory-swappiness",
    "network-alias",
    "no-healthcheck",
    "oom-kill-disable",
    "oom-score-adj",
    "pid",
    "runtime",
    "sig-proxy",
    "storage-opt",
    "sysctl",
    "use-api-socket",
    "userns",
    "uts",
    "volume-driver",
    "volumes-from",
];

/// Flags of `build`.
const BUILD_FLAGS: &[&str] = &[
    "attest",
    "builder",
    "cgroup-parent",
    "cpuset-cpus",
    "cpuset-mems",
    "isolation",
    "policy",
    "security-opt",
];

/// Whether it is a command of Docker's.
pub(crate) fn has_command(path: &str) -> bool {
    COMMANDS.contains(&path)
}

/// Whether Docker's command of this path has the flag (without its dashes).
pub(crate) fn has_flag(path: &str, long: &str) -> bool {
    match path.rsplit(' ').next() {
        Some("run") => RUN_FLAGS.contains(&long),
        Some("build") => BUILD_FLAGS.contains(&long),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, CommandFactory};

    #[test]
    fn nothing_is_said_to_be_missing_that_is_there() {
        crate::usage::define(crate::cli::Cli::command);
        let tree = crate::usage::tree();
        let find = |path: &str| {
            path.split(' ').try_fold(&tree, |command: &Command, name| command.find_subcommand(name))
        };
        for path in COMMANDS {
            assert!(find(path).is_none(), "{path} is there");
        }
        for (path, flags) in [("run", RUN_FLAGS), ("build", BUILD_FLAGS)] {
            let command = find(path).expect("a command");
            for flag in flags {
                assert!(
                    command.get_arguments().all(|arg| arg.get_long() != Some(flag)),
                    "{path} has --{flag}"
                );
            }
        }
    }
}
