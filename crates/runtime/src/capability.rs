//! Capability sets as data: names, Docker's default fourteen, the mask of the running kernel.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names in the order of their kernel numbers, without `CAP_`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// One capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capability(u8);

macro_rules! known {
    ($($name:ident = $number:literal),* $(,)?) => {
        #[allow(missing_docs, reason = "the names are those of capabilities(7)")]
        impl Capability { $(pub const $name: Self = Self($number);)* }
    };
}
known! {
    DAC_READ_SEARCH = 2, NET_ADMIN = 12, NET_RAW = 13, SYS_MODULE = 16, SYS_RAWIO = 17, SYS_CHROOT = 18,
    SYS_PTRACE = 19, SYS_PACCT = 20, SYS_ADMIN = 21, SYS_BOOT = 22, SYS_NICE = 23, SYS_TIME = 25,
    SYS_TTY_CONFIG = 26, AUDIT_WRITE = 29, SYSLOG = 34, PERFMON = 38, BPF = 39,
}

impl Capability {
    /// The kernel's number.
    pub fn number(self) -> u8 {
        self.0
    }
}

/// No capability has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid capability: {0:?}")]
pub struct UnknownCapability(pub String);

impl FromStr for Capability {
    type Err = UnknownCapability;

    /// Accepts `NET_ADMIN`, `CAP_NET_ADMIN`, either case.
    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        NAMES
            .iter()
            .position(|known| *known == name)
            .map(|number| Self(number as u8))
            .ok_or_else(|| UnknownCapability(text.to_owned()))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAP_{}", NAMES[usize::from(self.0)])
    }
}

/// A set of capabilities; serialised as a list of `CAP_` names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// Nothing.
    pub const EMPTY: Self = Self(0);

    /// Docker's default fourteen (`CapEff: 00000000a80425fb`).
    pub const DOCKER_DEFAULT: Self = Self(0xa804_25fb);

    /// Every capability this crate knows; the kernel's own limit is applied when they are set.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// The kernel's bit mask.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whether `capability` is in the set.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// The set with `capability` added.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability.0)
    }

    /// The set with `capability` removed.
    #[must_use]
    pub fn without(self, capability: Capability) -> Self {
        Self(self.0 & !(1 << capability.0))
    }

    /// The capabilities in it, by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0..NAMES.len() as u8).map(Capability).filter(move |capability| self.contains(*capability))
    }

    /// The set of the mask `bits`; bits beyond the known capabilities are dropped.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits & Self::ALL.0)
    }
}

impl Default for CapabilitySet {
    fn default() -> Self {
        Self::DOCKER_DEFAULT
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|capability| capability.to_string())).finish()
    }
}

impl TryFrom<Vec<String>> for CapabilitySet {
    type Error = UnknownCapability;

    fn try_from(names: Vec<String>) -> Result<Self, UnknownCapability> {
        names.iter().try_fold(Self::EMPTY, |set, name| Ok(set.with(name.parse()?)))
    }
}

impl From<CapabilitySet> for Vec<String> {
    fn from(set: CapabilitySet) -> Self {
        set.iter().map(|capability| capability.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_set_is_the_documented_fourteen() {
        let mut names: Vec<String> = CapabilitySet::DOCKER_DEFAULT.into();
        names.sort();
        let mut expected: Vec<String> =
            "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP \
             NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
                .split_whitespace()
                .map(|name| format!("CAP_{name}"))
                .collect();
        expected.sort();
        assert_eq!(names, expected);
    }

    #[test]
    fn constants_names_and_json_agree() {
        assert_eq!("cap_sys_admin".parse(), Ok(Capability::SYS_ADMIN));
        assert_eq!("BPF".parse(), Ok(Capability::BPF));
        assert_eq!("syslog".parse(), Ok(Capability::SYSLOG));
        assert!("CAP_NOSUCH".parse::<Capability>().is_err());
        let set = CapabilitySet::EMPTY.with(Capability::SYS_TIME).with(Capability::NET_RAW);
        let json = serde_json::to_string(&set).unwrap();
        assert_eq!(json, r#"["CAP_NET_RAW","CAP_SYS_TIME"]"#);
        assert_eq!(serde_json::from_str::<CapabilitySet>(&json).unwrap(), set);
    }
}
