//! RUN (`spec/build.md` section 3, heredocs 1.6, history 5.2).
use super::{InputRef, Lowering, Op, Step, says};
use crate::error::Site;
use crate::{
    BuildError, BuildErrorKind, Entitlement, ExecOp, Mount, MountKind, Network, SecretEnv, Security, Sharing,
    StepId, device, path,
};
use strata_dockerfile::{
    CommandLine, Device, Heredoc, Mount as Written, MountKind as WrittenKind, Run, Sharing as WrittenSharing,
    Span, Word, expand,
};

/// Where the script of a heredoc with `#!` appears.
const SCRIPTS: &str = "/dev/pipes";
/// Modes of what a mount makes, when it does not say.
pub(crate) const CACHE_MODE: u32 = 0o755;
pub(crate) const SECRET_MODE: u32 = 0o400;
pub(crate) const SSH_MODE: u32 = 0o600;

/// The mounts of one RUN, sorted by how the worker gets them.
#[derive(Default)]
struct Mounts {
    mounts: Vec<Mount>,
    secret_env: Vec<SecretEnv>,
    inputs: Vec<InputRef>,
    /// Paths in the inputs, and the `--mount` that names each.
    sources: Vec<(String, Span)>,
    agents: usize,
}

impl Lowering<'_, '_> {
    pub(super) fn run_step(&mut self, run: &Run, id: StepId, site: Site) -> Result<(), BuildError> {
        let mut mounts = Mounts::default();
        for word in &run.mounts {
            self.mount(word, &mut mounts, site)?;
        }
        let (argv, script) = self.command(run, site)?;
        mounts.mounts.extend(script);
        self.draft.run_row(&argv);
        let mut env = self.draft.env.clone();
        let socket = mounts.mounts.iter().find(|mount| matches!(mount.kind, MountKind::Ssh { .. }));
        if let Some(socket) = socket.filter(|_| env.get("SSH_AUTH_SOCK").is_none()) {
            env.set("SSH_AUTH_SOCK", &socket.target);
        }
        let cwd = &self.draft.config.working_dir;
        let op = ExecOp {
            argv,
            env: env.pairs().to_vec(),
            cwd: path::join("/", cwd),
            user: self.draft.config.user.clone(),
            hostname: self.build_arg("BUILDKIT_SANDBOX_HOSTNAME").unwrap_or_default().to_owned(),
            network: self.network(run.network.as_ref(), site)?,
            security: self.security(run.security.as_ref(), site)?,
            devices: self.devices(&run.devices, site)?,
            mounts: mounts.mounts,
            secret_env: mounts.secret_env,
            proxy: self.shared.proxy.clone(),
        };
        let (inputs, sources) = (mounts.inputs, mounts.sources);
        self.step(Step {
            id,
            site,
            instruction: "RUN",
            op: Op::Exec(op),
            inputs,
            sources,
            ignore_cache: false,
        });
        Ok(())
    }

    /// What is run, and the script that a heredoc beginning with `#!` brings along.
    fn command(&self, run: &Run, site: Site) -> Result<(Vec<String>, Option<Mount>), BuildError> {
        let line = match &run.command {
            CommandLine::Exec(argv) if argv.is_empty() => {
                return Err(site.says("RUN requires at least one argument"));
            }
            CommandLine::Exec(argv) => return Ok((argv.clone(), None)),
            CommandLine::Shell(line) => line,
        };
        let mut script = None;
        let text = match &run.heredocs[..] {
            [] => line.clone(),
            [only] if is_only(line, only) && only.body.starts_with("#!") => {
                let target = format!("{SCRIPTS}/{}", only.delimiter);
                let kind = MountKind::Script { content: only.body.clone().into_bytes() };
                script = Some(Mount { target: target.clone(), read_only: true, kind });
                target
            }
            [only] if is_only(line, only) => only.body.clone(),
            // The shell reads these itself: the bodies go back behind their line.
            several => {
                let mut text = line.clone();
                for heredoc in several {
                    text.push('\n');
                    text.push_str(&heredoc.raw);
                    text.push_str(&heredoc.delimiter);
                }
                text
            }
        };
        Ok((self.draft.shell().into_iter().chain([text]).collect(), script))
    }

    fn network(&self, word: Option<&Word>, site: Site) -> Result<Network, BuildError> {
        match word.map(|word| (word, word.text.as_str())) {
            None => Ok(self.shared.options.network),
            Some((_, "default")) => Ok(Network::Default),
            Some((_, "none")) => Ok(Network::None),
            Some((word, "host")) => {
                self.allowed(Entitlement::NetworkHost, word, site).map(|()| Network::Host)
            }
            Some((word, other)) => {
                Err(site.word(word.span, says(format!("invalid network mode: {other:?}"))))
            }
        }
    }

    fn security(&self, word: Option<&Word>, site: Site) -> Result<Security, BuildError> {
        match word.map(|word| (word, word.text.as_str())) {
            None | Some((_, "sandbox")) => Ok(Security::Sandbox),
            Some((word, "insecure")) => {
                self.allowed(Entitlement::SecurityInsecure, word, site).map(|()| Security::Insecure)
            }
            Some((word, other)) => {
                Err(site.word(word.span, says(format!("security {other:?} is not valid"))))
            }
        }
    }

    fn devices(&mut self, words: &[Word], site: Site) -> Result<Vec<String>, BuildError> {
        let (known, grants) = (&self.shared.options.devices, &self.shared.options.device_grants);
        let mut names: Vec<String> = Vec::new();
        for word in words {
            let fault = |sentence: String| site.word(word.span, says(sentence));
            let wanted = Device::parse(&word.text).map_err(|error| fault(error.to_string()))?;
            let chosen = device::choose(&wanted, known, grants).map_err(|error| fault(error.to_string()))?;
            if chosen.is_empty() {
                let warning = format!("optional device {:?} is not registered", wanted.name);
                self.plan.warnings.push((warning, word.span));
            }
            chosen.into_iter().for_each(|name| {
                if !names.contains(&name) {
                    names.push(name);
                }
            });
        }
        Ok(names)
    }

    /// A Dockerfile cannot give itself what reaches beyond the sandbox (CVE-2024-23653).
    fn allowed(&self, what: Entitlement, word: &Word, site: Site) -> Result<(), BuildError> {
        let allowed = self.shared.options.allow.contains(&what);
        if allowed { Ok(()) } else { Err(site.word(word.span, BuildErrorKind::NotAllowed(what))) }
    }

    fn mount(&self, word: &Word, mounts: &mut Mounts, site: Site) -> Result<(), BuildError> {
        let env = &self.draft.env;
        let value = |value: &str| {
            expand(value, self.escape(), &|name| env.get(name).map(str::to_owned))
                .map(|expanded| expanded.text)
        };
        let written = Written::parse_with(&word.text, &value)
            .map_err(|error| site.word(word.span, says(error.to_string())))?;
        match written.kind {
            WrittenKind::Secret => secret(&written, mounts, &self.draft.config.working_dir),
            WrittenKind::Ssh => self.ssh(&written, mounts),
            WrittenKind::Bind | WrittenKind::Cache | WrittenKind::Tmpfs => {
                let target = self.target(&written, word, site)?;
                let kind = self.files(&written, mounts, word, site)?;
                mounts.mounts.push(Mount { target, read_only: written.read_only, kind });
            }
        }
        Ok(())
    }

    fn target(&self, written: &Written, word: &Word, site: Site) -> Result<String, BuildError> {
        let target =
            path::join(&self.draft.config.working_dir, written.target.as_deref().unwrap_or_default());
        if target == "/" {
            let shown = written.target.as_deref().unwrap_or("/");
            return Err(site.word(word.span, says(format!("invalid mount target {shown:?}"))));
        }
        Ok(target)
    }

    fn files(
        &self,
        written: &Written,
        mounts: &mut Mounts,
        word: &Word,
        site: Site,
    ) -> Result<MountKind, BuildError> {
        let source = path::join("/", written.source.as_deref().unwrap_or_default());
        let input = |mounts: &mut Mounts| -> Result<usize, BuildError> {
            let input = self.input(written.from.as_deref(), false, site).map_err(|mut error| {
                error.spans = site.word(word.span, BuildErrorKind::Cancelled).spans;
                error
            })?;
            mounts.sources.push((source.clone(), word.span));
            mounts.inputs.push(input);
            Ok(mounts.inputs.len() - 1)
        };
        Ok(match written.kind {
            WrittenKind::Cache => MountKind::Cache {
                id: self.cache_id(written),
                path: match written.from {
                    Some(_) => "/".to_owned(),
                    None => source.clone(),
                },
                sharing: match written.sharing {
                    None | Some(WrittenSharing::Shared) => Sharing::Shared,
                    Some(WrittenSharing::Private) => Sharing::Private,
                    Some(WrittenSharing::Locked) => Sharing::Locked,
                },
                seed: match written.from {
                    Some(_) => Some((input(mounts)?, source)),
                    None => None,
                },
                mode: written.mode.unwrap_or(CACHE_MODE),
                uid: written.uid.unwrap_or(0),
                gid: written.gid.unwrap_or(0),
            },
            WrittenKind::Tmpfs => {
                MountKind::Tmpfs { size: written.size.and_then(|size| size.try_into().ok()) }
            }
            WrittenKind::Bind | WrittenKind::Secret | WrittenKind::Ssh => {
                MountKind::Bind { input: input(mounts)?, source }
            }
        })
    }

    /// The cache's name, apart from those of other namespaces: without an id the target as it is written, so that a
    /// relative one is the same cache whatever the working directory is.
    fn cache_id(&self, written: &Written) -> String {
        let id = written.id.clone().unwrap_or_else(|| {
            let target = written.target.as_deref().unwrap_or_default();
            let clean = path::join("/", target);
            if target.starts_with('/') { clean } else { clean[1..].to_owned() }
        });
        match self.build_arg("BUILDKIT_CACHE_MOUNT_NS") {
            Some(namespace) if !namespace.is_empty() => format!("{namespace}/{id}"),
            _ => id,
        }
    }

    fn build_arg(&self, name: &str) -> Option<&str> {
        self.shared.options.build_args.get(name).map(String::as_str)
    }

    fn ssh(&self, written: &Written, mounts: &mut Mounts) {
        let target =
            written.target.clone().unwrap_or_else(|| format!("/run/buildkit/ssh_agent.{}", mounts.agents));
        mounts.agents += 1;
        mounts.mounts.push(Mount {
            target: path::join(&self.draft.config.working_dir, &target),
            read_only: true,
            kind: MountKind::Ssh {
                id: written.id.clone().unwrap_or_else(|| "default".to_owned()),
                required: written.required,
                mode: written.mode.unwrap_or(SSH_MODE),
                uid: written.uid.unwrap_or(0),
                gid: written.gid.unwrap_or(0),
            },
        });
    }
}

/// A secret as a file, as a variable, or both.
fn secret(written: &Written, mounts: &mut Mounts, cwd: &str) {
    let target = written.target.as_deref();
    let named = written.id.as_deref().or(written.source.as_deref());
    let id = named.or_else(|| target.and_then(path::base_name)).unwrap_or_default().to_owned();
    if let Some(name) = &written.env {
        let name = if name.is_empty() { id.clone() } else { name.clone() };
        mounts.secret_env.push(SecretEnv { name, id: id.clone(), required: written.required });
        if target.is_none() {
            return;
        }
    }
    let target = match target {
        Some(target) => path::join(cwd, target),
        None => format!("/run/secrets/{}", path::base_name(&id).unwrap_or_default()),
    };
    mounts.mounts.push(Mount {
        target,
        read_only: true,
        kind: MountKind::Secret {
            id,
            required: written.required,
            mode: written.mode.unwrap_or(SECRET_MODE),
            uid: written.uid.unwrap_or(0),
            gid: written.gid.unwrap_or(0),
        },
    });
}

/// Whether the line is `<<EOF` and nothing else: then the body is the script itself.
fn is_only(line: &str, heredoc: &Heredoc) -> bool {
    let line = line.trim().trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(rest) = line.strip_prefix("<<") else { return false };
    let word = rest.strip_prefix('-').unwrap_or(rest).trim_start();
    let unquoted: String = word.chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect();
    unquoted == heredoc.delimiter
}
