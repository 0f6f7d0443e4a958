//! Network namespaces, pinned by a descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::NetError;
use super::netlink::{Batch, Socket};
use super::route;

/// A network namespace with its loopback interface up. It lives as long as this value, a duplicate of its
/// descriptor, a process inside or a socket opened inside; when the last one goes, the kernel takes its
/// interfaces away without anybody waiting for it.
#[derive(Debug)]
pub struct Namespace {
    fd: OwnedFd,
    /// Opened inside, so that configuring the namespace needs no thread to enter it.
    socket: Socket,
}

impl Namespace {
    /// Creates an empty namespace. IPv6 is off on every interface but the loopback: a bridge has no IPv6
    /// network, and a router advertisement from a container must not make one (CVE-2020-13401).
    ///
    /// # Errors
    ///
    /// [`NetError::Kernel`] without the privilege to make namespaces; [`NetError::File`] if `/proc` is not
    /// usable.
    pub fn create() -> Result<Self, NetError> {
        on_new_thread(|| {
            unshare_network()?;
            let fd = current()?;
            let socket = Socket::route()?;
            let mut batch = Batch::new();
            route::change_link(&mut batch, route::LOOPBACK, None);
            socket.execute(batch)?;
            set_if_present("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")?;
            Ok(Self { fd, socket })
        })
    }

    /// Runs `work` on a thread inside the namespace. Sockets that it opens stay inside.
    ///
    /// # Errors
    ///
    /// [`NetError::Kernel`] if the namespace cannot be entered, or the error of `work`.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T, NetError> + Send) -> Result<T, NetError> {
        let namespace = self.fd.as_fd();
        on_new_thread(|| {
            move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
                .map_err(|errno| kernel("enter a network namespace", errno))?;
            work()
        })
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }
}

impl AsFd for Namespace {
    /// The descriptor to give to `setns`. It is closed on exec.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `unshare(CLONE_NEWNET)` for the calling thread.
fn unshare_network() -> Result<(), NetError> {
    // The replacement is unsafe because of CLONE_FILES, which is not used here.
    #[expect(deprecated, reason = "safe for every flag but FILES")]
    rustix::thread::unshare(UnshareFlags::NEWNET).map_err(|errno| kernel("create a network namespace", errno))
}

/// The network namespace of the calling thread.
fn current() -> Result<OwnedFd, NetError> {
    let file = fs_err::File::open("/proc/thread-self/ns/net")?;
    Ok(file.into_parts().0.into())
}

fn on_new_thread<T: Send>(work: impl FnOnce() -> Result<T, NetError> + Send) -> Result<T, NetError> {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, work)
            .map_err(|source| NetError::Kernel { action: "start a thread".to_owned(), source })?;
        match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn kernel(action: &str, errno: rustix::io::Errno) -> NetError {
    NetError::Kernel { action: action.to_owned(), source: errno.into() }
}

/// Writes a kernel setting that some kernels do not have (IPv6 switched off).
pub(super) fn set_if_present(path: &str, value: &str) -> Result<(), NetError> {
    match fs_err::write(path, value) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => Ok(other?),
    }
}
