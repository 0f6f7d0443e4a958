use super::*;
use fs_err as fs;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

fn file(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.json");
    fs::write(&path, text).expect("written");
    (directory, path)
}

fn find(text: &str, host: &str, path: &str) -> Option<Credential> {
    let (_directory, file) = file(text);
    Credentials::from_files([file]).find(&Repository::new(host, path)).expect("readable")
}

#[test]
fn what_docker_and_podman_write_is_found() {
    // "u:p:q": a password may hold colons.
    let auth = r#"{"auth":"dTpwOnE="}"#;
    let want = Some(Credential::password("u", "p:q"));
    for key in [
        "https://index.docker.io/v1/",
        "docker.io",
        "index.docker.io",
        "registry-1.docker.io",
        "https://index.docker.io/v2/",
    ] {
        assert_eq!(
            find(&format!(r#"{{"auths":{{"{key}":{auth}}}}}"#), "docker.io", "library/a"),
            want,
            "{key}"
        );
    }
    for key in ["reg:5000", "https://reg:5000", "http://reg:5000/v1/", "https://reg:5000/v2/", "reg:5000/"] {
        assert_eq!(find(&format!(r#"{{"auths":{{"{key}":{auth}}}}}"#), "reg:5000", "a"), want, "{key}");
    }
    for key in ["reg", "reg:5001", "xreg:5000"] {
        assert_eq!(find(&format!(r#"{{"auths":{{"{key}":{auth}}}}}"#), "reg:5000", "a"), None, "{key}");
    }
}

#[test]
fn the_longest_part_of_a_repositorys_name_decides() {
    let text = r#"{"auths":{
        "reg": {"username":"all","password":"x"}, "reg/team": {"username":"team","password":"x"},
        "reg/team/app": {"username":"app","password":"x"}}}"#;
    for (path, name) in
        [("other", "all"), ("teams", "all"), ("team/x", "team"), ("team/app", "app"), ("team/app/y", "app")]
    {
        assert_eq!(find(text, "reg", path).expect(path).username(), Some(name), "{path}");
    }
}

#[test]
fn tokens_go_before_passwords() {
    let text =
        r#"{"auths":{"a":{"auth":"dTo=","identitytoken":"secret"},"b":{"registrytoken":"bearer"},"c":{}}}"#;
    let identity = Credential::Identity { username: Some("u".into()), token: Secret::new("secret") };
    assert_eq!(find(text, "a", "x"), Some(identity));
    assert_eq!(find(text, "b", "x"), Some(Credential::Bearer(Secret::new("bearer"))));
    assert_eq!(find(text, "c", "x"), None);
}

#[test]
fn files_that_do_not_exist_are_empty_and_broken_ones_are_named() {
    let (directory, path) = file(" \n");
    let both = Credentials::from_files([directory.path().join("none"), path.clone()]);
    assert_eq!(both.find_host("reg").expect("nothing"), None);
    for (text, want) in [
        ("{\"auths\":{\"reg\":{\"auth\":\"aHVudGVyMg\",}}}", "invalid JSON in line 1"),
        ("[]", "not a JSON object"),
        (r#"{"auths":{"reg":{"auth":"!!hunter2"}}}"#, "auths[\"reg\"].auth is not base64"),
        (r#"{"auths":{"reg":{"auth":"aHVudGVyMg=="}}}"#, "auths[\"reg\"].auth is not name:password"),
    ] {
        fs::write(&path, text).expect("written");
        let error = both.find_host("reg").expect_err(text).to_string();
        assert!(error.contains(want) && error.contains(path.to_str().expect("UTF-8")), "{error}");
        assert!(!error.contains("unter2") && !error.contains("aHVudGVyMg"), "{error}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let credential = Credential::password("user", "hunter2");
    let all = Credentials::none().with("docker.io", credential.clone());
    assert!(!format!("{credential:?} {all:?}").contains("hunter2"));
    assert_eq!(all.find_host("index.docker.io").expect("given"), Some(credential));
}

#[test]
fn a_login_changes_nothing_else_in_the_file() {
    let before = "{\n\t\"auths\": {\n\t\t\"other\": {\n\t\t\t\"auth\": \"eDp5\",\n\t\t\t\"email\": \"a@b\"\n\t\t}\n\t},\n\t\"HttpHeaders\": {\n\t\t\"X\": \"1\"\n\t},\n\t\"zz\": [\n\t\t1.50\n\t]\n}";
    let (directory, path) = file(before);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("changed");
    let all = Credentials::from_files([path.clone()]);
    let credential = Credential::password("u", "p");
    assert_eq!(all.store("reg:5000", &credential).expect("kept"), Keeper::File(path.clone()));
    assert_eq!(all.store("docker.io", &credential).expect("kept"), Keeper::File(path.clone()));
    let text = fs::read_to_string(&path).expect("there");
    assert!(text.contains("\t\t\"reg:5000\": {\n\t\t\t\"auth\": \"dTpw\"\n\t\t}"), "{text}");
    assert!(text.contains("\"https://index.docker.io/v1/\": {"), "{text}");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(all.find_host("docker.io").expect("readable"), Some(credential));

    assert!(all.erase("docker.io").expect("erased") && all.erase("reg:5000").expect("erased"));
    assert!(!all.erase("reg:5000").expect("nothing to erase"));
    assert_eq!(fs::read_to_string(&path).expect("there").trim_end(), before.replace("1.50", "1.5"));
    assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 1, "something was left behind");
}

#[test]
fn a_login_makes_the_directory_and_follows_a_link() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("new/config.json");
    let identity = Credential::Identity { username: Some("u".into()), token: Secret::new("t") };
    Credentials::from_files([path.clone()]).store("reg", &identity).expect("kept");
    assert_eq!(fs::metadata(path.parent().expect("new")).expect("made").permissions().mode() & 0o777, 0o700);
    let link = directory.path().join("link.json");
    std::os::unix::fs::symlink(&path, &link).expect("linked");
    let linked = Credentials::from_files([link.clone()]);
    assert_eq!(linked.find_host("reg").expect("readable"), Some(identity.clone()));
    linked.store("other", &identity).expect("kept");
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    assert!(fs::read_to_string(&path).expect("there").contains("\"other\""));
    assert!(matches!(Credentials::none().store("reg", &identity), Err(CredentialsError::NoFile)));
}

#[test]
fn logins_at_once_do_not_undo_each_other() {
    let (_directory, path) = file("{}");
    let all = Credentials::from_files([path]);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let all = &all;
            scope.spawn(move || {
                all.store(&format!("reg{number}"), &Credential::password("u", "p")).expect("kept")
            });
        }
    });
    for number in 0..8 {
        assert!(all.find_host(&format!("reg{number}")).expect("readable").is_some(), "reg{number} is gone");
    }
}
