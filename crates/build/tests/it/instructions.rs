//! What single instructions leave in config, history and operation, where BuildKit's code is the only rule.
use crate::fake::{Outcome, World};
use strata_build::BuildOptions;

fn build(lines: &str) -> Outcome {
    World::with(&[("f", "1"), ("d/x", "2")]).build(&format!("FROM conform-base:1\n{lines}\n"))
}

/// The rows above the base image's, without BuildKit's mark.
fn rows(lines: &str) -> Vec<String> {
    let outcome = build(lines);
    let rows = &outcome.config().history;
    let row = |row: &strata_oci::History| row.created_by.trim_end_matches(" # buildkit").to_owned();
    rows.iter().skip(1).map(row).collect()
}

#[test]
fn an_absolute_working_directory_stays_as_it_is_written() {
    let outcome = build("WORKDIR /a/./b//c/\nWORKDIR d/../e");
    assert_eq!(outcome.config().config.working_dir, "/a/b/c/e");
    let outcome = build("WORKDIR /a/../b/");
    assert_eq!(outcome.config().config.working_dir, "/a/../b/");
    assert_eq!(
        rows("WORKDIR /a/../b/\nWORKDIR $none\nWORKDIR .."),
        ["WORKDIR /a/../b/", "WORKDIR /a/../b/", "WORKDIR /"]
    );
    // Only the root written plainly makes no layer.
    assert_eq!(build("WORKDIR /\nWORKDIR ..\nWORKDIR .").built().layers.len(), 1);
    assert_eq!(build("WORKDIR //").built().layers.len(), 2);
}

#[test]
fn ports_are_sorted_as_they_are_written_and_none_is_left_out() {
    let lines = "ENV P=\"3000 4000/udp\"\nEXPOSE 80 443/TCP 8000-8002 $P 80/tcp 127.0.0.1:9:10";
    assert_eq!(
        rows(lines)[1],
        "EXPOSE [3000/tcp 4000/udp 10/tcp 443/tcp 80/tcp 80/tcp 8000/tcp 8001/tcp 8002/tcp]"
    );
    let ports: Vec<String> = build(lines).config().config.exposed_ports.keys().cloned().collect();
    assert_eq!(
        ports,
        ["10/tcp", "3000/tcp", "4000/udp", "443/tcp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp"]
    );
    assert_eq!(rows("EXPOSE $none"), ["EXPOSE []"]);
    assert_eq!(build("EXPOSE host:1:80").error(), "invalid IP address: host");
    assert_eq!(build("EXPOSE 80/icmp").error(), "invalid port: \"80/icmp\": invalid proto: icmp");
}

#[test]
fn signals_are_taken_as_numbers_and_names() {
    assert_eq!(build("STOPSIGNAL 99").config().config.stop_signal.as_deref(), Some("99"));
    assert_eq!(build("ENV s=usr1\nSTOPSIGNAL $s").config().config.stop_signal.as_deref(), Some("usr1"));
    assert_eq!(build("STOPSIGNAL 0").error(), "invalid signal: 0");
}

#[test]
fn flags_that_expand_to_nothing_are_none() {
    assert_eq!(rows("COPY --chown=$none --chmod=$none f /x"), ["COPY f /x"]);
    assert_eq!(rows("ADD --checksum=$none f /x"), ["ADD f /x"]);
    let sentence = "invalid chmod parameter: '64a'. it should be octal string and between 0 and 07777";
    assert_eq!(build("COPY --chmod=64a f /x").error(), sentence);
    assert_eq!(build("ADD --checksum=sha256:00 f /x").error(), "checksum requires HTTP(S) or Git sources");
}

#[test]
fn heredocs_are_copied_behind_the_paths() {
    let lines = "COPY <<f f <<g /d/\nfrom f\nf\nfrom g\ng";
    assert_eq!(rows(lines), ["COPY f <<f <<g /d/"]);
    assert_eq!(build(lines).text("/d/f"), "from f\n", "whatever stands where, the heredoc wins");
}

#[test]
fn a_mode_makes_a_linked_copy_an_ordinary_one() {
    let dockerfile = |flags: &str| format!("FROM conform-base:1\nCOPY a /a\nCOPY --link {flags} f /f\n");
    for (flags, runs) in [("", 1), ("--chmod=600", 2), ("--chmod=$none", 1)] {
        let mut world = World::with(&[("a", "1"), ("f", "1")]);
        world.build(&dockerfile(flags)).built();
        world.write("a", &format!("changed for {flags}"));
        assert_eq!(world.build(&dockerfile(flags)).ran().len(), runs, "{flags}");
    }
}

#[test]
fn labels_of_the_command_line_come_last_and_leave_no_row() {
    let mut world = World::default();
    let labels = [("a".to_owned(), "cli".to_owned())].into();
    let options = BuildOptions { labels, ..BuildOptions::default() };
    let outcome = world.build_with("FROM conform-base:1\nLABEL a=1 a=2 b=3\n", &options);
    let config = outcome.config();
    assert_eq!(config.history.last().expect("a row").created_by, "LABEL a=1 a=2 b=3");
    assert_eq!((config.config.labels["a"].as_str(), config.config.labels["b"].as_str()), ("cli", "3"));
}
