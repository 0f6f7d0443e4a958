//! Resource limits and ownership of the standard streams.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, fchown, fstat};

use crate::container::error::StartError;
use crate::container::plan::{Op, Step};
use crate::resource::RESOURCES;
use crate::spec::Rlimit;
use crate::sys;
use crate::user::User;

/// Adds a step per limit, and gives those that must be the last ones: the child opens files until then, above numbers that
/// the engine has open. Raising a hard limit needs a capability the engine may lack: a default is then clamped to what is
/// possible, a limit the user asked for is an error.
pub(crate) fn add_rlimits(steps: &mut Vec<Step>, limits: &[Rlimit]) -> Result<Vec<Step>, StartError> {
    let mut last = Vec::new();
    let may_raise = rustix::thread::capabilities(None)
        .is_ok_and(|own| own.effective.contains(rustix::thread::CapabilitySet::SYS_RESOURCE));
    for limit in limits {
        let fail = |reason: String| StartError::Rlimit { name: limit.name.clone(), reason };
        let resource = RESOURCES
            .iter()
            .find(|(name, _)| *name == limit.name)
            .map(|(_, number)| *number)
            .ok_or_else(|| fail("unknown name".into()))?;
        if limit.soft > limit.hard {
            return Err(fail(format!("soft limit {} is above the hard limit {}", limit.soft, limit.hard)));
        }
        let (own_soft, own_hard) = sys::rlimit(resource).map_err(|errno| fail(errno.to_string()))?;
        let (mut soft, mut hard) = (limit.soft, limit.hard);
        if hard > own_hard && !may_raise {
            if limit.explicit {
                let asked = if hard == u64::MAX { "unlimited".to_owned() } else { hard.to_string() };
                return Err(fail(format!("{asked} is above the hard limit {own_hard} of this process")));
            }
            hard = own_hard;
            soft = soft.min(hard);
        }
        let step = |soft, hard| Step {
            op: Op::Rlimit { resource, soft, hard },
            what: format!("set ulimit {}", limit.name),
        };
        if resource != libc::RLIMIT_NOFILE {
            steps.push(step(soft, hard));
            continue;
        }
        // By then the privilege to raise it is gone, but not the one to lower it.
        if hard > own_hard {
            steps.push(step(own_soft, hard));
        }
        last.push(step(soft, hard));
    }
    Ok(last)
}

/// The limits of a running process, as steps for another one beside it.
pub(crate) fn rlimits_of(pid: i32) -> Vec<Rlimit> {
    let limit = |(name, resource): &(&str, u32)| {
        let (soft, hard) = sys::rlimit_of(pid, *resource).ok()?;
        Some(Rlimit { name: (*name).to_owned(), soft, hard, explicit: false })
    };
    RESOURCES.iter().filter_map(limit).collect()
}

/// Gives pipes and terminals to the container's user, so that it can open `/dev/stdout` again. What belongs to others
/// (a file, the null device) stays.
pub(crate) fn own_streams(stdio: &[OwnedFd; 3], user: &User) {
    for fd in stdio {
        let Ok(stat) = fstat(fd) else { continue };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Fifo {
            let _ = fchown(fd, Some(rustix::fs::Uid::from_raw(user.uid)), None);
        }
    }
}
