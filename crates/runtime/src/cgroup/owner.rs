//! Whose groups are whose. The maker of a group holds a shared lock (flock) on its directory in the first hierarchy for as
//! long as it means to remove it; the kernel gives the lock back when the maker dies. A group without a lock is swept by the
//! store it belongs to, which knows its name; if that store was deleted, by any engine of root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, OFlags, flock, fstat, stat};

use super::{Layout, PARENTS, make_group, open, remove_children};

/// How often a group that was swept between its making and its locking is made again.
const ATTEMPTS: usize = 3;

/// Makes the group `id` and locks it. `None` where that cannot be done: then it is only younger than what is swept.
pub(super) fn own(parent: &Path, id: &str) -> Option<OwnedFd> {
    for _ in 0..ATTEMPTS {
        let path = make_group(parent, id)?;
        let Ok(directory) = open(&path, OFlags::RDONLY | OFlags::DIRECTORY) else { continue };
        let locked = flock(directory.as_fd(), FlockOperation::NonBlockingLockShared).is_ok();
        let still_there = || Some(stat(&path).ok()?.st_ino == fstat(&directory).ok()?.st_ino);
        if locked && still_there() == Some(true) {
            return Some(directory);
        }
    }
    None
}

/// Removes the groups that nobody owns and no process is in, and that are older than `age`: what killed engines left whose
/// stores are gone. Groups of engines that do not lock are young while they are empty. How many there were.
pub fn sweep(layout: &Layout, age: Duration) -> usize {
    let Some(first) = layout.first() else { return 0 };
    let others: Vec<&Path> = layout.roots().filter(|root| *root != first).collect();
    let mut count = 0;
    for parent in PARENTS {
        for path in old_groups(&first.join(parent), age) {
            let Ok(directory) = open(&path, OFlags::RDONLY | OFlags::DIRECTORY) else { continue };
            if flock(directory.as_fd(), FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            let Some(id) = path.file_name() else { continue };
            let elsewhere = others.iter().all(|root| remove(&root.join(parent).join(id)));
            count += usize::from(elsewhere && remove(&path));
        }
        // What a sweep that was killed left in the other hierarchies.
        for root in &others {
            let lost = old_groups(&root.join(parent), age);
            let lost = lost
                .into_iter()
                .filter(|path| path.file_name().is_some_and(|id| !first.join(parent).join(id).exists()));
            count += lost.filter(|path| remove(path)).count();
        }
    }
    count
}

fn old_groups(parent: &Path, age: Duration) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(parent) else { return Vec::new() };
    let now = SystemTime::now();
    let is_old = |entry: &fs_err::DirEntry| {
        let metadata = entry.metadata().ok()?;
        let since = now.duration_since(metadata.modified().ok()?).unwrap_or_default();
        Some(metadata.is_dir() && since >= age)
    };
    entries.flatten().filter(|entry| is_old(entry) == Some(true)).map(|entry| entry.path()).collect()
}

/// Whether the group is gone. One with a process in it, or below it, stays as it is.
fn remove(group: &Path) -> bool {
    if is_populated(group) {
        return false;
    }
    remove_children(group);
    matches!(rustix::fs::rmdir(group), Ok(()) | Err(rustix::io::Errno::NOENT))
}

fn is_populated(group: &Path) -> bool {
    let below = |entry: &fs_err::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    fs_err::read_to_string(group.join("cgroup.procs")).is_ok_and(|pids| !pids.is_empty())
        || fs_err::read_dir(group)
            .is_ok_and(|entries| entries.flatten().filter(below).any(|entry| is_populated(&entry.path())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{Cgroup, Devices};
    use crate::spec::Limits;

    /// The groups of an ID, in all hierarchies.
    fn groups(layout: &Layout, id: &str) -> Vec<PathBuf> {
        layout.roots().map(|root| root.join("strata").join(id)).filter(|path| path.exists()).collect()
    }

    #[test]
    fn what_nobody_owns_is_swept_and_nothing_else() {
        let layout = Layout::detect().unwrap();
        let id = |name: &str| format!("sweep-{name}-{}", std::process::id());
        let make =
            |name: &str| Cgroup::create(&layout, &id(name), &Limits::default(), Devices::Listed(&[])).ok();
        let Some(owned) = make("owned") else { return eprintln!("SKIP: cannot make cgroups") };
        if groups(&layout, &id("owned")).is_empty() {
            return eprintln!("SKIP: cannot make cgroups");
        }
        drop(make("left"));
        let everywhere = groups(&layout, &id("owned")).len();
        assert_eq!(groups(&layout, &id("left")).len(), everywhere);
        // Young ones may be those of an engine that does not lock: others on this machine are left alone, too.
        sweep(&layout, Duration::from_secs(3600));
        assert_eq!(groups(&layout, &id("left")).len(), everywhere, "too young");
        drop(make("busy"));
        let busy = groups(&layout, &id("busy"));
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        for group in &busy {
            fs_err::write(group.join("cgroup.procs"), sleeper.id().to_string()).unwrap();
        }
        for name in ["left", "owned", "busy"] {
            for group in groups(&layout, &id(name)) {
                age(&group);
            }
        }
        sweep(&layout, Duration::from_secs(3600));
        assert_eq!(groups(&layout, &id("left")), Vec::<PathBuf>::new());
        assert_eq!(groups(&layout, &id("owned")).len(), everywhere);
        assert_eq!(groups(&layout, &id("busy")), busy);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        busy.iter().for_each(|group| age(group));
        sweep(&layout, Duration::from_secs(3600));
        assert_eq!(groups(&layout, &id("busy")), Vec::<PathBuf>::new());
        owned.remove().unwrap();
    }

    /// Makes a group two hours old.
    fn age(group: &Path) {
        let then = SystemTime::now() - Duration::from_secs(7200);
        fs_err::File::open(group).unwrap().file().set_modified(then).unwrap();
    }
}
