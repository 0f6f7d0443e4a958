//! Every error of a Dockerfile (`spec/build.md` 1.4 and 1.10): sentence, place with caret, exit code. Those of the parser
//! are the parser's own cases; those below are found when a stage is needed.

use crate::world::World;
use std::path::Path;

/// What only building finds: expansion, names, values.
const WHEN_NEEDED: &[&str] = &[
    "FROM base:1\nENV a=${b:=x}\n",
    "FROM base:1\nENV a=${}\n",
    "FROM base:1\nENV a=${b\n",
    "FROM base:1\nENV a=${b:?}\n",
    "FROM base:1\nENV a=${b?is needed}\n",
    "FROM base:1\nLABEL a='b\n",
    "FROM base:1\nCOPY ${a:#x} /\n",
    "ARG NOPE\nFROM $NOPE\n",
    "FROM base:1:2\n",
    "FROM Base\n",
    "FROM 127.0.0.1:9/bse:1\n",
    "FROM nosuch@sha256:1234\n",
    "FROM --platform=one/two/three/four base:1\n",
    "ARG P\nFROM --platform=$P base:1\n",
    "FROM base:1 AS one\nCOPY --from=two /x /x\nFROM base:1 AS two\nFROM one\n",
    "FROM base:1 AS one\nCOPY --from=one /x /x\n",
    "FROM base:1 AS one\nCOPY --from=two /x /x\nFROM base:1 AS two\nCOPY --from=one /x /x\n",
    "FROM base:1\nCOPY --from=3 /x /x\n",
    "FROM base:1\nCOPY --from=$x /x /x\n",
    "FROM base:1 AS one\nFROM base:1\nCOPY --from=one /none /x\n",
    "FROM base:1\nCOPY missing a /x/\n",
    "FROM base:1\nCOPY --parents missing /x/\n",
    "FROM base:1\nCOPY a /etc\nCOPY ctx-dir /etc/passwd\n",
    "FROM base:1\nCOPY --chmod=64a a /\n",
    "FROM base:1\nCOPY --chmod=10000 a /\n",
    "FROM base:1\nCOPY http://example.com/a /\n",
    "FROM base:1\nCOPY git@example.com:a/b /\n",
    "FROM base:1\nADD --checksum=sha256:12 a /\n",
    "FROM base:1\nEXPOSE eighty\n",
    "FROM base:1\nEXPOSE 80/icmp\n",
    "FROM base:1\nEXPOSE 70000\n",
    "FROM base:1\nEXPOSE 90-80\n",
    "FROM base:1\nSTOPSIGNAL SIGNONE\n",
    "FROM base:1\nVOLUME $nothing\n",
    "FROM base:1\nRUN --mount=type=tmp,target=/x true\n",
    "FROM base:1\nRUN --mount=typ=cache,target=/x true\n",
    "FROM base:1\nRUN --mount=target=/ true\n",
    "FROM base:1\nRUN --mount=type=secret,id=key,required true\n",
    "FROM base:1\nRUN --mount=type=bind,source=absent,target=/x \\\n    --network=none \\\n    true\n",
    "FROM base:1\nRUN --security=insecure true\n",
    "FROM base:1\nRUN --network=host true\n",
    "FROM base:1 AS one\nONBUILD COPY --from=127.0.0.1:9/nosuch:1 /a /b\nFROM one\n",
];

fn attempt(world: &World, dockerfile: &[u8]) -> String {
    world.file("ctx/Dockerfile", dockerfile);
    let output = world.output(&["build", "--progress", "plain", "ctx"]);
    let entry = world.entry("build ctx", &output);
    // What was done before, and the list of files, is no part of the error.
    let kept = entry.lines().skip_while(|line| !is_error(line));
    let shown = String::from_utf8_lossy(dockerfile).replace('\n', "⏎");
    format!("--- {shown}\n{}\n", kept.collect::<Vec<_>>().join("\n").trim_end())
}

/// The excerpt begins with the place; without one the sentence stands alone.
fn is_error(line: &str) -> bool {
    line.starts_with("! Dockerfile:") || line.starts_with("! ERROR:") || line.starts_with("[exit")
}

#[test]
fn mistakes_of_the_parser() {
    let world = World::with_base();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dockerfile/tests/cases/fail");
    let mut cases: Vec<_> =
        fs_err::read_dir(cases).expect("cases").map(|entry| entry.expect("an entry").path()).collect();
    cases.sort();
    assert!(cases.len() > 60);
    let text: String = cases
        .iter()
        .map(|case| attempt(&world, &fs_err::read(case.join("Dockerfile")).expect("a Dockerfile")))
        .collect();
    insta::assert_snapshot!(text);
    assert_refused(&text, cases.len());
}

#[test]
fn mistakes_found_when_a_stage_is_needed() {
    let world = World::with_base();
    world.file("ctx/a", b"a");
    world.file("ctx/ctx-dir/file", b"f");
    let text: String = WHEN_NEEDED.iter().map(|dockerfile| attempt(&world, dockerfile.as_bytes())).collect();
    insta::assert_snapshot!(text);
    assert_refused(&text, WHEN_NEEDED.len());
    // Mistakes in a stage that nobody needs are nobody's.
    world.file("ctx/Dockerfile", b"FROM base:1 AS bad\nEXPOSE eighty\nFROM base:1\n");
    world.ok(&["build", "-q", "ctx"]);
}

fn assert_refused(text: &str, cases: usize) {
    assert_eq!(text.matches("\n[exit 1]\n").count(), cases, "each ends with exit code 1");
}
