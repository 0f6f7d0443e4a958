//! Cache keys by `spec/build.md` 4.1: a key is the hash of its named inputs and of nothing else, so that two records
//! can be compared input by input.
use crate::lower::{CACHE_MODE, LoweredStage, Op, SECRET_MODE, SSH_MODE, Step};
use crate::{
    BuildOptions, CacheKey, CopyOp, CopySource, ExecOp, FileOp, Input, Mount, MountKind, Network, Security,
    Selection, path,
};
use strata_oci::{Digest, Platform};

/// Changes whenever the meaning of an input changes. Old records are then never found again.
const VERSION: &str = "strata build cache key, version 1";

/// Name of the input that holds what a step stands on.
pub(crate) const PARENT: &str = "parent";
pub(crate) const BASE: &str = "base";
pub(crate) const COMMAND: &str = "command";
pub(crate) const FILES: &str = "files";
pub(crate) const ENV: &str = "env ";

/// What a step stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    /// An image, by ID, or `scratch`.
    Base(String),
    /// The step before it.
    Step(CacheKey),
}

impl Parent {
    fn input(&self) -> Input {
        match self {
            Self::Base(image) => input(BASE, image),
            Self::Step(key) => input(PARENT, key.to_string()),
        }
    }
}

/// The key of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepKey {
    /// Decides the step's own layer.
    pub(crate) own: CacheKey,
    /// Decides the whole stack up to here. The same as `own`, except for `--link`, which does not look below.
    pub(crate) chain: CacheKey,
    pub(crate) inputs: Vec<Input>,
}

/// Hashes named values: each name and each value preceded by its length.
pub(crate) fn hash(inputs: &[Input]) -> CacheKey {
    let mut hasher = blake3::Hasher::new_derive_key(VERSION);
    let mut part = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    for Input { name, value } in inputs {
        part(name);
        part(value);
    }
    CacheKey::from_bytes(*hasher.finalize().as_bytes())
}

/// Key under which the content digest of files from another stage is remembered.
pub(crate) fn selection(of: &Parent, selection: &Selection) -> CacheKey {
    let mut inputs = vec![input("step", "selection"), of.input()];
    inputs.extend(selection.paths.iter().map(|path| input("path", path)));
    inputs.extend(selection.exclude.iter().map(|pattern| input("exclude", pattern)));
    inputs.push(input("wildcards", selection.wildcards.to_string()));
    inputs.push(input("parents", selection.parents.to_string()));
    hash(&inputs)
}

/// Key under which the files of a selection are listed.
pub(crate) fn listing(digest: &str) -> CacheKey {
    hash(&[input("step", "listing"), input(FILES, digest)])
}

/// The key of a step, given what it stands on and the digests of its files, in the order of [`selections`].
pub(crate) fn step(step: &Step, options: &BuildOptions, parent: &Parent, digests: &[Digest]) -> StepKey {
    encode(step.instruction, &step.op, (&options.platform, &options.run_inputs), parent, digests)
}

/// [`step`], of what counts alone. `every_run` is what the options add to every RUN.
pub(crate) fn encode(
    instruction: &str,
    op: &Op,
    every_run: (&Platform, &[Input]),
    parent: &Parent,
    digests: &[Digest],
) -> StepKey {
    let mut inputs = vec![input("step", instruction)];
    let mut digests = digests.iter().copied();
    let mut independent = false;
    match op {
        Op::Exec(op) => {
            exec(op, &mut digests, &mut inputs);
            inputs.push(input("platform", every_run.0.to_string()));
            inputs.extend(every_run.1.iter().cloned());
        }
        Op::File(FileOp::Copy(op)) => {
            copy(op, digests.next(), &mut inputs);
            independent = op.link;
        }
        Op::File(FileOp::Workdir { path, owner, epoch }) => {
            inputs.push(input("path", path));
            inputs.push(input("owner", owner));
            inputs.extend(epoch.map(|epoch| input("epoch", epoch.to_string())));
        }
    }
    if !independent {
        inputs.push(parent.input());
        let own = hash(&inputs);
        return StepKey { own, chain: own, inputs };
    }
    let own = hash(&inputs);
    let chain = hash(&[input("step", "link"), input("layer", own.to_string()), parent.input()]);
    StepKey { own, chain, inputs }
}

/// The file selections that enter a step's key: which input, and what of it.
pub(crate) fn selections(op: &Op) -> Vec<(usize, Selection)> {
    match op {
        Op::File(FileOp::Workdir { .. }) => Vec::new(),
        Op::File(FileOp::Copy(op)) => {
            copy_selection(op).map(|selection| (0, selection)).into_iter().collect()
        }
        Op::Exec(op) => op.mounts.iter().filter_map(mount_selection).collect(),
    }
}

/// What a COPY or ADD takes from elsewhere; `None` when everything is written in the Dockerfile.
fn copy_selection(op: &CopyOp) -> Option<Selection> {
    let mut selection = Selection {
        paths: Vec::new(),
        remote: Vec::new(),
        wildcards: true,
        parents: op.parents,
        exclude: op.exclude.clone(),
    };
    for source in &op.sources {
        match source {
            CopySource::Path(path) => selection.paths.push(path.clone()),
            CopySource::Inline { .. } => {}
            remote => selection.remote.push(remote.clone()),
        }
    }
    (!selection.paths.is_empty() || !selection.remote.is_empty()).then_some(selection)
}

fn mount_selection(mount: &Mount) -> Option<(usize, Selection)> {
    let (index, path) = match &mount.kind {
        MountKind::Bind { input, source } => (*input, source),
        MountKind::Cache { seed: Some((input, source)), .. } => (*input, source),
        _ => return None,
    };
    let paths = vec![path.clone()];
    let selection =
        Selection { paths, remote: Vec::new(), wildcards: false, parents: false, exclude: Vec::new() };
    Some((index, selection))
}

fn exec(op: &ExecOp, digests: &mut dyn Iterator<Item = Digest>, inputs: &mut Vec<Input>) {
    // JSON, because the border between arguments matters: ["a b"] is not ["a", "b"].
    inputs.push(input(COMMAND, serde_json::Value::from(op.argv.clone()).to_string()));
    inputs.extend(op.env.iter().map(|(name, value)| input(&format!("{ENV}{name}"), value)));
    inputs.push(input("working directory", &op.cwd));
    inputs.push(input("user", &op.user));
    inputs.extend((!op.hostname.is_empty()).then(|| input("hostname", &op.hostname)));
    // Written out, so that renaming a variant cannot move a key.
    let network = match op.network {
        Network::Default => "default",
        Network::None => "none",
        Network::Host => "host",
    };
    let security = match op.security {
        Security::Sandbox => "sandbox",
        Security::Insecure => "insecure",
    };
    inputs.push(input("network", network));
    inputs.push(input("security", security));
    inputs.extend(op.devices.iter().map(|name| input("device", name)));
    for mount in &op.mounts {
        let access = if mount.read_only { "read-only" } else { "read-write" };
        // Neither the content nor the id, sharing and owner of a cache decide what a step means.
        let what = match &mount.kind {
            MountKind::Bind { .. } => format!("bind {access}"),
            MountKind::Cache { .. } => format!("cache {access}"),
            MountKind::Tmpfs { size } => format!("tmpfs {}", size.unwrap_or_default()),
            MountKind::Secret { id, .. } => format!("secret {id}"),
            MountKind::Ssh { id, .. } => format!("ssh {id}"),
            MountKind::Script { content } => format!("script {}", Digest::of(content)),
        };
        inputs.push(input(&format!("mount {}", mount.target), what));
        inputs.extend(permissions(mount));
        inputs.extend(is_required(mount).then(|| input(&format!("mount {} is required", mount.target), "")));
        if mount_selection(mount).is_some() {
            let digest = digests.next().expect("one digest for every selection");
            inputs.push(input(&format!("{FILES} of mount {}", mount.target), digest.to_string()));
        }
    }
    for secret in &op.secret_env {
        inputs.push(input(&format!("secret {}", secret.name), &secret.id));
        inputs.extend(secret.required.then(|| input(&format!("secret {} is required", secret.name), "")));
    }
}

/// What a step made without its secret is not what it makes once the secret is required (BuildKit's key has it, too).
fn is_required(mount: &Mount) -> bool {
    match mount.kind {
        MountKind::Secret { required, .. } | MountKind::Ssh { required, .. } => required,
        MountKind::Bind { .. }
        | MountKind::Cache { .. }
        | MountKind::Tmpfs { .. }
        | MountKind::Script { .. } => false,
    }
}

/// Who may read a secret, use an agent or write into a cache decides what a step under another user sees. What is usual is
/// left out.
fn permissions(mount: &Mount) -> Option<Input> {
    let (usual, mode, uid, gid) = match mount.kind {
        MountKind::Cache { mode, uid, gid, .. } => (CACHE_MODE, mode, uid, gid),
        MountKind::Secret { mode, uid, gid, .. } => (SECRET_MODE, mode, uid, gid),
        MountKind::Ssh { mode, uid, gid, .. } => (SSH_MODE, mode, uid, gid),
        MountKind::Bind { .. } | MountKind::Tmpfs { .. } | MountKind::Script { .. } => return None,
    };
    let name = format!("permissions of mount {}", mount.target);
    ((mode, uid, gid) != (usual, 0, 0)).then(|| input(&name, format!("{mode:04o} {uid}:{gid}")))
}

fn copy(op: &CopyOp, files: Option<Digest>, inputs: &mut Vec<Input>) {
    for source in &op.sources {
        inputs.push(match source {
            // Which directory it came from does not reach the layer, unless --parents keeps it.
            CopySource::Path(path) if op.parents => input("source", path),
            CopySource::Path(path) => {
                input("source", path::base_name(&path::join("/", path)).unwrap_or_default())
            }
            CopySource::Inline { name, content } => {
                input(&format!("source <<{name}"), Digest::of(content).to_string())
            }
            // What was fetched counts, among the files, and not from where: a mirror gives the same layer.
            CopySource::Http { name, .. } => input("source http(s)", name),
            CopySource::Git { .. } => input("source git", ""),
        });
    }
    inputs.push(input("destination", &op.destination));
    inputs.extend(op.chown.as_ref().map(|owner| input("--chown", owner)));
    inputs.extend(op.chmod.as_ref().map(|mode| input("--chmod", mode)));
    inputs.extend(op.exclude.iter().map(|pattern| input("--exclude", pattern)));
    for (name, set) in [("--link", op.link), ("--parents", op.parents), ("unpack", op.unpack)] {
        inputs.extend(set.then(|| input(name, "true")));
    }
    inputs.extend(op.epoch.map(|epoch| input("epoch", epoch.to_string())));
    inputs.extend(files.map(|digest| input(FILES, digest.to_string())));
}

/// What stands below a stage's first step when it is not another stage.
pub(crate) fn scratch() -> Parent {
    Parent::Base("scratch".to_owned())
}

fn input(name: &str, value: impl Into<String>) -> Input {
    Input { name: name.to_owned(), value: value.into() }
}

/// The place of a step, for finding its earlier records.
pub(crate) fn place(scope: &str, stage: &LoweredStage, index: usize) -> crate::Place {
    crate::Place {
        scope: scope.to_owned(),
        stage: stage.name.clone(),
        position: u32::try_from(index).unwrap_or(u32::MAX),
        instruction: stage.steps[index].instruction.to_owned(),
    }
}

#[cfg(test)]
mod tests;
