//! Speed, in release builds only: a debug build says nothing.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use strata_dockerfile::*;

fn best(mut work: impl FnMut()) -> Duration {
    let once = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..5).map(|_| once(&mut work)).min().unwrap()
}

#[track_caller]
fn within(name: &str, limit: Duration, work: impl FnMut()) {
    let time = best(work);
    println!("{name}: {time:?}");
    assert!(cfg!(debug_assertions) || time < limit, "{name} took {time:?}, more than {limit:?}");
}

#[test]
fn five_thousand_lines() {
    let mut text = "FROM scratch\n".to_owned();
    for i in 0..1000 {
        writeln!(
            text,
            "# step {i}\nRUN --mount=type=cache,target=/c apt-get install a{i} \\\n    && echo \"$x\" > /f{i}"
        )
        .unwrap();
        writeln!(text, "ENV a{i}=1 b{i}=\"two $a{i}\" c{i}=${{x:-y}}\nCOPY --chown=a:b src{i} [x] /dst{i}/")
            .unwrap();
    }
    assert!(text.lines().count() >= 5000);
    within("parse 5,000 lines", Duration::from_millis(50), || drop(parse(&text).unwrap()));
    let file = parse(&text).unwrap();
    within("lint 5,000 lines", Duration::from_millis(100), || drop(lint(&file)));
}

#[test]
fn two_hundred_thousand_paths() {
    let rules = "*.md\n**/node_modules\n.git\n**/*.py[co]\nbuild/**\n!build/keep\ntarget\ndocs/**/*.html\n**/.DS_Store\nvendor/*/test\n!README.md\n";
    let ignore = Ignore::parse(rules).unwrap();
    let paths: Vec<String> =
        (0..200_000).map(|i| format!("src/pkg{}/mod{}/file{i}.rs", i / 2000, i / 50)).collect();
    within("200,000 paths", Duration::from_millis(400), || {
        let mut walk = ignore.walk();
        assert!(paths.iter().all(|path| walk.verdict(path.as_bytes(), false) == Verdict::Include));
    });
}

#[test]
fn no_pattern_is_exponential() {
    let path = "a/".repeat(200) + "b";
    let rules = "**/a/**/a/**/a/**/a/**/a/**/a/**/*a*a*a*a*a*a*c\n";
    let ignore = Ignore::parse(rules).unwrap();
    within("nested stars", Duration::from_millis(200), || {
        assert_eq!(ignore.verdict(path.as_bytes(), false), Verdict::Include)
    });
    let long = "a".repeat(10_000);
    within("glob", Duration::from_millis(200), || {
        assert_eq!(glob::matches("*a*a*a*a*a*a*b", &long), Ok(false))
    });
    let value = |_: &str| Some(long[..2_000].to_owned());
    within("expansion", Duration::from_millis(500), || {
        drop(expand("${x//*a*a*b/y}${x%%*a*a*b}", '\\', &value))
    });
}
