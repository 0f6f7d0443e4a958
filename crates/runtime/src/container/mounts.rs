//! All mounts of a container: which, in what order, and the places they need in its root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use super::StartError;
use super::command::{c_string, relative};
use super::devfs;
use super::plan::{NewFs, Op, Step};
use crate::cgroup::Layout;
use crate::rootdir::{self, TargetKind};
use crate::spec::{ContainerSpec, Mount, Propagation};
use crate::stubs::Stubs;
use crate::sys::{self, MountAttr};

/// The container's root, attached nowhere.
pub(super) struct Root {
    pub(super) mount: OwnedFd,
    /// Where its changes appear on the host.
    pub(super) upper: PathBuf,
}

const NOSUID_NODEV_NOEXEC: u32 =
    (libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC) as u32;

const MS_SLAVE: u64 = 1 << 19;
const MS_PRIVATE: u64 = 1 << 18;

/// The mounts, prepared.
pub(super) struct Mounts {
    /// In the order of mounting.
    pub(super) steps: Vec<Step>,
    pub(super) stubs: Stubs,
    /// The container's own devpts, for a terminal.
    pub(super) devpts: Option<OwnedFd>,
    /// The null device to use for closed streams.
    pub(super) null: OwnedFd,
    /// `/dev` is ours, not a bind of the user's.
    pub(super) own_dev: bool,
    /// Some bind wants mounts of the host to arrive.
    pub(super) any_shared: bool,
    /// Destinations, relative to the root.
    destinations: Vec<PathBuf>,
}

impl Mounts {
    /// Whether `path`, relative to the root, lies in a mount.
    pub(super) fn covers(&self, path: &Path) -> bool {
        self.destinations.iter().any(|dest| path.starts_with(dest))
    }
}

/// Collects the mounts; targets of later ones are made inside earlier ones.
struct Builder<'a> {
    root: &'a Root,
    steps: Vec<Step>,
    stubs: Stubs,
    /// Trees that targets can be made in: destination relative to the root, and its mount.
    trees: Vec<(PathBuf, OwnedFd)>,
    /// Destinations of file systems made by the child, in which nothing can be made.
    opaque: Vec<PathBuf>,
}

/// Opens every source and makes every target.
pub(super) fn prepare(spec: &ContainerSpec, root: &Root, layout: &Layout) -> Result<Mounts, StartError> {
    let mut user: Vec<(PathBuf, &Mount)> = spec
        .mounts
        .iter()
        .map(|mount| Ok((destination(mount)?, mount)))
        .collect::<Result<_, StartError>>()?;
    user.sort_by_key(|(dest, _)| dest.components().count());
    let replaced = |dest: &str| user.iter().any(|(user, _)| user == Path::new(dest));
    let mut builder =
        Builder { root, steps: Vec::new(), stubs: Stubs::default(), trees: Vec::new(), opaque: Vec::new() };
    builder.proc()?;
    let own_dev = !replaced("dev");
    let mut devpts = None;
    if own_dev {
        devpts = Some(builder.dev(spec, &replaced)?);
    }
    if !replaced("sys") {
        builder.sysfs(spec, layout, replaced("sys/fs/cgroup"))?;
    }
    builder.devices(spec, own_dev)?;
    let mut any_shared = false;
    for (dest, mount) in user {
        any_shared |=
            matches!(mount, Mount::Bind { propagation: Propagation::Slave | Propagation::Shared, .. });
        builder.user(&dest, mount)?;
    }
    if !own_dev && !spec.privileged {
        builder.check_null_of(spec)?;
    }
    let null = builder.null(own_dev)?;
    let mut destinations = vec!["proc".into(), "dev".into(), "sys".into()];
    destinations.extend(builder.trees.into_iter().map(|(dest, _)| dest));
    Ok(Mounts { steps: builder.steps, stubs: builder.stubs, devpts, null, own_dev, any_shared, destinations })
}

/// Normal form of a destination: relative to the root, without `.` and `..`.
fn destination(mount: &Mount) -> Result<PathBuf, StartError> {
    let refuse = |reason: &str| StartError::Mount {
        source_text: describe(mount),
        dest: mount.dest().to_owned(),
        reason: reason.to_owned(),
    };
    if !mount.dest().is_absolute() {
        return Err(refuse("mount path must be absolute"));
    }
    let mut dest = PathBuf::new();
    for component in mount.dest().components() {
        match component {
            Component::Normal(name) => dest.push(name),
            Component::ParentDir => {
                dest.pop();
            }
            _ => {}
        }
    }
    if dest.as_os_str().is_empty() {
        return Err(refuse("destination can't be '/'"));
    }
    if dest.starts_with("proc") {
        return Err(refuse("/proc belongs to the container's own processes"));
    }
    Ok(dest)
}

fn describe(mount: &Mount) -> String {
    match mount {
        Mount::Bind { source, .. } => source.display().to_string(),
        Mount::Tmpfs { .. } => "a tmpfs".to_owned(),
    }
}

impl Builder<'_> {
    fn proc(&mut self) -> Result<(), StartError> {
        self.target(Path::new("proc"), TargetKind::Directory)?;
        self.new_fs("proc", &[], NOSUID_NODEV_NOEXEC, "proc", false)?;
        self.steps.push(Step { op: Op::OpenProc, what: "/proc".into() });
        Ok(())
    }

    /// `/dev` with pts, shm and mqueue. Returns the devpts.
    fn dev(&mut self, spec: &ContainerSpec, replaced: &dyn Fn(&str) -> bool) -> Result<OwnedFd, StartError> {
        let failed = |what: &'static str| {
            move |source: Errno| StartError::Kernel { what: format!("make {what}"), source }
        };
        let dev = devfs::dev(spec.terminal, spec.privileged).map_err(failed("/dev"))?;
        self.target(Path::new("dev"), TargetKind::Directory)?;
        let tree = dev.try_clone().map_err(|_| failed("/dev")(Errno::MFILE))?;
        self.attach(dev, Path::new("dev"), true)?;
        self.trees.push(("dev".into(), tree));
        let devpts = devfs::devpts().map_err(failed("/dev/pts"))?;
        let mounted = devpts.try_clone().map_err(|_| failed("/dev/pts")(Errno::MFILE))?;
        self.attach(mounted, Path::new("dev/pts"), true)?;
        self.opaque.push("dev/pts".into());
        if !replaced("dev/shm") {
            let size = spec.shm_size.to_string();
            let attributes = MountAttrFlags::from_bits_retain(NOSUID_NODEV_NOEXEC);
            let shm =
                devfs::detached("tmpfs", &[("source", "shm"), ("mode", "1777"), ("size", &size)], attributes)
                    .map_err(failed("/dev/shm"))?;
            self.attach(shm, Path::new("dev/shm"), true)?;
        }
        if !replaced("dev/mqueue") {
            self.new_fs("mqueue", &[], NOSUID_NODEV_NOEXEC, "dev/mqueue", true)?;
        }
        Ok(devpts)
    }

    /// Nodes in our own `/dev`; elsewhere the host's, since file systems of images need not allow any.
    fn devices(&mut self, spec: &ContainerSpec, own_dev: bool) -> Result<(), StartError> {
        for device in &spec.devices {
            match device.path.strip_prefix("/dev") {
                Ok(below) if own_dev => {
                    let dev = self.trees.iter().find(|(at, _)| at == Path::new("dev"));
                    let (_, dev) = dev.expect("our own /dev was made before");
                    devfs::add_device(dev.as_fd(), below, device).map_err(|source| StartError::Mount {
                        source_text: device.host_path.display().to_string(),
                        dest: device.path.clone(),
                        reason: source.to_string(),
                    })?;
                }
                _ => {
                    let bind = Mount::bind(&device.host_path, &device.path, false);
                    self.user(&destination(&bind)?, &bind)?;
                }
            }
        }
        Ok(())
    }

    /// `/sys`, and the container's own view of its cgroups.
    fn sysfs(
        &mut self,
        spec: &ContainerSpec,
        layout: &Layout,
        cgroup_replaced: bool,
    ) -> Result<(), StartError> {
        let mode = if spec.privileged { 0 } else { libc::MOUNT_ATTR_RDONLY as u32 };
        self.target(Path::new("sys"), TargetKind::Directory)?;
        self.new_fs("sysfs", &[], NOSUID_NODEV_NOEXEC | mode, "sys", false)?;
        self.opaque.push("sys".into());
        if cgroup_replaced {
            return Ok(());
        }
        if layout.is_v2_only() {
            return self.new_fs("cgroup2", &[], NOSUID_NODEV_NOEXEC | mode, "sys/fs/cgroup", true);
        }
        self.cgroup_v1(layout, mode)
    }

    /// A tmpfs with one read-only mount per hierarchy, and links for controllers that share one.
    fn cgroup_v1(&mut self, layout: &Layout, mode: u32) -> Result<(), StartError> {
        let names: Vec<&[String]> = layout.v1_controllers().collect();
        if names.is_empty() {
            return Ok(());
        }
        let failed = |source: Errno| StartError::Kernel { what: "make /sys/fs/cgroup".into(), source };
        let attributes = MountAttrFlags::from_bits_retain(NOSUID_NODEV_NOEXEC);
        let tmpfs = devfs::detached("tmpfs", &[("mode", "755")], attributes).map_err(failed)?;
        let directory = |controllers: &[String]| controllers.join(",").trim_start_matches("name=").to_owned();
        for controllers in &names {
            let name = directory(controllers);
            rustix::fs::mkdirat(&tmpfs, &name, rustix::fs::Mode::from_raw_mode(0o755)).map_err(failed)?;
            for single in controllers.iter().filter(|_| controllers.len() > 1) {
                rustix::fs::symlinkat(&name, &tmpfs, single).map_err(failed)?;
            }
        }
        if mode != 0 {
            let attr = MountAttr { set: libc::MOUNT_ATTR_RDONLY, ..MountAttr::default() };
            sys::mount_setattr(tmpfs.as_fd(), false, &attr).map_err(failed)?;
        }
        self.attach(tmpfs, Path::new("sys/fs/cgroup"), true)?;
        for controllers in names {
            let options: Vec<(&str, &str)> = controllers
                .iter()
                .map(|name| name.strip_prefix("name=").map_or((name.as_str(), ""), |name| ("name", name)))
                .collect();
            let dest = format!("sys/fs/cgroup/{}", directory(controllers));
            self.new_fs("cgroup", &options, NOSUID_NODEV_NOEXEC | mode, &dest, true)?;
        }
        Ok(())
    }

    fn user(&mut self, dest: &Path, mount: &Mount) -> Result<(), StartError> {
        let failed = |reason: String| StartError::Mount {
            source_text: describe(mount),
            dest: mount.dest().to_owned(),
            reason,
        };
        let (fd, kind) = match mount {
            Mount::Bind { source, read_only, recursive, propagation, .. } => {
                open_bind(source, *read_only, *recursive, *propagation)
                    .map_err(|errno| failed(errno.to_string()))?
            }
            Mount::Tmpfs { size, mode, read_only, no_exec, .. } => {
                let tmpfs = new_tmpfs(*size, *mode, *read_only, *no_exec);
                (tmpfs.map_err(|errno| failed(errno.to_string()))?, TargetKind::Directory)
            }
        };
        self.target(dest, kind)?;
        let tree = fd.try_clone().map_err(|error| failed(error.to_string()))?;
        self.attach(fd, dest, false)?;
        self.trees.push((dest.to_owned(), tree));
        Ok(())
    }

    /// Makes `dest` in the innermost tree that covers it; a place in the root itself is noted as a stub.
    fn target(&mut self, dest: &Path, kind: TargetKind) -> Result<(), StartError> {
        if self.opaque.iter().any(|opaque| dest.starts_with(opaque)) {
            return Ok(());
        }
        let failed = |source: Errno| StartError::Mount {
            source_text: "something".into(),
            dest: Path::new("/").join(dest),
            reason: format!("the mount point cannot be made: {source}"),
        };
        let tree = self.trees.iter().rev().filter(|(at, _)| dest.starts_with(at));
        if let Some((at, tree)) = tree.max_by_key(|(at, _)| at.components().count()) {
            let below = dest.strip_prefix(at).unwrap_or(dest);
            return rootdir::ensure_target(tree.as_fd(), below, kind, &mut |_, _| {})
                .map(drop)
                .map_err(failed);
        }
        self.stubs.ensure(self.root.mount.as_fd(), &self.root.upper, dest, kind).map_err(failed)
    }

    fn attach(&mut self, mount: OwnedFd, dest: &Path, no_links: bool) -> Result<(), StartError> {
        let what = format!("mount at /{}", dest.display());
        let what = if no_links { format!("/{}", dest.display()) } else { what };
        let op = Op::Attach { mount, dest: c_string("mount destination", relative(dest))?, no_links };
        self.steps.push(Step { op, what });
        Ok(())
    }

    fn new_fs(
        &mut self,
        kind: &str,
        options: &[(&str, &str)],
        attributes: u32,
        dest: &str,
        optional: bool,
    ) -> Result<(), StartError> {
        let options = options
            .iter()
            .map(|(key, value)| Ok((c_string("mount option", key)?, c_string("mount option", value)?)))
            .collect::<Result<_, StartError>>()?;
        let fs = NewFs {
            kind: c_string("file system", kind)?,
            options,
            attributes,
            dest: c_string("mount destination", dest)?,
            optional,
        };
        self.steps.push(Step { op: Op::MountFs(fs), what: format!("/{dest}") });
        Ok(())
    }

    /// Files are hidden behind the container's null device: a `/dev` of the user's has to have one.
    fn check_null_of(&self, spec: &ContainerSpec) -> Result<(), StartError> {
        let Some((_, dev)) = self.trees.iter().rev().find(|(at, _)| at == Path::new("dev")) else {
            return Ok(());
        };
        let is_null = |stat: rustix::fs::Stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
                && stat.st_rdev == rustix::fs::makedev(1, 3)
        };
        if rustix::fs::statat(dev, "null", rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok_and(is_null) {
            return Ok(());
        }
        let mount =
            spec.mounts.iter().find(|mount| destination(mount).is_ok_and(|dest| dest == Path::new("dev")));
        Err(StartError::Mount {
            source_text: mount.map(describe).unwrap_or_default(),
            dest: "/dev".into(),
            reason: "it has no null device, which a container needs to hide paths of the host behind: make one with \
                     `mknod -m 666 null c 1 3`, or mount something below /dev instead"
                .to_owned(),
        })
    }

    fn null(&self, own_dev: bool) -> Result<OwnedFd, StartError> {
        let failed = |source: Errno| StartError::Kernel { what: "open the null device".into(), source };
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let dev = self.trees.iter().find(|(at, _)| own_dev && at == Path::new("dev"));
        match dev {
            Some((_, dev)) => rustix::fs::openat(dev, "null", flags, rustix::fs::Mode::empty()),
            None => rustix::fs::openat(rustix::fs::CWD, "/dev/null", flags, rustix::fs::Mode::empty()),
        }
        .map_err(failed)
    }
}

/// A detached copy of the mount tree at `source`, with its own flags.
fn open_bind(
    source: &Path,
    read_only: bool,
    recursive: bool,
    propagation: Propagation,
) -> Result<(OwnedFd, TargetKind), Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let mount = open_tree(rustix::fs::CWD, source, flags)?;
    let attr = MountAttr {
        set: if read_only { libc::MOUNT_ATTR_RDONLY } else { 0 },
        propagation: match propagation {
            Propagation::Private => MS_PRIVATE,
            Propagation::Slave => MS_SLAVE,
            Propagation::Shared => 0,
        },
        ..MountAttr::default()
    };
    sys::mount_setattr(mount.as_fd(), recursive, &attr)?;
    let kind = kind_of(mount.as_fd())?;
    Ok((mount, kind))
}

fn kind_of(fd: BorrowedFd<'_>) -> Result<TargetKind, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    Ok(if directory { TargetKind::Directory } else { TargetKind::File })
}

fn new_tmpfs(size: Option<u64>, mode: Option<u32>, read_only: bool, no_exec: bool) -> Result<OwnedFd, Errno> {
    let mode = format!("{:o}", mode.unwrap_or(0o1777));
    let size = size.map(|size| size.to_string());
    let mut options = vec![("mode", mode.as_str())];
    options.extend(size.as_deref().map(|size| ("size", size)));
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    if read_only {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    if no_exec {
        attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC;
    }
    devfs::detached("tmpfs", &options, attributes)
}
