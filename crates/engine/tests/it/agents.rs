//! `--ssh` and `RUN --mount=type=ssh`.
use crate::world::{World, text};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use strata_engine::build::{SshForward, SshSource};

/// A key without a passphrase; `None`, with the reason, without OpenSSH.
fn key(directory: &Path) -> Option<PathBuf> {
    let path = directory.join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "of the test", "-f"])
        .arg(&path)
        .stdin(Stdio::null())
        .status();
    if made.is_ok_and(|status| status.success()) {
        return Some(path);
    }
    eprintln!("SKIP: no ssh-keygen (package openssh-client)");
    None
}

/// The host's `ssh-add`, with the libraries it needs, in an image: what a step would really do.
fn with_ssh(world: &World) -> Option<String> {
    let script = "for f in $(command -v ssh-add) $(ldd $(command -v ssh-add) | grep -o '/[^ ]*'); do \
                  mkdir -p \"$1/$(dirname $f)\" && cp -L $f \"$1/$f\"; done";
    let context = world.directory.path().join("ssh-add");
    let copied = Command::new("sh").args(["-c", script, "sh"]).arg(&context).status().ok()?;
    copied.success().then(|| context.display().to_string())
}

#[test]
fn steps_list_keys_and_change_nothing() {
    let Some(world) = World::with_base() else { return };
    let Some(key) = key(world.directory.path()) else { return };
    let Some(tools) = with_ssh(&world) else { return };
    // Its mode would make ssh-add refuse it, had it to open the file itself.
    use std::os::unix::fs::PermissionsExt;
    fs_err::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let file = "FROM busybox\nCOPY --from=tools / /\n\
        RUN --mount=type=ssh test \"$SSH_AUTH_SOCK\" = /run/buildkit/ssh_agent.0 && ssh-add -l | grep -q 'of the test'\n\
        RUN --mount=type=ssh,id=default,target=/a,mode=0622,uid=5,gid=6 \
            busybox stat -c '%a %u:%g %F' /a | grep -qx '622 5:6 socket' && test $SSH_AUTH_SOCK = /a\n\
        RUN --mount=type=ssh ! ssh-add -D 2>/dev/null; ssh-add -l | grep -q 'of the test'\n\
        RUN --mount=type=ssh,id=other test ! -e /run/buildkit/ssh_agent.0\n\
        RUN test ! -e /run/buildkit && test -z \"$SSH_AUTH_SOCK\"\n";
    let mut request = world.context(file, &[]);
    request.contexts.insert("tools".to_owned(), strata_engine::build::ContextSource::Directory(tools.into()));
    request.options.contexts.insert("tools".to_owned(), strata_engine::build::NamedContext::Files);
    request.surroundings.search_path = std::env::var_os("PATH");
    request.surroundings.ssh =
        vec![SshForward { id: "default".to_owned(), source: SshSource::Keys(vec![key]) }];
    let with = world.build(&request).unwrap().id;
    // Keys are no part of the cache's keys: without any the steps are not run again.
    request.surroundings.ssh.clear();
    assert_eq!(world.build(&request).unwrap().id, with);
    let left: Vec<_> = fs_err::read_dir(world.root().join("run")).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().contains("ssh")), "{left:?}");
    world.assert_sound();
}

#[test]
fn what_is_required_and_not_given_fails() {
    let Some(world) = World::with_base() else { return };
    let file = "FROM busybox\nRUN --mount=type=ssh,required true\n";
    let error = text(&world.build(&world.context(file, &[])).unwrap_err());
    assert!(error.ends_with("unset ssh forward key default"), "{error}");
}

#[test]
fn keys_that_cannot_be_used_are_told() {
    let Some(world) = World::with_base() else { return };
    let Some(_) = key(world.directory.path()) else { return };
    let no_key = world.directory.path().join("nonsense");
    fs_err::write(&no_key, "nonsense").unwrap();
    let mut request = world.context("FROM busybox\nRUN --mount=type=ssh true\n", &[]);
    request.surroundings.search_path = std::env::var_os("PATH");
    let keys = SshSource::Keys(vec![no_key.clone()]);
    request.surroundings.ssh = vec![SshForward { id: "default".to_owned(), source: keys }];
    let error = text(&world.build(&request).unwrap_err());
    assert!(error.contains(&format!("--ssh default: {} cannot be used", no_key.display())), "{error}");
    request.surroundings.search_path = Some("/nonexistent".into());
    let error = text(&world.build(&request).unwrap_err());
    assert!(error.contains("--ssh with a key file needs the program ssh-agent"), "{error}");
    world.assert_nothing_left();
}

/// `sshd` on loopback that takes one key; ended when dropped.
struct Sshd {
    process: std::process::Child,
    port: u16,
}

impl Sshd {
    fn new(directory: &Path, key: &Path) -> Option<Self> {
        let program = Path::new("/usr/sbin/sshd");
        if !program.exists() {
            eprintln!("SKIP: no sshd (package openssh-server)");
            return None;
        }
        // Where it shuts itself in; systemd makes it on ordinary systems.
        fs_err::create_dir_all("/run/sshd").unwrap();
        let host_key = directory.join("host_key");
        fs_err::copy(key, &host_key).unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs_err::set_permissions(&host_key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPermitRootLogin yes\nPidFile none\n",
            host_key.display(),
            key.with_extension("pub").display()
        );
        fs_err::write(directory.join("sshd_config"), config).unwrap();
        let process = Command::new(program)
            .args(["-D", "-e", "-f"])
            .arg(directory.join("sshd_config"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..300 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Some(Self { process, port })
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn git_over_ssh_uses_the_agent() {
    let Some(world) = World::with_base() else { return };
    let Some(key) = key(world.directory.path()) else { return };
    let Some(sshd) = Sshd::new(world.directory.path(), &key) else { return };
    let repository = crate::repositories::Repository::new(world.directory.path(), "project");
    let url = format!("ssh://root@127.0.0.1:{}{}/project.git", sshd.port, repository.root.display());
    let mut request =
        world.context(&format!("FROM busybox\nADD {url}#main /x\nRUN grep -qx one /x/file\n"), &[]);
    request.surroundings.search_path = std::env::var_os("PATH");
    request.surroundings.home = Some(world.directory.path().join("home"));
    let error = text(&world.build(&request).unwrap_err());
    assert!(error.contains("failed to read references") && error.contains("Permission denied"), "{error}");
    assert!(error.contains("--ssh default"), "{error}");
    request.surroundings.ssh =
        vec![SshForward { id: "default".to_owned(), source: SshSource::Keys(vec![key.clone()]) }];
    world.build(&request).unwrap();
    // A host that is known by another key is refused.
    let other = world.directory.path().join("other");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&other).status();
    assert!(made.unwrap().success());
    let public = fs_err::read_to_string(other.with_extension("pub")).unwrap();
    fs_err::create_dir_all(world.directory.path().join("home/.ssh")).unwrap();
    let known = format!("[127.0.0.1]:{} {public}", sshd.port);
    fs_err::write(world.directory.path().join("home/.ssh/known_hosts"), known).unwrap();
    let error = text(&world.build(&request).unwrap_err());
    assert!(error.contains("Host key verification failed"), "{error}");
    world.assert_nothing_left();
}
