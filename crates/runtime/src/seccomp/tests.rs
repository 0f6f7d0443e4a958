use super::compile::{ALLOW, ARCH_NATIVE, ENOSYS, EPERM};
use super::profile::{Action, Profile};
use super::*;
use crate::capability::Capability;

/// A classic BPF machine, as far as the filter needs one.
fn run(program: &[SockFilter], arch: u32, number: u32, argument: u64) -> u32 {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let SockFilter { code, jt, jf, k } = program[at];
        at += 1;
        let condition = match code {
            0x20 => {
                accumulator = match k {
                    0 => number,
                    4 => arch,
                    16 => argument as u32,
                    other => panic!("load of {other}"),
                };
                continue;
            }
            0x06 => return k,
            0x05 => {
                at += k as usize;
                continue;
            }
            0x15 => accumulator == k,
            0x35 => accumulator >= k,
            0x45 => accumulator & k != 0,
            other => panic!("code {other:#x}"),
        };
        at += usize::from(if condition { jt } else { jf });
    }
}

fn number_of(name: &str) -> u32 {
    numbers::NATIVE.iter().find(|(_, known)| *known == name).unwrap_or_else(|| panic!("{name}")).0
}

fn expected(action: Action, argument: u64) -> u32 {
    let low = argument as u32;
    let allowed = match action {
        Action::Allow => true,
        Action::Deny => false,
        Action::Unknown => return ENOSYS,
        Action::CheckSocket => low != 38 && low != 40,
        Action::CheckPersonality => [0, 8, 0x20000, 0x20008, 0xffff_ffff].contains(&low),
        Action::CheckClone => low & 0x7e02_0000 == 0,
    };
    if allowed { ALLOW } else { EPERM }
}

const ARGUMENTS: [u64; 10] =
    [0, 1, 8, 38, 39, 40, 0x20000, 0x0102_0011, 0x1000_0000_0000_0026, 0x0000_0001_1000_0000];

fn check_table(capabilities: CapabilitySet, arch: u32, table: &[(u32, &str)]) {
    let program = default_filter(capabilities);
    let last = table.last().unwrap().0;
    for number in (0..last + 50).chain([0x3fff_ffff, 0x4000_0000, 0x4000_0001, u32::MAX]) {
        let entry = table.iter().find(|(known, _)| *known == number);
        let wanted = match entry {
            Some((_, name)) => Profile::new(capabilities).action(name),
            None if number > last => Action::Unknown,
            None => Action::Deny,
        };
        for argument in ARGUMENTS {
            let got = run(&program, arch, number, argument);
            assert_eq!(got, expected(wanted, argument), "{number} {entry:?} {argument:#x}");
        }
    }
}

#[test]
fn the_tree_answers_like_the_profile_for_every_number() {
    for capabilities in [CapabilitySet::DOCKER_DEFAULT, CapabilitySet::EMPTY, CapabilitySet::ALL] {
        check_table(capabilities, ARCH_NATIVE, numbers::NATIVE);
        #[cfg(target_arch = "x86_64")]
        check_table(capabilities, super::compile::ARCH_COMPAT, numbers::COMPAT);
    }
}

#[test]
fn another_architecture_and_x32_are_answered_with_enosys() {
    let program = default_filter(CapabilitySet::ALL);
    assert_eq!(run(&program, 0x1234_5678, 0, 0), ENOSYS);
    #[cfg(target_arch = "x86_64")]
    assert_eq!(run(&program, ARCH_NATIVE, 0x4000_0001, 0), ENOSYS);
}

#[test]
fn what_docker_denies_is_denied() {
    let program = default_filter(CapabilitySet::DOCKER_DEFAULT);
    for name in [
        "mount",
        "umount2",
        "unshare",
        "setns",
        "keyctl",
        "add_key",
        "request_key",
        "bpf",
        "perf_event_open",
        "io_uring_setup",
        "userfaultfd",
        "fsopen",
        "move_mount",
        "open_by_handle_at",
        "reboot",
        "kexec_load",
        "init_module",
        "swapon",
        "settimeofday",
        "pivot_root",
        "quotactl",
        "acct",
        "syslog",
    ] {
        assert_eq!(run(&program, ARCH_NATIVE, number_of(name), 0), EPERM, "{name}");
    }
    for name in
        ["read", "execve", "chroot", "ptrace", "futex", "openat", "clone", "rseq", "landlock_create_ruleset"]
    {
        assert_eq!(run(&program, ARCH_NATIVE, number_of(name), 0), ALLOW, "{name}");
    }
    assert_eq!(run(&program, ARCH_NATIVE, number_of("clone3"), 0), ENOSYS);
    let admin = default_filter(CapabilitySet::DOCKER_DEFAULT.with(Capability::SYS_ADMIN));
    for name in ["mount", "clone3", "unshare"] {
        assert_eq!(run(&admin, ARCH_NATIVE, number_of(name), 0), ALLOW, "{name}");
    }
}

#[test]
fn the_filter_is_small() {
    let length = default_filter(CapabilitySet::DOCKER_DEFAULT).len();
    assert!(length < 300, "{length} instructions");
}
