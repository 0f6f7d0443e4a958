//! Steps out of bytes, and what of a step counts, written down without the code under test.

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use strata_build::fuzzing::{Below, Operation, Step};
use strata_build::{
    CacheKey, CopyOp, CopySource, ExecOp, FileOp, GitSource, Input, Mount, MountKind, Network, SecretEnv,
    Security, Selection, Sharing,
};
use strata_oci::{Digest, Platform};

/// Words that the encoding itself uses, and what might be taken for them.
const WORDS: [&str; 24] = [
    "",
    "a",
    "b",
    "a b",
    "/",
    "/a",
    "a/",
    "/a/b",
    "*",
    "source",
    "source <<",
    "<<a",
    "http(s) file a",
    "git repository",
    "files",
    "env ",
    "mount ",
    "secret a",
    "true",
    "parent",
    "destination",
    "--link",
    "unpack",
    "bind read-only",
];

/// One of the words, or any text.
#[derive(Arbitrary, Clone, Debug)]
pub enum Text {
    Word(u8),
    Two(u8, u8),
    Any(String),
}

impl Text {
    fn get(&self) -> String {
        let word = |index: &u8| WORDS[usize::from(*index) % WORDS.len()];
        match self {
            Self::Word(index) => word(index).to_owned(),
            Self::Two(one, other) => [word(one), word(other)].concat(),
            Self::Any(text) => text.clone(),
        }
    }

    fn some(&self) -> Option<String> {
        Some(self.get()).filter(|text| !text.is_empty())
    }
}

fn texts(list: &[Text]) -> Vec<String> {
    list.iter().take(4).map(Text::get).collect()
}

#[derive(Arbitrary, Clone, Debug)]
pub enum Source {
    Path(Text),
    Inline(Text, Text),
    Http(Text, Text),
    Git(Text),
}

#[derive(Arbitrary, Clone, Debug)]
pub enum Kind {
    Bind(Text),
    Cache { id: Text, locked: bool, seed: Option<Text>, mode: u16 },
    Tmpfs(Option<u8>),
    Secret { id: Text, required: bool, mode: u16, uid: u8 },
    Ssh { id: Text, required: bool, mode: u16, uid: u8 },
    Script(Text),
}

/// The parts of a step, whatever it is.
#[derive(Arbitrary, Clone, Debug)]
pub struct Written {
    instruction: u8,
    parent: (bool, Text),
    lists: [Vec<Text>; 2],
    pairs: [Vec<(Text, Text)>; 4],
    words: [Text; 5],
    choices: [u8; 2],
    flags: [bool; 3],
    epoch: Option<u8>,
    sources: Vec<Source>,
    mounts: Vec<(Text, bool, Kind)>,
    digests: Vec<u8>,
    platform: (Text, Text, Option<Text>),
}

impl Written {
    pub fn digests(&self, number: usize) -> Vec<Digest> {
        let byte = |index: usize| self.digests.get(index).copied().unwrap_or_default();
        (0..number).map(|index| Digest::of(&[byte(index)])).collect()
    }

    pub fn selection(&self) -> Selection {
        Selection {
            paths: texts(&self.lists[0]),
            remote: Vec::new(),
            wildcards: self.flags[0],
            parents: self.flags[1],
            exclude: texts(&self.lists[1]),
        }
    }

    fn pairs(&self, index: usize) -> Vec<(String, String)> {
        self.pairs[index].iter().take(4).map(|(name, value)| (name.get(), value.get())).collect()
    }

    pub fn step(&self) -> Step {
        let (os, architecture, variant) = &self.platform;
        let inputs = self.pairs(1).into_iter();
        Step {
            instruction: ["RUN", "COPY", "ADD", "WORKDIR", "FROM"][usize::from(self.instruction) % 5]
                .to_owned(),
            op: match self.instruction % 5 {
                0 => Operation::Exec(self.exec()),
                3 => Operation::File(self.workdir()),
                _ => Operation::File(FileOp::Copy(self.copy())),
            },
            // Words of a platform hold no slash.
            platform: Platform {
                os: os.get().replace('/', ""),
                architecture: architecture.get().replace('/', ""),
                variant: variant.as_ref().map(|text| text.get().replace('/', "")),
            },
            // The engine's names are none of ours.
            run_inputs: inputs.map(|(name, value)| Input { name: format!("option {name}"), value }).collect(),
            parent: match &self.parent {
                (true, image) => Below::Base(image.get()),
                (false, step) => {
                    Below::Step(CacheKey::from_bytes(*Digest::of(step.get().as_bytes()).as_bytes()))
                }
            },
        }
    }

    fn workdir(&self) -> FileOp {
        let epoch = self.epoch.map(time);
        FileOp::Workdir { path: self.words[0].get(), owner: self.words[1].get(), epoch }
    }

    fn copy(&self) -> CopyOp {
        CopyOp {
            sources: self.sources.iter().take(4).map(source).collect(),
            destination: self.words[0].get(),
            chown: self.words[1].some(),
            chmod: self.words[2].some(),
            link: self.flags[0],
            parents: self.flags[1],
            exclude: texts(&self.lists[1]),
            unpack: self.flags[2],
            epoch: self.epoch.map(time),
        }
    }

    fn exec(&self) -> ExecOp {
        let secret = |(name, id)| SecretEnv { name, id, required: self.flags[0] };
        ExecOp {
            argv: texts(&self.lists[0]),
            env: self.pairs(0),
            cwd: self.words[0].get(),
            user: self.words[1].get(),
            hostname: self.words[2].get(),
            network: [Network::Default, Network::None, Network::Host][usize::from(self.choices[0]) % 3],
            security: [Security::Sandbox, Security::Insecure][usize::from(self.choices[1]) % 2],
            mounts: self.mounts.iter().take(4).map(mount).collect(),
            secret_env: self.pairs(2).into_iter().map(secret).collect(),
            devices: texts(&self.lists[1]),
            proxy: self.pairs(3),
        }
    }
}

/// The parts of BuildKit's `SOURCE_DATE_EPOCH`, in seconds: few are enough.
fn time(seconds: u8) -> jiff::Timestamp {
    jiff::Timestamp::from_second(i64::from(seconds)).expect("a second of 1970")
}

fn source(source: &Source) -> CopySource {
    match source {
        Source::Path(path) => CopySource::Path(path.get()),
        Source::Inline(name, content) => {
            CopySource::Inline { name: name.get(), content: content.get().into_bytes() }
        }
        Source::Http(url, name) => CopySource::Http { url: url.get(), name: name.get(), checksum: None },
        Source::Git(url) => CopySource::Git {
            url: url.get(),
            source: GitSource {
                remote: url.get(),
                reference: None,
                subdir: None,
                checksum: None,
                keep_git_dir: false,
                submodules: false,
                commit_times: false,
            },
        },
    }
}

fn mount((target, read_only, kind): &(Text, bool, Kind)) -> Mount {
    let kind = match kind {
        Kind::Bind(source) => MountKind::Bind { input: 0, source: source.get() },
        Kind::Cache { id, locked, seed, mode } => MountKind::Cache {
            id: id.get(),
            sharing: if *locked { Sharing::Locked } else { Sharing::Shared },
            seed: seed.as_ref().map(|path| (0, path.get())),
            path: "/".to_owned(),
            mode: u32::from(*mode),
            uid: 0,
            gid: 0,
        },
        Kind::Tmpfs(size) => MountKind::Tmpfs { size: size.map(u64::from) },
        Kind::Secret { id, required, mode, uid } => {
            let (mode, uid) = (u32::from(*mode), u32::from(*uid));
            MountKind::Secret { id: id.get(), required: *required, mode, uid, gid: uid }
        }
        Kind::Ssh { id, required, mode, uid } => {
            let (mode, uid) = (u32::from(*mode), u32::from(*uid));
            MountKind::Ssh { id: id.get(), required: *required, mode, uid, gid: uid }
        }
        Kind::Script(text) => MountKind::Script { content: text.get().into_bytes() },
    };
    Mount { target: target.get(), read_only: *read_only, kind }
}

/// A step without what does not decide its result (`spec/build.md` 4.1), and the digests of its files. First what
/// decides its layer, then what decides the stack: they differ for `--link`, which does not look below.
pub fn meaning(step: &Step, digests: &[Digest]) -> ((Step, Vec<Digest>), (Step, Vec<Digest>)) {
    let mut whole = step.clone();
    match &mut whole.op {
        Operation::Exec(op) => {
            op.proxy.clear();
            op.secret_env.iter_mut().for_each(|secret| secret.required = false);
            op.mounts.iter_mut().for_each(without_names);
        }
        Operation::File(op) => {
            whole.platform = Platform::default();
            whole.run_inputs.clear();
            if let FileOp::Copy(op) = op {
                let parents = op.parents;
                op.sources.iter_mut().for_each(|source| without_place(source, parents));
            }
        }
    }
    let mut layer = whole.clone();
    if matches!(&layer.op, Operation::File(FileOp::Copy(op)) if op.link) {
        layer.parent = Below::Base(String::new());
    }
    ((layer, digests.to_vec()), (whole, digests.to_vec()))
}

/// Where files come from does not matter, only which they are.
fn without_place(source: &mut CopySource, parents: bool) {
    match source {
        CopySource::Path(path) if !parents => {
            let name = path.split('/').filter(|part| !part.is_empty()).next_back();
            *path = name.unwrap_or_default().to_owned();
        }
        CopySource::Path(_) | CopySource::Inline { .. } => {}
        CopySource::Http { url, .. } => url.clear(),
        CopySource::Git { url, source } => {
            url.clear();
            source.remote.clear();
        }
    }
}

fn without_names(mount: &mut Mount) {
    match &mut mount.kind {
        MountKind::Bind { source, .. } => source.clear(),
        MountKind::Cache { id, sharing, seed, .. } => {
            id.clear();
            *sharing = Sharing::Shared;
            if let Some((_, path)) = seed {
                path.clear();
            }
        }
        MountKind::Tmpfs { size } => *size = Some(size.unwrap_or_default()),
        MountKind::Secret { required, .. } | MountKind::Ssh { required, .. } => {
            *required = false;
        }
        MountKind::Script { .. } => {}
    }
}
