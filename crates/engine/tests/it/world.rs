//! A store of its own for every test, and what goes into it.
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use strata_engine::archive::ImportRequest;
use strata_engine::build::{BuildOptions, BuildReport, BuildRequest, ContextSource, NoCache};
use strata_engine::run::{NetworkMode, RunOutcome, RunRequest};
use strata_engine::{Access, Engine, EngineError, EngineOptions, LayerMode};

pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) mode: Option<LayerMode>,
    /// Reset at the end; false in a process that only visits.
    owner: bool,
}

impl World {
    /// An empty store; `None`, with the reason, without root.
    pub(crate) fn new() -> Option<Self> {
        if !is_root() {
            eprintln!("skipped: needs root");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("strata-it-").tempdir_in("/var/tmp").unwrap();
        Some(Self { directory, mode: None, owner: true })
    }

    /// The same with the `busybox` image in it.
    pub(crate) fn with_base() -> Option<Self> {
        let base = base()?;
        let world = Self::new()?;
        world.import(base, "busybox").unwrap();
        Some(world)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    pub(crate) fn engine(&self) -> Engine {
        self.open().unwrap()
    }

    pub(crate) fn open(&self) -> Result<Engine, EngineError> {
        Engine::open(options(&self.root(), self.mode))
    }

    pub(crate) fn import(&self, tar: Vec<u8>, name: &str) -> Result<strata_oci::ImageId, EngineError> {
        let request = ImportRequest {
            reference: Some(name.to_owned()),
            source: "test.tar".to_owned(),
            ..Default::default()
        };
        self.engine().import(Box::new(Cursor::new(tar)), &request)
    }

    /// A directory with these files and this Dockerfile.
    pub(crate) fn context(&self, dockerfile: &str, files: &[(&str, &[u8])]) -> BuildRequest {
        let path =
            tempfile::Builder::new().prefix("context-").tempdir_in(self.directory.path()).unwrap().keep();
        for (name, content) in files {
            fs_err::create_dir_all(path.join(name).parent().unwrap()).unwrap();
            fs_err::write(path.join(name), content).unwrap();
        }
        fs_err::write(path.join("Dockerfile"), dockerfile).unwrap();
        request(&path)
    }

    /// Builds on an engine of its own, as a process would.
    pub(crate) fn build(&self, request: &BuildRequest) -> Result<BuildReport, EngineError> {
        build(&self.engine(), request)
    }

    /// Runs a shell command in a new container; its exit code.
    pub(crate) fn run(&self, image: &str, command: &str) -> Result<RunOutcome, EngineError> {
        let request = RunRequest {
            image: image.to_owned(),
            command: ["sh", "-c", command].map(str::to_owned).to_vec(),
            remove: true,
            network: NetworkMode::None,
            ..Default::default()
        };
        self.engine().run(&request, &mut |_| ())
    }

    /// Every digest holds, nothing is left lying about, and the sum of the store is what `du` counts.
    pub(crate) fn assert_sound(&self) {
        let engine = self.engine();
        assert_eq!(engine.fsck().unwrap().problems, Vec::<String>::new());
        // Blocks are given when data reach the disk, which may be between the two counts: then they agree the next time.
        let both = || (engine.disk_usage().unwrap().physical, self.counted_by_du());
        let (usage, counted) = (0..5).map(|_| both()).find(|(usage, du)| usage == du).unwrap_or_else(both);
        assert_eq!(usage, counted, "bytes on the disk");
        drop(engine);
        self.assert_nothing_left();
    }

    fn counted_by_du(&self) -> u64 {
        let mut du = std::process::Command::new("du");
        let du = du.args(["-sx", "--block-size=1"]).arg(self.root()).output().unwrap();
        String::from_utf8_lossy(&du.stdout).split_whitespace().next().unwrap().parse().unwrap()
    }

    pub(crate) fn assert_nothing_left(&self) {
        for name in ["ingest", "trash"] {
            let left: Vec<_> =
                fs_err::read_dir(self.root().join(name)).unwrap().flatten().map(|e| e.path()).collect();
            assert_eq!(left, Vec::<PathBuf>::new());
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.owner
            && let Ok(engine) = self.open()
            && let Err(error) = engine.reset()
        {
            eprintln!("cannot reset the store of a test: {error}");
        }
    }
}

pub(crate) fn options(root: &Path, layer_mode: Option<LayerMode>) -> EngineOptions {
    EngineOptions { root: root.to_owned(), run_dir: root.join("run"), layer_mode, access: Access::Full }
}

pub(crate) fn request(context: &Path) -> BuildRequest {
    BuildRequest {
        context: ContextSource::Directory(context.to_owned()),
        dockerfile_path: Some(context.join("Dockerfile")),
        contexts: Default::default(),
        pull: false,
        tags: vec!["built:latest".parse().unwrap()],
        options: BuildOptions { network: strata_engine::build::Network::None, ..Default::default() },
        secrets: Vec::new(),
        surroundings: Default::default(),
        add_hosts: Vec::new(),
        device_directories: Vec::new(),
        annotations: Default::default(),
        annotated: Default::default(),
        layout_images: Vec::new(),
        shm_size: None,
        ulimits: Vec::new(),
        limits: Default::default(),
        keep_image: true,
        needs_layers: false,
        cache_from: Vec::new(),
        cache_to: Vec::new(),
        shape: Default::default(),
    }
}

pub(crate) fn uncached(mut request: BuildRequest) -> BuildRequest {
    request.options.no_cache = NoCache::All;
    request
}

pub(crate) fn build(engine: &Engine, request: &BuildRequest) -> Result<BuildReport, EngineError> {
    let text = fs_err::read_to_string(request.dockerfile_path.as_ref().unwrap())?;
    let dockerfile = strata_engine::build::parse(&text)?;
    let contexts = engine.open_contexts(request)?;
    engine.build(
        request,
        &contexts,
        &dockerfile,
        &|_: strata_engine::build::Event<'_>| (),
        &AtomicBool::new(false),
    )
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// An error and all its causes in one line, as the command line prints them.
pub(crate) fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

/// A tar in the making.
#[derive(Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    /// A member with whatever name: the `tar` crate refuses the names that are wanted here.
    pub(crate) fn raw(mut self, kind: tar::EntryType, name: &str, link: &str, data: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn device(mut self, kind: tar::EntryType, name: &str, (major, minor): (u32, u32)) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_entry_type(kind);
        header.set_mode(0o666);
        header.set_size(0);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.raw(tar::EntryType::Regular, name, "", data)
    }

    pub(crate) fn symlink(self, name: &str, link: &str) -> Self {
        self.raw(tar::EntryType::Symlink, name, link, b"")
    }

    pub(crate) fn hard_link(self, name: &str, link: &str) -> Self {
        self.raw(tar::EntryType::Link, name, link, b"")
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// The root file system of a static busybox; `None`, with the reason, where there is none.
pub(crate) fn base() -> Option<Vec<u8>> {
    let program = ["/bin/busybox", "/usr/bin/busybox"].iter().find_map(|path| fs_err::read(path).ok());
    // A dynamic program names its loader right after its headers; a static one may hold the name further on.
    let is_static =
        |bytes: &Vec<u8>| !bytes[..4096.min(bytes.len())].windows(4).any(|window| window == b"/ld-");
    let program = program.filter(is_static);
    let Some(program) = program else {
        eprintln!("skipped: needs a static busybox");
        return None;
    };
    let mut tar = Tar::default().file("bin/busybox", &program);
    for name in
        ["sh", "true", "echo", "cat", "sleep", "ls", "mkdir", "touch", "rm", "ln", "test", "dd", "grep"]
    {
        tar = tar.symlink(&format!("bin/{name}"), "busybox");
    }
    let tar = tar.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n").file("etc/group", b"root:x:0:\n");
    Some(tar.raw(tar::EntryType::Directory, "tmp", "", b"").end())
}
