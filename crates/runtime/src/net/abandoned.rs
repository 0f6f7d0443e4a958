//! Bridges whose store was deleted: nobody else would ever remove them, and each keeps a subnet. The alias of a bridge says
//! where its store keeps its record; a bridge without cables whose record's directory is gone belongs to nobody.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::netlink::{Batch, Refusal, Socket};
use super::route::{self, Link};
use super::{NetError, foreign, table};

/// How the alias of every bridge of ours begins.
const MARK: &str = "strata";
/// IFALIASZ without the terminating zero.
const LONGEST: usize = 255;

/// The alias of a bridge whose record is kept in `state`.
pub(super) fn alias(state: &Path) -> String {
    let path = std::path::absolute(state).unwrap_or_else(|_| state.to_owned());
    match path.to_str() {
        Some(path) if MARK.len() + 1 + path.len() <= LONGEST => format!("{MARK} {path}"),
        // Then it is ours, and stays.
        _ => MARK.to_owned(),
    }
}

/// Whether a link is a bridge of any store.
pub(super) fn is_ours(link: &Link) -> bool {
    link.kind == "bridge" && (link.alias == MARK || state_of(link).is_some())
}

fn state_of(link: &Link) -> Option<PathBuf> {
    link.alias.strip_prefix(MARK)?.strip_prefix(' ').map(PathBuf::from)
}

/// Removes them, with their tables and rules. How many there were.
///
/// # Errors
///
/// What the kernel refused.
pub(super) fn sweep(route: &Socket, filter: &Socket) -> Result<usize, NetError> {
    let links = route::links(route)?;
    let is_abandoned = |link: &&Link| {
        let gone = state_of(link).is_some_and(|state| matches!(state.try_exists(), Ok(false)));
        gone && is_ours(link) && !links.iter().any(|port| port.master == link.index)
    };
    let mut count = 0;
    for link in links.iter().filter(is_abandoned) {
        foreign::withdraw(filter, &link.name)?;
        table::remove(filter, &link.name)?;
        let mut batch = Batch::new();
        route::delete_link(&mut batch, link.index);
        match route.execute(batch) {
            // Another process was faster.
            Ok(()) | Err(Refusal { errno: Errno::NODEV, .. }) => count += 1,
            Err(refusal) => return Err(refusal.into()),
        }
    }
    Ok(count)
}
