//! `login` and `logout` at a real registry.

use crate::terminal::Terminal;
use crate::world::World;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use strata_testbed::{Authority, Guard, Registry, Setup, USER};

fn guarded() -> Option<Registry> {
    Registry::with(&Setup { guard: Guard::Password, ..Setup::default() })
}

/// With a configuration of its own, and something on standard input.
fn run(world: &World, arguments: &[&str], input: &str) -> Output {
    let mut command = world.command(arguments);
    command.env("DOCKER_CONFIG", world.path("docker")).env("HOME", world.path("home"));
    command
        .env_remove("REGISTRY_AUTH_FILE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    // A command that fails before it reads is none of this line's business.
    let _ = child.stdin.take().expect("asked for").write_all(input.as_bytes());
    child.wait_with_output().expect("ends")
}

#[test]
fn passwords_are_kept_where_docker_and_skopeo_find_them() {
    let Some(registry) = guarded() else { return };
    let (world, host) = (World::new(), registry.host());
    let login = ["login", "-u", USER.0, "--password-stdin", &host];
    let wrong = run(&world, &login, "wrong\n");
    let text = String::from_utf8_lossy(&wrong.stderr);
    assert_eq!(wrong.status.code(), Some(1), "{text}");
    let want =
        format!("Error: login to {host} failed: unauthorized: authentication required; check the user name");
    assert!(text.starts_with(&want), "{text}");
    assert!(!world.path("docker/config.json").exists());

    let right = run(&world, &login, &format!("{}\r\n", USER.1));
    let (out, text) = (String::from_utf8_lossy(&right.stdout), String::from_utf8_lossy(&right.stderr));
    assert_eq!((right.status.code(), &*out), (Some(0), "Login Succeeded\n"), "{text}");
    assert!(text.contains("WARNING! Your credentials are stored unencrypted in '"), "{text}");
    let file = fs_err::read_to_string(world.path("docker/config.json")).expect("kept");
    assert_eq!(
        file,
        format!(
            "{{\n\t\"auths\": {{\n\t\t\"{host}\": {{\n\t\t\t\"auth\": \"dGVzdGVyOnBhc3M6d29yZA==\"\n\t\t}}\n\t}}\n}}"
        )
    );

    let again = run(&world, &["login", &host], "");
    let text = String::from_utf8_lossy(&again.stderr);
    assert!(
        again.status.success()
            && text.starts_with("Authenticating with existing credentials... [Username: tester]"),
        "{text}"
    );
    let skopeo = Command::new("skopeo")
        .args(["list-tags", "--tls-verify=false", &format!("docker://{host}/nosuch")])
        .env("REGISTRY_AUTH_FILE", world.path("docker/config.json"))
        .output();
    match skopeo {
        Err(_) => eprintln!("SKIP: no skopeo"),
        // It got in, and was told that there is nothing.
        Ok(run) => {
            assert!(String::from_utf8_lossy(&run.stderr).contains("404"), "{run:?}")
        }
    }

    for _ in 0..2 {
        let logout = run(&world, &["logout", &host], "");
        let want = format!("Removing login credentials for {host}\n");
        assert_eq!(
            (logout.status.code(), String::from_utf8_lossy(&logout.stdout).into_owned()),
            (Some(0), want)
        );
    }
    assert_eq!(
        fs_err::read_to_string(world.path("docker/config.json")).expect("there"),
        "{\n\t\"auths\": {}\n}"
    );
}

#[test]
fn wrong_requests() {
    let world = World::new();
    for (line, input, code, want) in [
        (
            "login -u a -p b --password-stdin",
            "",
            1,
            "conflicting options: cannot specify both --password and --password-stdin\n",
        ),
        ("login --password-stdin", "x", 1, "the --password-stdin option requires --username to be set\n"),
        ("login -u a --password-stdin", "\n", 1, "Error: password is empty\n"),
        ("login 127.0.0.1:1", "", 1, "Error: Cannot perform an interactive login from a non TTY device\n"),
        (
            "login -p b 127.0.0.1:1",
            "",
            1,
            "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\nError: Cannot perform an interactive login from a non TTY device\n",
        ),
        (
            "login ftp://x",
            "",
            1,
            "Error: invalid registry \"ftp://x\": give its host, with the port if it has one: registry.example:5000\n",
        ),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let output = run(&world, &words, input);
        assert_eq!(
            (output.status.code(), &*String::from_utf8_lossy(&output.stderr)),
            (Some(code), want),
            "{line}"
        );
    }
    let refused = run(&world, &["login", "-u", "a", "-p", "hunter2", "127.0.0.1:1"], "");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains("Connection refused") && text.contains("check that the registry runs"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let many = run(&world, &["logout", "a", "b"], "");
    assert!(
        String::from_utf8_lossy(&many.stderr)
            .starts_with("strata: 'strata logout' requires at most 1 argument\n")
    );
    fs_err::create_dir_all(world.path("docker")).expect("made");
    world.file("docker/config.json", b"{\"auths\": hunter2}");
    let broken = run(&world, &["login", "127.0.0.1:1"], "");
    let text = String::from_utf8_lossy(&broken.stderr);
    assert!(text.contains("config.json: invalid JSON in line 1") && !text.contains("hunter2"), "{text}");
}

#[test]
fn a_terminal_is_asked_and_shows_no_password() {
    let Some(registry) = guarded() else { return };
    let (world, host) = (World::new(), registry.host());
    fs_err::create_dir_all(world.path("docker")).expect("made");
    let settings = format!("--root={}", world.path("store").display());
    let mut terminal = Terminal::start_with(
        &world,
        &[&settings, "login", &host],
        &[("DOCKER_CONFIG", world.path("docker"))],
    );
    terminal.expect("Username: ");
    terminal.send("tester\n");
    terminal.expect("Password: ");
    terminal.send("pasx\x7fs:word\n");
    terminal.expect("Login Succeeded");
    assert!(!terminal.shown().contains("s:word"), "{}", terminal.shown());
    terminal.ends_with(0);

    let mut terminal = Terminal::start_with(
        &world,
        &["login", "-u", "x", &host],
        &[("DOCKER_CONFIG", world.path("docker"))],
    );
    terminal.expect("Password: ");
    terminal.send("abc\x03");
    terminal.ends_with(130);
}

#[test]
fn settings_lead_to_mirrors_by_certificates_and_logins() {
    let Some(authority) = Authority::new() else { return };
    let setup = Setup { guard: Guard::Password, authority: Some(&authority), ..Setup::default() };
    let Some(registry) = Registry::with(&setup) else { return };
    let (world, host) = (World::with_base(), registry.host());
    authority.certs_d(&world.path("config/docker/certs.d"), &host, &["ca.crt"]);
    // A name that leads nowhere: what is pulled by it can only come from the mirror.
    let settings = format!("{{\"mirrors\": {{\"registry.invalid\": [\"https://{host}\"]}}}}");
    world.file("settings.json", settings.as_bytes());
    let run = |line: &str, input: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = world.command(&words);
        command.env("DOCKER_CONFIG", world.path("docker")).env("XDG_CONFIG_HOME", world.path("config"));
        command.env("STRATA_CONFIG", world.path("settings.json")).env_remove("REGISTRY_AUTH_FILE");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let _ = child.stdin.take().expect("asked for").write_all(input.as_bytes());
        child.wait_with_output().expect("ends")
    };
    let ok = |line: &str, input: &str| {
        let output = run(line, input);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    ok(&format!("tag base:1 {host}/team/base:1"), "");
    let stranger = run(&format!("push {host}/team/base:1"), "");
    let text = String::from_utf8_lossy(&stranger.stderr);
    assert!(text.contains(&format!("log in with `strata login {host}`")), "{text}");

    ok(&format!("login -u {} --password-stdin {host}", USER.0), USER.1);
    let pushed = ok(&format!("push {host}/team/base:1"), "");
    let digest =
        pushed.split_once("digest: ").expect("pushed").1.split(' ').next().expect("a digest").to_owned();
    let pulled = ok("pull registry.invalid/team/base:1", "");
    assert!(pulled.contains(&digest), "{digest} was pushed:\n{pulled}");
    let missing = run("pull registry.invalid/team/other:1", "");
    let text = String::from_utf8_lossy(&missing.stderr);
    assert!(text.contains("cannot resolve registry.invalid"), "{text}");
}
