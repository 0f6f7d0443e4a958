use super::*;

fn env(name: &str) -> Option<String> {
    let value = match name {
        "x" => "value",
        "empty" => "",
        "path" => "/usr/local/lib/libfoo.tar.gz",
        "s" => "one two  three",
        "stars" => "a*b?c\\d",
        "uni" => "grüße/grün",
        "lines" => "one\ntwo",
        "brace" => "a}b/c",
        _ => return None,
    };
    Some(value.to_owned())
}

fn ok(word: &str) -> String {
    expand(word, '\\', &env).unwrap_or_else(|error| panic!("{word}: {error}")).text
}

fn fails(word: &str) -> String {
    expand(word, '\\', &env).expect_err(word).reason
}

#[track_caller]
fn table(rows: &[(&str, &str)]) {
    for (word, wanted) in rows {
        assert_eq!(ok(word), *wanted, "{word}");
    }
}

#[test]
fn plain_and_braced() {
    table(&[
        ("", ""),
        ("abc", "abc"),
        ("$x", "value"),
        ("${x}", "value"),
        ("a$x.b", "avalue.b"),
        ("$xy", ""),
        ("${x}y", "valuey"),
        ("$nope", ""),
        ("${nope}", ""),
        ("$", "$"),
        ("${x}$", "value$"),
        ("$.", "$."),
        ("$ x", "$ x"),
        ("$$x", "x"),
        ("$1x", "x"),
        ("$12 $@ $* $# $? $- $! $0.", "       ."),
        ("${1}", ""),
        ("$x$x", "valuevalue"),
        ("$ü", ""),
    ]);
}

#[test]
fn default_alternative_and_required() {
    table(&[
        ("${x:-d}", "value"),
        ("${x-d}", "value"),
        ("${empty:-d}", "d"),
        ("${empty-d}", ""),
        ("${nope:-d}", "d"),
        ("${nope-d}", "d"),
        ("${nope:-}", ""),
        ("${x:+a}", "a"),
        ("${x+a}", "a"),
        ("${empty:+a}", ""),
        ("${empty+a}", "a"),
        ("${nope:+a}", ""),
        ("${nope+a}", ""),
        ("${x:?m}", "value"),
        ("${x?m}", "value"),
        ("${empty?m}", ""),
        ("${nope:-a b}", "a b"),
        ("${nope:-$x}", "value"),
        ("${nope:-${x}}", "value"),
        ("${nope:-${nada:-${x:+deep}}}", "deep"),
        ("${nope:-'$x'}", "$x"),
        ("${nope:-\"$x}\"}", "value}"),
        ("${nope:-a\\}b}", "a}b"),
    ]);
    assert_eq!(fails("${nope?}"), "nope: is not allowed to be unset");
    assert_eq!(fails("${nope:?}"), "nope: is not allowed to be unset");
    assert_eq!(fails("${empty:?}"), "empty: is not allowed to be empty");
    assert_eq!(fails("${empty:?say $x}"), "empty: say value");
    assert_eq!(fails("${nope?give it}"), "nope: give it");
}

#[test]
fn cutting_heads_and_tails() {
    table(&[
        ("${path#*/}", "usr/local/lib/libfoo.tar.gz"),
        ("${path##*/}", "libfoo.tar.gz"),
        ("${path%.*}", "/usr/local/lib/libfoo.tar"),
        ("${path%%.*}", "/usr/local/lib/libfoo"),
        ("${path#/usr}", "/local/lib/libfoo.tar.gz"),
        ("${path#usr}", "/usr/local/lib/libfoo.tar.gz"),
        ("${path%.gz}", "/usr/local/lib/libfoo.tar"),
        ("${path%%*}", ""),
        ("${path%*}", "/usr/local/lib/libfoo.tar.gz"),
        ("${path#}", "/usr/local/lib/libfoo.tar.gz"),
        ("${x#v?l}", "ue"),
        ("${x%?e}", "val"),
        ("${x##*}", ""),
        ("${nope#a}", ""),
        ("${stars#a\\*}", "b?c\\d"),
        ("${stars%\\?*}", "a*b"),
        ("${stars##*\\\\}", "d"),
        ("${stars#a.}", "a*b?c\\d"),
        ("${brace#a\\}}", "b/c"),
        ("${brace%\\/c}", "a}b"),
        ("${uni#gr?}", "ße/grün"),
        ("${uni%?n}", "grüße/gr"),
        ("${lines#*t}", "one\ntwo"),
        ("${x#${nope:-va}}", "lue"),
        ("${x#'va'}", "lue"),
    ]);
    assert_eq!(fails("${x:#v}"), "unsupported modifier (:#) in substitution");
    assert_eq!(fails("${x:%v}"), "unsupported modifier (:%) in substitution");
    assert_eq!(fails("${x#\\a}"), "invalid pattern (\\a) in substitution: invalid escape '\\a'");
}

#[test]
fn replacing() {
    table(&[
        ("${path/lib/LIB}", "/usr/local/LIB/libfoo.tar.gz"),
        ("${path//lib/LIB}", "/usr/local/LIB/LIBfoo.tar.gz"),
        ("${s// /_}", "one_two__three"),
        ("${s/o*e/X}", "X"),
        ("${s//t?/-}", "one -o  -ree"),
        ("${path//\\//:}", ":usr:local:lib:libfoo.tar.gz"),
        ("${brace/\\}/-}", "a-b/c"),
        ("${x/nothing/else}", "value"),
        ("${x/v/}", "alue"),
        ("${x//?/x}", "xxxxx"),
        ("${x//*/all}", "all"),
        ("${x///-}", "-v-a-l-u-e-"),
        ("${x/${nope:-val}/${s}}", "one two  threeue"),
        ("${nope/a/b}", ""),
        ("${empty//*/x}", "x"),
    ]);
    assert_eq!(fails("${s//a}"), "syntax error: missing '/' in ${}");
    assert_eq!(fails("${s/a}"), "syntax error: missing '/' in ${}");
    assert_eq!(fails("${s/a/b"), "syntax error: missing '}'");
    assert_eq!(fails("${s:/a/b}"), "unsupported modifier (:/) in substitution");
}

#[test]
fn what_is_no_substitution() {
    for word in ["${}", "${{x}", "${:x}", "${:}"] {
        assert_eq!(fails(word), "syntax error: bad substitution", "{word}");
    }
    for word in ["${", "${x:-a", "${x:-", "${x:}", "${x:-${y}", "${x-'a"] {
        assert_eq!(fails(word), "syntax error: missing '}'", "{word}");
    }
    assert_eq!(fails("${b:=x}"), "unsupported modifier (:=) in substitution");
    assert_eq!(fails("${b"), "unsupported modifier (\u{fffd}) in substitution");
    assert_eq!(fails("${b=x}"), "unsupported modifier (=) in substitution");
    assert_eq!(fails("${b^^}"), "unsupported modifier (^) in substitution");
    assert_eq!(fails("${b.c}"), "unsupported modifier (.) in substitution");
    assert_eq!(fails("'a"), "unexpected end of statement while looking for matching single-quote");
    assert_eq!(fails("\"a"), "unexpected end of statement while looking for matching double-quote");
    let error = expand("a${b:=x}\"", '\\', &env).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to process \"a${b:=x}\\\"\": unsupported modifier (:=) in substitution"
    );
}

#[test]
fn quotes_and_escapes() {
    table(&[
        ("'$x'", "$x"),
        ("\"$x\"", "value"),
        ("\"'$x'\"", "'value'"),
        ("'\"$x\"'", "\"$x\""),
        ("\\$x", "$x"),
        ("\"\\$x\"", "$x"),
        ("'\\$x'", "\\$x"),
        ("\\\\$x", "\\value"),
        ("\"a\\tb\"", "a\\tb"),
        ("a\\tb", "atb"),
        ("\"\\\"\"", "\""),
        ("\"\\\\\"", "\\"),
        ("\\'a", "'a"),
        ("a\\", "a"),
        ("a\"b\"'c'd", "abcd"),
        ("''", ""),
        ("a\\ b", "a b"),
        ("<<a", "<<a"),
    ]);
    let backtick = |word: &str| expand(word, '`', &env).unwrap().text;
    assert_eq!(backtick("`$x"), "$x");
    assert_eq!(backtick("\\$x"), "\\value");
    assert_eq!(backtick("c:\\dir\\$x"), "c:\\dir\\value");
    assert_eq!(backtick("\"``\""), "`");
}

#[test]
fn env_escapes_of_the_conformance_suite() {
    let v = |name: &str| (name == "v").then(|| "1".to_owned());
    let rows = [
        ("\\$v", "$v"),
        ("\"\\$v\"", "$v"),
        ("'\\$v'", "\\$v"),
        ("\\\\$v", "\\1"),
        ("\\${v}", "${v}"),
        ("$$v", "v"),
        ("\"a\\tb\"", "a\\tb"),
        ("a\\tb", "atb"),
        ("$", "$"),
        ("${v}$", "1$"),
    ];
    for (word, wanted) in rows {
        assert_eq!(expand(word, '\\', &v).unwrap().text, wanted, "{word}");
    }
}

#[test]
fn raw_keeps_quotes_and_escapes() {
    let raw = |word: &str| expand_raw(word, '\\', &env).unwrap().text;
    assert_eq!(raw("'$x' \"$x\" \\$x"), "'$x' \"value\" \\$x");
    assert_eq!(raw("\"a\\tb\" \"\\\"\""), "\"a\\tb\" \"\\\"\"");
}

#[test]
fn words_are_split_after_expansion() {
    let words = |word: &str| expand_words(word, '\\', &env).unwrap();
    assert_eq!(words("$s"), ["one", "two", "three"]);
    assert_eq!(words("\"$s\""), ["one two  three"]);
    assert_eq!(words("a$s"), ["aone", "two", "three"]);
    assert_eq!(words("a\\ b c"), ["a b", "c"]);
    assert_eq!(words("$empty"), [""; 0]);
    assert_eq!(words("80${nope:-80}"), ["8080"]);
    assert_eq!(words("  a  "), ["a"]);
}

#[test]
fn heredoc_bodies() {
    let body = |text: &str| expand_heredoc(text, &env).unwrap().text;
    assert_eq!(body("hello $x\n  keep\\\\ \\$x\n"), "hello value\n  keep\\ $x\n");
    assert_eq!(body("it's \"$x\" '$x'\n"), "it's \"value\" 'value'\n");
    assert_eq!(body("a\\\nb\n"), "a\nb\n");
    assert_eq!(body("${nope:-it's}\n"), "it's\n");
}

#[test]
fn names_used_and_unset() {
    let expanded = expand("$x ${nope:-$nada} ${x:+$deep} $$", '\\', &env).unwrap();
    assert_eq!(expanded.used.iter().collect::<Vec<_>>(), ["x"]);
    assert_eq!(expanded.unset.iter().collect::<Vec<_>>(), ["$", "deep", "nada", "nope"]);
}

#[test]
fn nesting_has_a_limit() {
    let deep = format!("{}x{}", "${a:-".repeat(50), "}".repeat(50));
    assert_eq!(ok(&deep), "x");
    let deeper = format!("{}x{}", "${a:-".repeat(50_000), "}".repeat(50_000));
    assert_eq!(fails(&deeper), "substitutions are nested too deeply");
}

/// Found by the fuzzer: replacements within replacements double the text with every level.
#[test]
fn text_does_not_grow_without_bound() {
    let slashes = "/".repeat(40);
    let env = |name: &str| (name == "x").then(|| slashes.clone());
    let mut word = "!".to_owned();
    for _ in 0..30 {
        word = format!("${{x//\\//{word}}}");
    }
    let error = expand(&word, '\\', &env).unwrap_err();
    assert_eq!(error.reason, "the substitutions give too much text");
    let long = |name: &str| (name == "x").then(|| "a".repeat(3 << 20));
    assert!(expand("$x", '\\', &long).is_ok());
    assert!(expand("$x$x", '\\', &long).is_err());
    assert!(expand("${x//*b/c}", '\\', &long).is_err(), "no pattern takes minutes");
    assert_eq!(expand("${x//b/c}", '\\', &long).unwrap().text.len(), 3 << 20);
}
