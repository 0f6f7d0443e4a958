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
        RUN --mount=type=ssh,id=default,target=/a,mode=0622,uid=5,gid=6,required \
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
    let mut without = request.clone();
    let text = file.replace(",required", "");
    fs_err::write(without.dockerfile_path.as_ref().unwrap(), text).unwrap();
    without.surroundings.ssh.clear();
    assert_eq!(world.build(&without).unwrap().id, with);
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
