//! Credential helpers: real programs on the path of a process of their own.
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use strata_registry::{Credential, Credentials, Keeper, Secret};

/// Run again as a child, with a `PATH` that has the helper: tests share one environment.
const CHILD: &str = "STRATA_TEST_OF_HELPERS";

/// Keeps what it is told in files beside itself, and notes its arguments.
const HELPER: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$*" >>"$here/arguments"
input=$(cat)
case $1 in
store)
  server=$(printf %s "$input" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/' | tr '/:' '__')
  printf %s "$input" >"$here/kept.$server" ;;
get)
  kept="$here/kept.$(printf %s "$input" | tr '/:' '__')"
  case $input in
  broken*) printf 'the vault is \033[31mlocked\n'; exit 1 ;;
  token*) printf '{"ServerURL":"","Username":"<token>","Secret":"identity"}' ;;
  *) [ -f "$kept" ] || { echo 'credentials not found in native keychain'; exit 1; }; cat "$kept" ;;
  esac ;;
erase) rm -f "$here/kept.$(printf %s "$input" | tr '/:' '__')" ;;
esac
"#;

#[test]
fn helpers_keep_and_give_credentials() {
    if let Ok(directory) = std::env::var(CHILD) {
        return child(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    // Written by another process: a thread that forks meanwhile would hold it open for writing (ETXTBSY).
    let program = directory.path().join("docker-credential-vault");
    let mut write = Command::new("sh")
        .args(["-c", "cat >\"$0\" && chmod 755 \"$0\""])
        .arg(&program)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    write.stdin.take().unwrap().write_all(HELPER.as_bytes()).unwrap();
    assert!(write.wait().unwrap().success());
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_programs::helpers_keep_and_give_credentials", "--nocapture"])
        .env("PATH", path)
        .env(CHILD, directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

fn child(directory: &Path) {
    let file = directory.join("config.json");
    let text = r#"{"credsStore":"vault","credHelpers":{"plain.example":"","missing.example":"nowhere"},"auths":{"old.example":{"auth":"dTpw"}}}"#;
    fs_err::write(&file, text).unwrap();
    let all = Credentials::from_files([file.clone()]);
    let secret = Credential::password("me", "s3cret");
    for host in ["docker.io", "reg.example:5000"] {
        assert_eq!(all.store(host, &secret).unwrap(), Keeper::Helper("vault".to_owned()));
        assert_eq!(all.find_host(host).unwrap(), Some(secret.clone()));
    }
    let kept = fs_err::read_to_string(&file).unwrap();
    assert!(
        kept.contains("\"reg.example:5000\": {}") && !kept.contains("s3cret") && !kept.contains("bWU6"),
        "{kept}"
    );

    assert_eq!(
        all.find_host("old.example").unwrap(),
        Some(Credential::password("u", "p")),
        "from before the helper"
    );
    let identity = Credential::Identity { username: None, token: Secret::new("identity") };
    assert_eq!(all.find_host("token.example").unwrap(), Some(identity));
    let error = all.find_host("broken.example").unwrap_err().to_string();
    assert_eq!(error, "docker-credential-vault get for broken.example: the vault is \\u{1b}[31mlocked");
    let error = all.find_host("missing.example").unwrap_err().to_string();
    assert!(
        error.starts_with("credential helper docker-credential-nowhere was not found in $PATH"),
        "{error}"
    );

    // An empty name means this file.
    assert_eq!(all.store("plain.example", &secret).unwrap(), Keeper::File(file.clone()));

    assert!(all.erase("reg.example:5000").unwrap());
    assert!(!all.erase("reg.example:5000").unwrap());
    assert_eq!(all.find_host("reg.example:5000").unwrap(), None);

    let arguments = fs_err::read_to_string(directory.join("arguments")).unwrap();
    assert!(arguments.lines().all(|line| ["get", "store", "erase"].contains(&line)), "{arguments}");
}
