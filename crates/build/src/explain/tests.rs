use super::*;
use crate::{CacheResult, FileKind};

fn inputs(pairs: &[(&str, &str)]) -> Vec<Input> {
    let input = |(name, value): &(&str, &str)| Input { name: (*name).to_owned(), value: (*value).to_owned() };
    pairs.iter().map(input).collect()
}

fn place(position: u32, instruction: &str) -> Place {
    Place { scope: String::new(), stage: "s".to_owned(), position, instruction: instruction.to_owned() }
}

fn record(position: u32, pairs: &[(&str, &str)]) -> CacheRecord {
    CacheRecord {
        place: Some(place(position, "RUN")),
        inputs: inputs(pairs),
        files: Vec::new(),
        result: CacheResult::Layers(Vec::new()),
    }
}

/// The reason for a step with `new` inputs after one with `old`.
fn why(old: &[(&str, &str)], new: &[(&str, &str)]) -> Option<Reason> {
    let (place, inputs) = (place(0, "RUN"), inputs(new));
    let now = Now {
        place: &place,
        inputs: &inputs,
        files: &Vec::new,
        listed: &|_| Vec::new(),
        forced: false,
        args: &BTreeSet::new(),
    };
    reason(&now, &[record(0, old)])
}

fn summary(old: &[(&str, &str)], new: &[(&str, &str)]) -> String {
    why(old, new).expect("an earlier record").summary
}

#[test]
fn the_users_own_change_comes_before_its_consequences() {
    let old = [(PARENT, "1"), ("env A", "1"), (COMMAND, "[\"x\"]")];
    let new = [(PARENT, "2"), ("env A", "2"), (COMMAND, "[\"x\"]")];
    assert_eq!(summary(&old, &new), "ENV A changed from \"1\" to \"2\"");
    assert_eq!(summary(&old, &[(PARENT, "2"), old[1], old[2]]), "the step before it changed");
}

#[test]
fn variables_that_come_and_go() {
    assert_eq!(summary(&[], &[("env A", "1")]), "ENV A is new: \"1\"");
    assert_eq!(summary(&[("env A", "1")], &[]), "variable A is gone; it was \"1\"");
}

#[test]
fn secrets_are_never_shown() {
    for name in
        ["env API_TOKEN", "env db_password", "env MY-SECRET", "env AWS_KEY", "env DBPASSWORD", "env DB_PASS"]
    {
        let told = summary(&[(name, "hunter1")], &[(name, "hunter2")]);
        assert!(!told.contains("hunter") && told.contains("****"), "{told}");
    }
    assert!(summary(&[("env MONKEY", "a")], &[("env MONKEY", "b")]).contains("\"a\" to \"b\""));
}

#[test]
fn repeated_names_are_compared_one_by_one() {
    let told = summary(&[("source", "a"), ("source", "b")], &[("source", "a"), ("source", "c")]);
    assert_eq!(told, "source changed from \"b\" to \"c\"");
}

#[test]
fn long_values_are_cut_in_one_line() {
    let told = summary(&[("env A", "x")], &[("env A", &"y".repeat(500))]);
    assert!(told.chars().count() < 120, "{told}");
}

#[test]
fn commands_are_compared_word_by_word() {
    let old = [(COMMAND, "[\"/bin/sh\",\"-c\",\"apt-get install -y curl git\"]")];
    let new = [(COMMAND, "[\"/bin/sh\",\"-c\",\"apt-get install -y wget git vim\"]")];
    let reason = why(&old, &new).expect("a reason");
    assert_eq!(reason.summary, "the command changed: curl → wget vim");
    assert_eq!(reason.details, ["apt-get install -y [-curl-] {+wget+} git {+vim+}"]);
}

#[test]
fn the_cause_and_both_values_are_for_machines() {
    let reason = why(&[("env A", "1")], &[("env A", "2")]).expect("a reason");
    assert_eq!(reason.cause, Cause::Variable);
    assert_eq!(reason.values, Some((Some("1".to_owned()), Some("2".to_owned()))));
    let secret = why(&[("env TOKEN", "1")], &[("env TOKEN", "2")]).expect("a reason");
    assert_eq!((secret.cause, secret.values), (Cause::Variable, None));
    assert_eq!(why(&[(PARENT, "1")], &[(PARENT, "2")]).expect("a reason").cause, Cause::Parent);
    assert_eq!(why(&[(PARENT, "1")], &[(PARENT, "1")]).expect("a reason").cause, Cause::Gone);
}

#[test]
fn further_differences_follow_the_first() {
    let old = [("destination", "/a/"), ("--chown", "1"), (PARENT, "1")];
    let new = [("destination", "/b/"), ("--chown", "2"), (PARENT, "2")];
    let reason = why(&old, &new).expect("a reason");
    assert_eq!(reason.summary, "destination changed from \"/a/\" to \"/b/\"");
    assert_eq!(reason.details, ["also: --chown changed from \"1\" to \"2\""]);
}

#[test]
fn another_dockerfile_counts_when_it_shares_the_step_before() {
    let elsewhere = |parent: &str| {
        let mut record = record(1, &[("destination", "/a/"), (PARENT, parent)]);
        record.place = Some(Place { scope: "/other/Dockerfile".to_owned(), ..place(1, "RUN") });
        record
    };
    let (place, inputs) = (place(1, "RUN"), inputs(&[("destination", "/b/"), (PARENT, "1")]));
    let now = Now {
        place: &place,
        inputs: &inputs,
        files: &Vec::new,
        listed: &|_| Vec::new(),
        forced: false,
        args: &BTreeSet::new(),
    };
    let told = reason(&now, &[elsewhere("1")]).expect("a relation");
    assert_eq!(told.summary, "destination changed from \"/a/\" to \"/b/\"");
    assert_eq!(reason(&now, &[elsewhere("2")]), None);
    // A run of this very Dockerfile is always nearer.
    assert_eq!(reason(&now, &[elsewhere("1"), record(0, &[(COMMAND, "[]")])]), None);
}

#[test]
fn words_of_any_length_end() {
    let (old, new) = ("a ".repeat(3000), "b ".repeat(3000));
    assert!(words::changed(&old, &new).len() < 100);
    assert_eq!(words::changed("a  b", "a b"), "blanks only");
    assert_eq!(words::changed("a b", "a b c"), "c added");
    assert_eq!(words::changed("a b c", "a c"), "b removed");
}

#[test]
fn without_an_earlier_run_of_its_kind_there_is_no_reason() {
    let (place, inputs) = (place(3, "RUN"), inputs(&[(COMMAND, "[\"new\"]")]));
    let now = Now {
        place: &place,
        inputs: &inputs,
        files: &Vec::new,
        listed: &|_| Vec::new(),
        forced: false,
        args: &BTreeSet::new(),
    };
    assert_eq!(reason(&now, &[record(0, &[(COMMAND, "[\"old\"]")])]), None);
    assert!(reason(&now, &[record(3, &[(COMMAND, "[\"old\"]")])]).is_some());
    let forced = Now { forced: true, ..now };
    let told = reason(&forced, &[record(9, &[(COMMAND, "[\"new\"]")])]).expect("the same command elsewhere");
    assert_eq!(told.summary, "the cache is turned off for it");
}

fn entry(path: &str, size: u64, content: &str) -> FileEntry {
    let (kind, content) = (FileKind::File, content.to_owned());
    FileEntry { path: path.to_owned(), kind, mode: 0o644, uid: 0, gid: 0, size, content }
}

#[test]
fn files_are_listed_by_weight_with_what_changed() {
    let old = [entry("a", 1, "a"), entry("gone", 50, "g"), entry("m", 5, "m"), entry("same", 900, "s")];
    let moded = FileEntry { mode: 0o755, uid: 7, ..entry("m", 5, "m") };
    let new = [entry("a", 1, "b"), moded, entry("new", 100, "n"), entry("same", 900, "s")];
    let reason = files::reason(&old, &new);
    assert_eq!(reason.summary, "4 files changed, first new: added, 100 bytes, and 3 more");
    assert_eq!(
        reason.details,
        [
            "new: added, 100 bytes",
            "gone: removed, 50 bytes",
            "m: mode 0644 → 0755, owner 0:0 → 7:0",
            "a: content, still 1 byte"
        ]
    );
}

#[test]
fn links_and_kinds_are_told_apart() {
    let link = |target: &str| FileEntry { kind: FileKind::Symlink, ..entry("l", 0, target) };
    assert_eq!(files::reason(&[link("x")], &[link("y")]).summary, "file l: link target x → y");
    assert_eq!(files::reason(&[link("x")], &[entry("l", 3, "z")]).summary, "file l: a link became a file");
    assert_eq!(files::reason(&[], &[]).summary, "the files changed");
}

#[test]
fn args_and_envs_are_called_by_their_names() {
    let (place, inputs) = (place(0, "RUN"), inputs(&[("env A", "2"), ("env B", "2")]));
    let args = BTreeSet::from(["A".to_owned()]);
    let now = Now {
        place: &place,
        inputs: &inputs,
        files: &Vec::new,
        listed: &|_| Vec::new(),
        forced: false,
        args: &args,
    };
    let told =
        reason(&now, &[record(0, &[("env A", "1"), ("env B", "1"), ("env C", "1")])]).expect("a reason");
    assert_eq!(told.summary, "ARG A changed from \"1\" to \"2\"");
    assert_eq!(
        told.details,
        ["also: ENV B changed from \"1\" to \"2\"", "also: variable C is gone; it was \"1\""]
    );
}

#[test]
fn long_commands_are_shown_around_the_change() {
    let words = |middle: &str| {
        let many: Vec<String> = (0..40).map(|number| format!("w{number}")).collect();
        format!("{} {middle} {}", many[..20].join(" "), many[20..].join(" "))
    };
    assert_eq!(
        words::diff(&words("old"), &words("new")),
        "… w14 w15 w16 w17 w18 w19 [-old-] {+new+} w20 w21 w22 w23 w24 w25 …"
    );
    assert_eq!(words::diff("a b c d e f x", "a b c d e f y"), "a b c d e f [-x-] {+y+}");
}

#[test]
fn sizes_are_readable() {
    let change = |old, new| files::reason(&[entry("f", old, "a")], &[entry("f", new, "b")]).summary;
    assert_eq!(change(13, 21), "file f: content, 13 → 21 bytes");
    assert_eq!(change(1, 2), "file f: content, 1 → 2 bytes");
    assert_eq!(change(1_200_000, 1_310_000), "file f: content, 1.2 MB → 1.3 MB");
    assert_eq!(change(1_200_000, 1_200_001), "file f: content, 1200000 → 1200001 bytes");
    assert_eq!(change(9_999, 12_345_678_901), "file f: content, 9999 bytes → 12.3 GB");
}
