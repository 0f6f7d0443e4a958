//! Listening, connections, and the end.

mod connection;
mod patient;
mod tls;

use crate::mirror::{Mirror, Upstream};
use crate::password::{PasswordError, Passwords};
use crate::registry::Registry;
use crate::sessions::Sessions;
use crate::storage::{Storage, StorageError};
use fs_err::File;
use hyper_util::server::graceful::GracefulShutdown;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

pub use connection::Exchange;
pub use tls::TlsError;

/// Connections at a time; further ones wait to be accepted.
const CONNECTIONS: usize = 512;
/// What goes on when the server is to stop has so long to end.
const LAST_CALL: Duration = Duration::from_secs(10);

/// Called with every request that was answered.
pub type Observer = Arc<dyn Fn(&Exchange) + Send + Sync>;

/// What is served, to whom.
#[derive(Clone)]
pub struct Options {
    /// The registry's directory; made when it is missing.
    pub root: PathBuf,
    /// Where to listen. Port 0: any free one.
    pub address: SocketAddr,
    /// Refuse to change anything.
    pub read_only: bool,
    /// Names and passwords, as `htpasswd -B` writes them.
    pub htpasswd: Option<PathBuf>,
    /// Certificate chain and private key in PEM: speak TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The registry to mirror.
    pub upstream: Option<Arc<dyn Upstream>>,
    /// Bytes that a mirror keeps of what it fetched; `None`: all.
    pub mirror_limit: Option<u64>,
    /// Hears of every request.
    pub observer: Option<Observer>,
}

impl Options {
    /// An open registry in a directory.
    pub fn new(root: impl Into<PathBuf>, address: SocketAddr) -> Self {
        Self {
            root: root.into(),
            address,
            read_only: false,
            htpasswd: None,
            tls: None,
            upstream: None,
            mirror_limit: None,
            observer: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("root", &self.root)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Why the registry cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its directory.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file of passwords.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// Certificate or key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address.
    #[error("cannot listen on {address}")]
    Listen {
        /// As it was given.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Threads or timers.
    #[error("cannot start the server's threads")]
    Runtime(#[source] io::Error),
}

/// A registry that listens.
pub struct Server {
    runtime: tokio::runtime::Runtime,
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<connection::Shared>,
    stop: Handle,
    /// Keeps other servers away from the directory.
    _serving: File,
}

/// Stops a server from another thread.
#[derive(Clone, Debug)]
pub struct Handle(Arc<watch::Sender<bool>>);

impl Handle {
    /// No new connections; what is under way may end.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Opens the directory and listens. Clients can connect from now on; they are answered when `run` is called.
    pub fn bind(options: Options) -> Result<Self, ServeError> {
        let storage = Storage::open(&options.root)?;
        let serving = storage.serve()?;
        let passwords = options.htpasswd.as_deref().map(Passwords::read).transpose()?;
        let tls = options.tls.as_ref().map(|(chain, key)| tls::acceptor(chain, key)).transpose()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("registry")
            .build()
            .map_err(ServeError::Runtime)?;
        let listen = |source| ServeError::Listen { address: options.address, source };
        let listener = runtime.block_on(TcpListener::bind(options.address)).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let registry = Registry {
            storage,
            sessions: Sessions::default(),
            mirror: options.upstream.map(|upstream| Mirror::new(upstream, options.mirror_limit)),
            read_only: options.read_only,
            passwords,
            changing: Mutex::new(()),
        };
        let shared = connection::Shared { registry: Arc::new(registry), observer: options.observer, tls };
        let stop = Handle(Arc::new(watch::Sender::new(false)));
        Ok(Self { runtime, listener, address, shared: Arc::new(shared), stop, _serving: serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What stops it.
    pub fn handle(&self) -> Handle {
        self.stop.clone()
    }

    /// Serves until it is stopped.
    pub fn run(self) {
        let Self { runtime, listener, shared, stop, .. } = self;
        runtime.block_on(accept(listener, shared, stop.0.subscribe()));
        // Threads that read from an upstream wait for the network; nobody waits for them.
        runtime.shutdown_background();
    }
}

async fn accept(listener: TcpListener, shared: Arc<connection::Shared>, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    loop {
        let next = async {
            let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
            listener.accept().await.map(|accepted| (accepted, permit))
        };
        let accepted = tokio::select! {
            // An error: whoever could stop the server is gone.
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = next => accepted,
        };
        match accepted {
            Ok(((stream, peer), permit)) => {
                let watcher = graceful.watcher();
                tokio::spawn(connection::serve(stream, peer, shared.clone(), watcher, permit));
            }
            // Out of descriptors, or a client that left at once: the next attempt may do better.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(LAST_CALL, graceful.shutdown()).await;
}
