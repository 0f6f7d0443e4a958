//! `registry serve|gc`: a registry of one's own.

use crate::failure::{Failure, Outcome, with_causes};
use crate::output::emit;
use crate::render::units;
use clap::{Args, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use strata_engine::registry::{Config, Registries};
use strata_engine::serve::{CollectOptions, Exchange, Handle, Options, Server, collect, upstream};

/// Serve a directory as a registry
#[derive(Subcommand, Debug)]
pub(crate) enum Registry {
    /// Serve a directory as a registry (OCI distribution 1.1) until Ctrl-C
    Serve(Serve),
    /// Remove what no repository of a registry's directory refers to any more
    Gc(Gc),
}

/// Serve a directory.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Directory of the registry; made when it is missing
    #[arg(long, value_name = "DIR", required = true)]
    root: PathBuf,
    /// Where to listen; port 0: any free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5000", value_parser = address)]
    addr: SocketAddr,
    /// Serve what this registry has: fetched when it is asked for first, kept, and served when the registry is away
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Of what a mirror fetched, keep at most so much (10GB, 512MiB): what was asked for longest ago goes first
    #[arg(long, value_name = "SIZE", requires = "mirror", value_parser = super::run::bytes)]
    max_size: Option<u64>,
    /// Refuse pushes and deletions
    #[arg(long)]
    read_only: bool,
    /// Let in only these names and passwords (a file that 'htpasswd -B' writes)
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
    /// Speak TLS with this certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Print a line per request [default: for those alone that fail on this side]
    #[arg(short, long)]
    verbose: bool,
}

/// Collect garbage.
#[derive(Args, Debug)]
pub(crate) struct Gc {
    /// Directory of the registry
    #[arg(long, value_name = "DIR", required = true)]
    root: PathBuf,
    /// Also remove manifests that no tag leads to
    #[arg(long)]
    untagged: bool,
    /// What is younger stays: its manifest may still be on its way
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    grace: Duration,
    /// Only print what would be removed
    #[arg(long)]
    dry_run: bool,
}

impl Registry {
    pub(crate) fn run(self) -> Outcome {
        match self {
            Self::Serve(args) => args.run(),
            Self::Gc(args) => args.run(),
        }
    }
}

impl Serve {
    fn run(self) -> Outcome {
        let scheme = if self.tls_cert.is_some() { "https" } else { "http" };
        let mut options = Options::new(&self.root, self.addr);
        options.read_only = self.read_only;
        options.htpasswd.clone_from(&self.htpasswd);
        options.tls = self.tls_cert.clone().zip(self.tls_key.clone());
        if let Some(url) = &self.mirror {
            let (registries, host) = mirrored(url)?;
            options.upstream = Some(upstream(registries, host));
            options.mirror_limit = self.max_size;
        }
        let verbose = self.verbose;
        options.observer = Some(Arc::new(move |exchange: &Exchange| {
            if verbose || exchange.trouble.is_some() {
                log(exchange);
            }
        }));
        let server = Server::bind(options).map_err(|error| Failure::new(with_causes(&error)))?;
        self.warn();
        stop_on_signal(server.handle())?;
        emit(&format!("Serving {} on {scheme}://{}\n", self.root.display(), server.address()))?;
        server.run();
        Ok(0)
    }

    /// What the operator may not have meant.
    fn warn(&self) {
        if self.addr.ip().is_loopback() {
            return;
        }
        let mut risks = Vec::new();
        match (&self.htpasswd, self.read_only) {
            (None, _) if self.mirror.is_some() => {
                risks.push("anybody who reaches it reads with your logins (--htpasswd)");
            }
            (None, false) => {
                risks.push("anybody who reaches it can read, push and delete (--htpasswd, --read-only)")
            }
            (None, true) => risks.push("anybody who reaches it can read all of it (--htpasswd)"),
            _ => {}
        }
        if self.tls_cert.is_none() {
            risks.push("passwords and content cross the network in clear (--tls-cert, --tls-key)");
        }
        for risk in risks {
            eprintln!("WARNING: {} is not the loopback interface: {risk}", self.addr);
        }
    }
}

/// The client and the name of the registry at a URL. One that is named with `http://` may speak it.
fn mirrored(url: &str) -> Result<(Registries, String), Failure> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let host = rest.trim_end_matches('/');
    if !matches!(scheme, "http" | "https") || host.is_empty() || host.contains(['/', '@', ' ', '?', '#']) {
        return Err(Failure::argument("mirror", url, "expected [http://|https://]HOST[:PORT]"));
    }
    // Docker Hub has a name in references that is none of its machines'.
    let host = match host {
        "registry-1.docker.io" | "index.docker.io" | "registry.hub.docker.com" => "docker.io",
        host => host,
    };
    let client = crate::registries::from_environment()?;
    let mut config: Config = client.config().clone();
    // A mirror of the registry may be this very server.
    config.mirrors.retain(|mirror| mirror.of != host);
    // Clients wait meanwhile, and try again themselves.
    config.retry.tries = 2;
    if scheme == "http" {
        config.insecure.push(host.to_owned());
    }
    Ok((Registries::new(config), host.to_owned()))
}

/// The first signal lets what is under way end, the second does not.
fn stop_on_signal(handle: Handle) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        let mut arrived = signals.forever();
        arrived.next();
        handle.stop();
        if let Some(signal) = arrived.next() {
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// One line per request; who reads it may be gone.
fn log(exchange: &Exchange) {
    let Exchange { peer, method, target, status, length, time, trouble } = exchange;
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    let milliseconds = time.as_secs_f64() * 1000.0;
    let trouble = trouble.as_ref().map(|trouble| format!(" {trouble}")).unwrap_or_default();
    let line = format!("{now} {peer} {method} {target} {status} {length} {milliseconds:.1}ms{trouble}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

impl Gc {
    fn run(self) -> Outcome {
        let options = CollectOptions { untagged: self.untagged, grace: self.grace, dry_run: self.dry_run };
        let collected = collect(&self.root, &options).map_err(|error| Failure::new(with_causes(&error)))?;
        let verb = if self.dry_run { "Would delete" } else { "Deleted" };
        let mut text = String::new();
        for manifest in &collected.manifests {
            text.push_str(&format!("{verb}: {manifest}\n"));
        }
        for blob in &collected.blobs {
            text.push_str(&format!("{verb}: {blob}\n"));
        }
        if collected.uploads > 0 {
            text.push_str(&format!("{verb}: {} unfinished uploads\n", collected.uploads));
        }
        text.push_str(&format!("Total reclaimed space: {}\n", units::size(collected.bytes)));
        emit(&text)?;
        Ok(0)
    }
}

/// `host:port`; `:port` is every interface, as Docker's registry has it.
fn address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    let expected = || "expected HOST:PORT".to_owned();
    if !full.contains(':') {
        return Err(expected());
    }
    let mut found = full.to_socket_addrs().map_err(|error| format!("expected HOST:PORT: {error}"))?;
    found.next().ok_or_else(expected)
}

/// `90s`, `1h30m`, `2 days`.
fn duration(text: &str) -> Result<Duration, String> {
    let expected = |_| "expected a duration such as 30m or 24h".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let duration: jiff::SignedDuration = text.parse().map_err(expected)?;
    Duration::try_from(duration).map_err(|_| "must not be negative".to_owned())
}
