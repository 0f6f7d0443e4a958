//! What the user asked for besides the Dockerfile.
use crate::{DeviceGrant, Input, KnownDevice, Network};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use strata_dockerfile::Ignore;
use strata_oci::{Platform, Reference};

/// The request of one build.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// `--target`; the last stage when not given.
    pub target: Option<String>,
    /// `--build-arg NAME=value`, values already taken from the client's environment where only a name was given.
    /// `SOURCE_DATE_EPOCH` from that environment belongs here too.
    pub build_args: BTreeMap<String, String>,
    /// `--label`, applied last.
    pub labels: BTreeMap<String, String>,
    /// `--platform`: what is built.
    pub platform: Platform,
    /// What builds.
    pub build_platform: Platform,
    /// `--no-cache`, `--no-cache-filter`.
    pub no_cache: NoCache,
    /// Times of contexts that have one (the commit of a repository), by name; the main one is `context`. What
    /// `SOURCE_DATE_EPOCH` may name.
    pub context_times: BTreeMap<String, Timestamp>,
    /// `--build-context`.
    pub contexts: BTreeMap<String, NamedContext>,
    /// `--network`: for RUNs that do not say.
    pub network: Network,
    /// `--allow`: what a RUN may ask for beyond the sandbox.
    pub allow: BTreeSet<Entitlement>,
    /// `--allow device`: which devices a RUN may have.
    pub device_grants: BTreeSet<DeviceGrant>,
    /// The devices of this machine, sorted by name.
    pub devices: Vec<KnownDevice>,
    /// What else decides the result of every RUN and is known only to whoever runs it: ulimits, names (not addresses)
    /// of `--add-host`. Enters their keys by these names.
    pub run_inputs: Vec<Input>,
    /// The main context's `.dockerignore`, for the lint rule about files that it hides.
    pub ignore: Option<Ignore>,
    /// Steps are told by BuildKit's names as well: for an export that it reads.
    pub vertices: bool,
    /// Steps that may run at once; 0 counts as 1.
    pub jobs: usize,
    /// What makes this Dockerfile the same one as in an earlier build, for explaining misses: its path, say.
    pub scope: String,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            target: None,
            build_args: BTreeMap::new(),
            labels: BTreeMap::new(),
            platform: Platform::host(),
            build_platform: Platform::host(),
            no_cache: NoCache::default(),
            context_times: BTreeMap::new(),
            contexts: BTreeMap::new(),
            network: Network::default(),
            allow: BTreeSet::new(),
            device_grants: BTreeSet::new(),
            devices: Vec::new(),
            run_inputs: Vec::new(),
            ignore: None,
            vertices: false,
            jobs: 4,
            scope: String::new(),
        }
    }
}

/// Which steps must not be taken from the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NoCache {
    /// None.
    #[default]
    Off,
    /// Every RUN, COPY and ADD.
    All,
    /// Those of these stages, by name, in any case.
    Stages(Vec<String>),
}

/// Something that only the user can allow a Dockerfile, which a stranger may have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entitlement {
    /// `RUN --network=host`
    NetworkHost,
    /// `RUN --security=insecure`
    SecurityInsecure,
}

impl Entitlement {
    const ALL: [Self; 2] = [Self::NetworkHost, Self::SecurityInsecure];
}

impl fmt::Display for Entitlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetworkHost => "network.host",
            Self::SecurityInsecure => "security.insecure",
        })
    }
}

impl FromStr for Entitlement {
    type Err = UnknownEntitlement;

    fn from_str(text: &str) -> Result<Self, UnknownEntitlement> {
        let found = Self::ALL.into_iter().find(|known| known.to_string() == text);
        found.ok_or_else(|| UnknownEntitlement(text.to_owned()))
    }
}

/// A text that is no [`Entitlement`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown entitlement {0:?}: use network.host, security.insecure or device[=NAME]")]
pub struct UnknownEntitlement(pub String);

/// A context given with `--build-context`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedContext {
    /// Files: the worker knows them by the context's name.
    Files,
    /// `docker-image://`
    Image(Reference),
}
