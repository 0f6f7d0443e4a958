//! The texts of a container's `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` (`spec/build.md` section
//! 3).

use std::net::IpAddr;

use super::NetError;

/// What public resolvers stand in when the host has none that a container could reach.
const FALLBACK_SERVERS: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// `/etc/hostname`.
pub fn hostname_file(hostname: &str) -> String {
    format!("{hostname}\n")
}

/// `/etc/hosts`: the loopback names, then `extra` (`--add-host`), then the container's own names at its
/// address, if it has one.
pub fn hosts_file(own: Option<(IpAddr, &[&str])>, extra: &[(String, IpAddr)]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    for (name, address) in extra {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    if let Some((address, names)) = own {
        text.push_str(&format!("{address}\t{}\n", names.join(" ")));
    }
    text
}

/// The settings of a `resolv.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Name servers, in order, as written (an IPv6 one may have a zone).
    pub servers: Vec<String>,
    /// Search domains.
    pub search: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

impl ResolvConf {
    /// Reads a `resolv.conf`. As in the C library, the last `search` or `domain` line counts and the options
    /// add up; unknown lines are left out.
    pub fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => parsed.servers.extend(words.next()),
                Some("search" | "domain") => parsed.search = words.collect(),
                Some("options") => parsed.options.extend(words),
                _ => {}
            }
        }
        parsed
    }

    /// The host's own settings; those behind the stub of systemd-resolved, if there is one.
    ///
    /// # Errors
    ///
    /// [`NetError::File`] if a file exists but cannot be read; a missing one is empty.
    pub fn of_host() -> Result<Self, NetError> {
        let host = Self::read("/etc/resolv.conf")?;
        if !host.is_resolved_stub() {
            return Ok(host);
        }
        let behind = Self::read("/run/systemd/resolve/resolv.conf")?;
        Ok(if behind.servers.is_empty() { host } else { behind })
    }

    fn read(path: &str) -> Result<Self, NetError> {
        match fs_err::read_to_string(path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether every name server is the host's own stub of systemd-resolved. Then
    /// `/run/systemd/resolve/resolv.conf` has the true ones.
    pub fn is_resolved_stub(&self) -> bool {
        !self.servers.is_empty() && self.servers.iter().all(|server| server == "127.0.0.53")
    }

    /// What a container in a network of its own can use: no loopback servers, and no IPv6 ones, which an IPv4
    /// bridge does not reach; public ones if none is left.
    #[must_use]
    pub fn for_bridge(mut self) -> Self {
        self.servers
            .retain(|server| matches!(server.parse(), Ok(IpAddr::V4(address)) if !address.is_loopback()));
        if self.servers.is_empty() {
            self.servers = FALLBACK_SERVERS.map(str::to_owned).to_vec();
        }
        self
    }

    /// The settings with those of `--dns`, `--dns-search` and `--dns-option` in place of the host's, each
    /// where given. A search domain `.` stands for none.
    #[must_use]
    pub fn overridden(mut self, servers: &[IpAddr], search: &[String], options: &[String]) -> Self {
        if !servers.is_empty() {
            self.servers = servers.iter().map(IpAddr::to_string).collect();
        }
        if !search.is_empty() {
            self.search = search.iter().filter(|domain| *domain != ".").cloned().collect();
        }
        if !options.is_empty() {
            self.options = options.to_vec();
        }
        self
    }

    /// The file's text.
    pub fn render(&self) -> String {
        let mut text: String = self.servers.iter().map(|server| format!("nameserver {server}\n")).collect();
        for (key, words) in [("search", &self.search), ("options", &self.options)] {
            if !words.is_empty() {
                text.push_str(&format!("{key} {}\n", words.join(" ")));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_end_with_the_container_itself() {
        let extra = [("db".to_owned(), "10.0.0.9".parse().unwrap())];
        let own: &[&str] = &["web.example.org", "web"];
        let text = hosts_file(Some(("172.17.0.2".parse().unwrap(), own)), &extra);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "127.0.0.1\tlocalhost");
        assert_eq!(lines[6..], ["10.0.0.9\tdb", "172.17.0.2\tweb.example.org web"]);
        assert_eq!(hosts_file(None, &[]).lines().count(), 6);
        assert_eq!(hostname_file("web"), "web\n");
    }

    #[test]
    fn loopback_servers_are_filtered() {
        let host = "# comment\nnameserver 127.0.0.53\nnameserver 10.1.1.1 ; office\nnameserver ::1\nnameserver fe80::1%eth0\n\
                    domain old.org\nsearch a.org b.org\noptions ndots:2\noptions edns0\nsortlist 1.2.3.4\n";
        let parsed = ResolvConf::parse(host);
        assert!(!parsed.is_resolved_stub());
        let text = parsed.for_bridge().render();
        assert_eq!(text, "nameserver 10.1.1.1\nsearch a.org b.org\noptions ndots:2 edns0\n");
    }

    #[test]
    fn a_host_with_only_a_stub() {
        let stub = ResolvConf::parse("nameserver 127.0.0.53\noptions edns0 trust-ad\n");
        assert!(stub.is_resolved_stub());
        let text = stub.for_bridge().render();
        assert_eq!(text, "nameserver 8.8.8.8\nnameserver 8.8.4.4\noptions edns0 trust-ad\n");
        assert!(!ResolvConf::parse("").is_resolved_stub());
    }

    #[test]
    fn options_of_the_command_line_win() {
        let host = ResolvConf::parse("nameserver 10.1.1.1\nsearch a.org\n");
        let servers = ["127.0.0.1".parse().unwrap()];
        let changed = host.clone().overridden(&servers, &[".".to_owned()], &["ndots:1".to_owned()]);
        assert_eq!(changed.render(), "nameserver 127.0.0.1\noptions ndots:1\n");
        assert_eq!(host.clone().overridden(&[], &[], &[]), host);
    }
}
