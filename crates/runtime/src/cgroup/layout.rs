//! Which hierarchies this host has, read once from the mount table; names are not assumed (co-mounted controllers,
//! `name=systemd`, a version 2 tree without controllers).

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{Cgroup, CgroupError};
use crate::mount::{MountedAt, mount_at};

/// The hierarchies of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub(super) v1: Vec<Hierarchy>,
    pub(super) v2: Option<PathBuf>,
    /// Path of the version 2 mount's root within its hierarchy.
    v2_root: PathBuf,
}

/// One version 1 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// `cpu`, `cpuacct`, or `name=systemd`.
    pub(super) controllers: Vec<String>,
    pub(super) mount_point: PathBuf,
    /// Path of the mount's root within its hierarchy.
    root: PathBuf,
}

/// Filled from the parent before anything may join, and nothing here limits it: left alone.
const UNUSED: &str = "cpuset";

impl Layout {
    /// Looks at what is mounted: at the usual place, or else anywhere.
    ///
    /// # Errors
    /// Fails when the mount table cannot be read.
    pub fn detect() -> Result<Self, CgroupError> {
        if let Some(layout) = Self::at(Path::new("/sys/fs/cgroup")) {
            return Ok(layout);
        }
        let mounts = crate::mount::all_mounts().map_err(|error| CgroupError::File {
            action: "read",
            path: PathBuf::from("/proc/self/mountinfo"),
            source: std::io::Error::other(error),
        })?;
        Ok(Self::from_mounts(&mounts))
    }

    /// Like [`Self::detect`], but looked at once per process: nobody mounts hierarchies elsewhere while containers run.
    ///
    /// # Errors
    /// Fails when the mount table cannot be read.
    pub fn of_host() -> Result<&'static Self, CgroupError> {
        static LAYOUT: OnceLock<Layout> = OnceLock::new();
        match LAYOUT.get() {
            Some(layout) => Ok(layout),
            None => Self::detect().map(|layout| LAYOUT.get_or_init(|| layout)),
        }
    }

    /// The hierarchies mounted at `place` or, for version 1, in it. `None` if there are none, or if this kernel cannot tell
    /// without printing the whole mount table, which takes milliseconds where many layers are mounted.
    fn at(place: &Path) -> Option<Self> {
        let mut mounts = vec![mount_at(place)?];
        if mounts[0].fs_type != "cgroup2" {
            let mut names: Vec<_> =
                fs_err::read_dir(place).ok()?.flatten().map(|entry| entry.path()).collect();
            names.sort();
            mounts = names.iter().filter_map(|path| mount_at(path)).collect();
        }
        // A version 1 hierarchy names its controllers in its options, which this kernel may not tell.
        if mounts.iter().any(|mount| mount.fs_type == "cgroup" && mount.super_options.is_empty()) {
            return None;
        }
        let layout = Self::from_mounts(&mounts);
        (layout != Self::default()).then_some(layout)
    }

    fn from_mounts(mounts: &[MountedAt]) -> Self {
        let mut layout = Self::default();
        for mount in mounts {
            match mount.fs_type.as_str() {
                "cgroup2" if layout.v2.is_none() => {
                    layout.v2 = Some(mount.target.clone());
                    layout.v2_root.clone_from(&mount.root);
                }
                "cgroup" => layout.add_v1(mount),
                _ => {}
            }
        }
        layout
    }

    fn add_v1(&mut self, mount: &MountedAt) {
        let flags = ["rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "favordynmods"];
        let controllers: Vec<String> = mount
            .super_options
            .split(',')
            .filter(|option| !flags.contains(option) && !option.starts_with("release_agent="))
            .map(str::to_owned)
            .collect();
        let known = self.v1.iter().any(|hierarchy| hierarchy.controllers == controllers);
        if controllers.is_empty() || known || controllers.iter().any(|name| name == UNUSED) {
            return;
        }
        let (mount_point, root) = (mount.target.clone(), mount.root.clone());
        self.v1.push(Hierarchy { controllers, mount_point, root });
    }

    /// Roots of all hierarchies.
    pub(super) fn roots(&self) -> impl Iterator<Item = &Path> {
        let v1 = self.v1.iter().map(|hierarchy| hierarchy.mount_point.as_path());
        self.v2.as_deref().into_iter().chain(v1)
    }

    /// The root of the hierarchy whose groups are locked.
    pub(super) fn first(&self) -> Option<&Path> {
        self.roots().next()
    }

    /// Whether only version 2 exists: then a container sees its own group as `/sys/fs/cgroup`.
    pub fn is_v2_only(&self) -> bool {
        self.v1.is_empty() && self.v2.is_some()
    }

    /// Controllers of every version 1 hierarchy.
    pub(crate) fn v1_controllers(&self) -> impl Iterator<Item = &[String]> {
        self.v1.iter().map(|hierarchy| hierarchy.controllers.as_slice())
    }

    /// From the lines `id:controllers:path` of `/proc/<pid>/cgroup`.
    pub(super) fn groups_of(&self, text: &str) -> Cgroup {
        let below = |mount: &Path, root: &Path, path: &str| {
            let path = Path::new(path);
            mount.join(
                path.strip_prefix(root)
                    .unwrap_or(path)
                    .strip_prefix("/")
                    .unwrap_or_else(|_| path.strip_prefix(root).unwrap_or(path)),
            )
        };
        let mut v1 = Vec::new();
        let mut v2 = None;
        for line in text.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            if controllers.is_empty() {
                v2 = self.v2.as_deref().map(|mount| below(mount, &self.v2_root, path));
                continue;
            }
            let names: Vec<String> = controllers.split(',').map(str::to_owned).collect();
            let same = |hierarchy: &&Hierarchy| names.iter().all(|name| hierarchy.controllers.contains(name));
            if let Some(hierarchy) = self.v1.iter().find(same) {
                v1.push((names, below(&hierarchy.mount_point, &hierarchy.root, path)));
            }
        }
        Cgroup::from_parts(v1, v2)
    }
}

/// Passes the controllers we limit with on from the root to the containers' parent. What the host does not allow is
/// noticed when a limit is set.
pub(super) fn enable_controllers(root: &Path, parent: &Path) {
    let wanted = ["memory", "pids", "cpu", "io"];
    let _ = fs_err::create_dir(parent);
    for directory in [root, parent] {
        let read = |name: &str| fs_err::read_to_string(directory.join(name)).unwrap_or_default();
        let (offered, enabled) = (read("cgroup.controllers"), read("cgroup.subtree_control"));
        let has = |list: &str, name: &str| list.split_ascii_whitespace().any(|word| word == name);
        for name in wanted.into_iter().filter(|name| has(&offered, name) && !has(&enabled, name)) {
            let _ = fs_err::write(directory.join("cgroup.subtree_control"), format!("+{name}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(fs_type: &str, target: &str, root: &str, super_options: &str) -> MountedAt {
        MountedAt {
            target: target.into(),
            root: root.into(),
            fs_type: fs_type.into(),
            source: fs_type.into(),
            super_options: super_options.into(),
        }
    }

    #[test]
    fn the_usual_place_holds_what_the_table_says() {
        let table = Layout::from_mounts(&crate::mount::all_mounts().unwrap());
        let Some(mut found) = Layout::at(Path::new("/sys/fs/cgroup")) else {
            eprintln!("SKIP: no hierarchies at the usual place, or a kernel without statmount");
            return;
        };
        found.v1.sort_by_key(|one| table.v1.iter().position(|other| other == one));
        assert_eq!(found, table);
    }

    #[test]
    fn hybrid_with_co_mounted_controllers() {
        let layout = Layout::from_mounts(&[
            mount("cgroup", "/c/cpu,cpuacct", "/", "rw,cpu,cpuacct"),
            mount("cgroup", "/c/cpuset", "/", "rw,cpuset"),
            mount("cgroup", "/c/systemd", "/docker/x", "rw,xattr,release_agent=/bin/x,name=systemd"),
            mount("cgroup2", "/c/unified", "/", "rw,nsdelegate"),
        ]);
        assert!(!layout.is_v2_only());
        let names: Vec<_> = layout.v1_controllers().map(|names| names.join("+")).collect();
        assert_eq!(names, ["cpu+cpuacct", "name=systemd"]);
        let group = layout
            .groups_of("9:name=systemd:/docker/x/strata/a\n2:cpu,cpuacct:/strata/a\n3:cpuset:/\n0::/\n");
        let paths: Vec<_> = group.v1.iter().map(|(_, path)| path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/c/systemd/strata/a", "/c/cpu,cpuacct/strata/a"]);
        assert_eq!(group.v2.as_deref(), Some(Path::new("/c/unified")));
    }

    #[test]
    fn version_two_alone() {
        let layout = Layout::from_mounts(&[mount("cgroup2", "/sys/fs/cgroup", "/", "rw")]);
        assert!(layout.is_v2_only());
        let group = layout.groups_of("0::/strata/b\n");
        assert_eq!(group.v2.as_deref(), Some(Path::new("/sys/fs/cgroup/strata/b")));
    }
}
