use super::Verdict::{Exclude, ExcludeButDescend, Include};
use super::*;

fn verdict(rules: &str, path: &str) -> Verdict {
    Ignore::parse(rules).unwrap().verdict(path.as_bytes(), false)
}

#[track_caller]
fn excluded(rules: &str, paths: &[&str]) {
    for path in paths {
        assert_eq!(verdict(rules, path), Exclude, "{rules:?} {path}");
    }
}

#[track_caller]
fn included(rules: &str, paths: &[&str]) {
    for path in paths {
        assert_eq!(verdict(rules, path), Include, "{rules:?} {path}");
    }
}

#[test]
fn literal_rules_are_anchored() {
    excluded("foo", &["foo", "foo/bar", "foo/a/b"]);
    included("foo", &["sub/foo", "foobar", "fo"]);
    excluded("/foo/", &["foo", "foo/bar"]);
    excluded("a/./b/../c//", &["a/c"]);
    excluded("\u{feff}foo\r\n", &["foo"]);
    included("# foo\n\n", &["foo", "# foo"]);
    excluded(" # foo", &["# foo"]);
    included("Foo", &["foo"]);
}

#[test]
fn wildcards() {
    excluded("*", &["a", "a/b"]);
    excluded("*.md", &["README.md", "x.md/y"]);
    included("*.md", &["docs/README.md"]);
    excluded("*/temp*", &["a/temp", "a/temporary/x"]);
    included("*/temp*", &["temp", "a/b/temp"]);
    excluded("temp?", &["tempa", "temp☺"]);
    included("temp?", &["temp", "tempab", "temp/"]);
    excluded("[a-c]x", &["ax", "cx"]);
    included("[a-c]x", &["dx"]);
    excluded("[^a]x", &["bx"]);
    included("[^a]x", &["ax"]);
    excluded("a\\*b", &["a*b"]);
    included("a\\*b", &["axb"]);
    excluded("a.b+c(d)|e{f}$^", &["a.b+c(d)|e{f}$^"]);
    included("a.b", &["axb"]);
}

#[test]
fn double_star() {
    excluded("**", &["a", "a/b/c"]);
    excluded("**/x", &["x", "a/x", "a/b/x", "a/x/y"]);
    included("**/x", &["ax", "a/bx", "x1"]);
    excluded("a/**", &["a/b", "a/b/c"]);
    included("a/**", &["a", "b/a/c"]);
    excluded("a/**/b", &["a/b", "a/x/b", "a/x/y/b"]);
    included("a/**/b", &["ab", "a/xb"]);
    excluded("**/*.go", &["a.go", "x/y/a.go"]);
    excluded("**/foo/**", &["foo/x", "a/foo/x"]);
    included("**/foo/**", &["foo", "a/foo"]);
    excluded("dir/**/*.txt", &["dir/a.txt", "dir/b/c/d.txt"]);
    excluded("**a", &["xa", "b/xa"]);
    excluded("a**", &["ab", "a/b"]);
    excluded("**/**", &["a", "a/b"]);
}

#[test]
fn exceptions() {
    included("*\n!keep", &["keep", "keep/x"]);
    excluded("*\n!keep", &["other", "other/keep"]);
    included("*.md\n!README.md", &["README.md"]);
    excluded("*.md\n!README*.md\nREADME-secret.md", &["README-secret.md"]);
    included("*.md\nREADME-secret.md\n!README*.md", &["README-secret.md"]);
    included("dir\n!dir/keep", &["dir/keep", "dir/keep/x"]);
    excluded("dir\n!dir/keep", &["dir/other"]);
    included("!a", &["a"]);
    included("a\n! a", &["a"]);
    excluded("a/b\n!a", &["a/b"]);
}

#[test]
fn where_to_descend() {
    let dir = |rules: &str, path: &str| Ignore::parse(rules).unwrap().verdict(path.as_bytes(), true);
    assert_eq!(dir("dir\n!dir/keep", "dir"), ExcludeButDescend);
    assert_eq!(dir("*\n!dir/keep", "other"), Exclude);
    assert_eq!(dir("*\n!dir/a/b", "dir/a"), ExcludeButDescend);
    assert_eq!(dir("*\n!dir/a/b", "dir/c"), Exclude);
    assert_eq!(dir("*\n!**/keep", "any"), ExcludeButDescend);
    assert_eq!(dir("*\n!d*/keep", "dir"), ExcludeButDescend);
    assert_eq!(dir("*\n!dir", "dirx"), Exclude);
    assert_eq!(dir("*", "dir"), Exclude);
    assert_eq!(dir("", "dir"), Include);
}

#[test]
fn bad_rules() {
    let error = |rules: &str| Ignore::parse(rules).unwrap_err().to_string();
    assert_eq!(error("a\n!"), "line 2: illegal exclusion pattern: \"!\"");
    assert_eq!(error("! /"), "line 1: illegal exclusion pattern: \"!\"");
    assert_eq!(error("\n\n[a"), "line 3: syntax error in pattern \"[a\"");
    assert_eq!(error("a\\"), "line 1: syntax error in pattern \"a\\\"");
}

#[test]
fn names_and_rules_that_are_no_text() {
    let ignore = Ignore::parse(b"caf\xe9*\n").unwrap();
    assert_eq!(ignore.verdict(b"caf\xe9.txt", false), Exclude);
    assert_eq!(ignore.verdict("café.txt".as_bytes(), false), Include);
}

#[test]
fn exclude_flags() {
    let exclude = Ignore::from_patterns(["*.txt", "#x", "!keep.txt"]).unwrap();
    assert!(exclude.matches_any(b"a.txt"));
    assert!(exclude.matches_any(b"#x/y"));
    assert!(!exclude.matches_any(b"keep.txt"));
}

#[test]
fn a_walk_remembers_only_where_it_is() {
    let ignore = Ignore::parse("a/b\n!a/b/c\nx/**/y\n").unwrap();
    let mut walk = ignore.walk();
    for path in
        ["a", "a/b", "a/b/c", "a/b/d", "a/bb", "a/b/c/d/e", "x/y", "x/1/y/2", "a/b/z/z", "b", "x", "a/b/c"]
    {
        for is_dir in [false, true] {
            assert_eq!(
                walk.verdict(path.as_bytes(), is_dir),
                ignore.verdict(path.as_bytes(), is_dir),
                "{path} {is_dir}"
            );
        }
    }
}
