//! A host, containers and an outside machine, made of network namespaces.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use strata_runtime::net::{Bridge, BridgeConfig, Endpoint, EndpointConfig, Namespace, NetError};
use tempfile::TempDir;

/// How long a connection may take before a test calls it lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// A host of its own.
pub(crate) struct Host {
    state: TempDir,
}

/// Runs `test` with a fresh network namespace as its host, or says why not.
pub(crate) fn on_a_host(test: impl FnOnce(&Host) + Send) {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root to make network namespaces");
        return;
    }
    let host = Host { state: tempfile::tempdir().unwrap() };
    let namespace = Namespace::create().unwrap();
    namespace
        .enter(|| {
            test(&host);
            Ok(())
        })
        .unwrap();
}

impl Host {
    pub(crate) fn config(&self, name: &str) -> BridgeConfig {
        BridgeConfig { name: name.to_owned(), state: self.state.path().to_owned() }
    }

    pub(crate) fn bridge(&self, name: &str) -> Bridge {
        Bridge::ensure(&self.config(name)).unwrap()
    }
}

/// A container, as far as the network can tell.
pub(crate) struct Container {
    pub(crate) namespace: Namespace,
    pub(crate) endpoint: Endpoint,
}

impl Container {
    pub(crate) fn on(bridge: &Bridge) -> Self {
        let namespace = Namespace::create().unwrap();
        let endpoint = Endpoint::attach(bridge, &namespace, None, &EndpointConfig::default()).unwrap();
        Self { namespace, endpoint }
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.endpoint.address()
    }

    /// Runs `work` inside.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.enter(|| Ok(work())).unwrap()
    }

    /// Serves `port` inside: every connection gets the client's address on a line, then its own bytes back.
    pub(crate) fn echo(&self, port: u16) {
        let listener = self.inside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        serve_echo(listener);
    }

    /// Serves UDP `port` inside: every datagram comes back with the client's address in front.
    pub(crate) fn echo_udp(&self, port: u16) {
        let socket = self.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                let mut answer = format!("{}\n", client.ip()).into_bytes();
                answer.extend_from_slice(&buffer[..length]);
                let _ = socket.send_to(&answer, client);
            }
        });
    }
}

/// The server threads end with the process.
pub(crate) fn serve_echo(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let client = stream.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
                let _ = stream.write_all(format!("{client}\n").as_bytes());
                let mut received = Vec::new();
                // Answers only after the client's half-close: so the answer proves that it was passed on.
                if stream.read_to_end(&mut received).is_ok() {
                    let _ = stream.write_all(&received);
                }
            });
        }
    });
}

/// Sends `message` to an echo server; returns the client address it saw.
pub(crate) fn call(address: impl Into<SocketAddr>, message: &[u8]) -> Result<IpAddr, std::io::Error> {
    let mut stream = TcpStream::connect_timeout(&address.into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut sender = stream.try_clone()?;
    let mut answer = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _ = sender.write_all(message);
            let _ = sender.shutdown(Shutdown::Write);
        });
        stream.read_to_end(&mut answer)
    })?;
    let end = answer.iter().position(|byte| *byte == b'\n').ok_or(std::io::ErrorKind::UnexpectedEof)?;
    assert!(
        answer[end + 1..] == *message,
        "{} bytes came back, {} were sent",
        answer.len() - end - 1,
        message.len()
    );
    Ok(String::from_utf8_lossy(&answer[..end]).parse().expect("the echo server names its client"))
}

/// The same over UDP.
pub(crate) fn call_udp(address: impl Into<SocketAddr>, message: &[u8]) -> Result<IpAddr, std::io::Error> {
    let address = address.into();
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { "::".parse().unwrap() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(address)?;
    socket.send(message)?;
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer)?;
    let end = buffer.iter().position(|byte| *byte == b'\n').expect("the echo server names its client");
    assert_eq!(&buffer[end + 1..length], message);
    Ok(String::from_utf8_lossy(&buffer[..end]).parse().unwrap())
}

/// Runs a tool (`ip`, `nft`) in the calling thread's namespace: the judge, never the means.
pub(crate) fn tool(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output =
        Command::new(words.next().unwrap()).args(words).output().expect("the test machine has this tool");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Everything a test could have changed on its host. Counters of rules are left out.
pub(crate) fn snapshot() -> String {
    let links = tool("ip -o link");
    let names: Vec<&str> = links.lines().filter_map(|line| line.split(": ").nth(1)).collect();
    let parts = [
        names.join("\n"),
        tool("ip -o -4 addr show scope global")
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|l| l.1)
            .collect(),
        // A new cable's carrier comes a moment later.
        tool("ip route").replace(" linkdown", ""),
        tool("nft -s list ruleset"),
    ];
    parts.join("\n")
}

/// A machine beside the host, on a cable of its own: 198.51.100.1/24 is the host, 198.51.100.2 the machine.
/// The host's default route leads there, with this MTU.
pub(crate) fn outside(mtu: u32) -> Namespace {
    use std::os::fd::{AsFd, AsRawFd};
    let outside = Namespace::create().unwrap();
    tool(&format!("ip link add up0 mtu {mtu} type veth peer name out0 mtu {mtu}"));
    tool(&format!("ip link set out0 netns /proc/{}/fd/{}", std::process::id(), outside.as_fd().as_raw_fd()));
    tool("ip addr add 198.51.100.1/24 dev up0");
    tool("ip link set up0 up");
    outside
        .enter(|| {
            tool("ip addr add 198.51.100.2/24 dev out0");
            tool("ip link set out0 up");
            Ok::<_, NetError>(())
        })
        .unwrap();
    tool("ip route add default via 198.51.100.2");
    outside
}
