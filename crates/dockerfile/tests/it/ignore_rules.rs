//! `.dockerignore` against a slow and literal reading of the rules.

use proptest::prelude::*;
use strata_dockerfile::{Ignore, Verdict};

/// The rules, straight from `spec/build.md` section 6 and from how BuildKit walks: no shortcut is taken.
mod literal {
    struct Rule {
        exception: bool,
        pattern: Vec<char>,
    }

    pub(super) fn excluded(text: &str, path: &str) -> bool {
        let rules: Vec<Rule> = text.lines().filter(|line| !line.starts_with('#')).filter_map(rule).collect();
        // From the outermost directory inwards: which rules matched so far?
        let mut matched = vec![false; rules.len()];
        let mut excluded = false;
        let parts: Vec<&str> = path.split('/').collect();
        for depth in 1..=parts.len() {
            let path: Vec<char> = parts[..depth].join("/").chars().collect();
            excluded = false;
            for (rule, matched) in rules.iter().zip(&mut matched) {
                // A rule that could change nothing is not asked.
                if !*matched && rule.exception == excluded {
                    *matched = matches(&rule.pattern, &path);
                }
                if *matched {
                    excluded = !rule.exception;
                }
            }
        }
        excluded
    }

    fn rule(line: &str) -> Option<Rule> {
        let line = line.trim();
        let (exception, line) = match line.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        let mut parts: Vec<&str> = Vec::new();
        for part in line.split('/').filter(|part| !part.is_empty() && *part != ".") {
            match (part, parts.last()) {
                ("..", Some(last)) if *last != ".." => drop(parts.pop()),
                ("..", _) if line.starts_with('/') => {}
                _ => parts.push(part),
            }
        }
        if line.is_empty() {
            return None;
        }
        Some(Rule { exception, pattern: parts.join("/").chars().collect() })
    }

    fn matches(pattern: &[char], path: &[char]) -> bool {
        // `**x` at the very front without a slash takes any beginning, also half a name.
        if let ['*', '*', rest @ ..] = pattern
            && !rest.is_empty()
            && rest[0] != '/'
            && !rest.iter().any(|c| "*?[]\\".contains(*c))
        {
            return path.ends_with(rest);
        }
        step(pattern, path)
    }

    fn step(pattern: &[char], path: &[char]) -> bool {
        match pattern {
            [] => path.is_empty(),
            ['*', '*'] | ['*', '*', '/'] => true,
            ['*', '*', '/', rest @ ..] | ['*', '*', rest @ ..] => {
                step(rest, path) || (0..path.len()).any(|i| path[i] == '/' && step(rest, &path[i + 1..]))
            }
            ['*', rest @ ..] => {
                let end = path.iter().position(|c| *c == '/').unwrap_or(path.len());
                (0..=end).any(|i| step(rest, &path[i..]))
            }
            ['?', rest @ ..] => path.first().is_some_and(|c| *c != '/') && step(rest, &path[1..]),
            ['[', rest @ ..] => {
                let close = rest.iter().position(|c| *c == ']').unwrap();
                let (class, negated) = match &rest[..close] {
                    ['^', class @ ..] => (class, true),
                    class => (class, false),
                };
                let within = |c: char| match class {
                    [low, '-', high] => (*low..=*high).contains(&c),
                    class => class.contains(&c),
                };
                path.first().is_some_and(|c| within(*c) != negated) && step(&rest[close + 1..], &path[1..])
            }
            ['\\', c, rest @ ..] | [c, rest @ ..] => path.first() == Some(c) && step(rest, &path[1..]),
        }
    }
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::collection::vec(prop::sample::select(&["a", "b", "c", "ab", "ü", "*"][..]), 1..3),
        1..5,
    )
    .prop_map(|parts| parts.iter().map(|part| part.concat()).collect::<Vec<_>>().join("/"))
}

fn rules() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(
        &[
            "a", "b", "c", "/", "/", "*", "**", "**/", "?", "[ab]", "[^a]", "[a-b]", "\\*", "ü", ".", "..",
            "/**",
        ][..],
    );
    let body = prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat());
    let line = (prop::sample::select(&["", "", "!", "! ", " ", "/"][..]), body)
        .prop_map(|(head, body)| format!("{head}{body}"));
    prop::collection::vec(line, 0..6).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn as_the_rules_read(rules in rules(), paths in prop::collection::vec(path(), 1..8)) {
        let Ok(ignore) = Ignore::parse(&rules) else { return Ok(()) };
        let mut walk = ignore.walk();
        for path in &paths {
            let wanted = literal::excluded(&rules, path);
            let found = ignore.verdict(path.as_bytes(), false);
            prop_assert_eq!(found == Verdict::Exclude, wanted, "{:?} {:?}", rules, path);
            prop_assert_eq!(walk.verdict(path.as_bytes(), false), found, "walk {:?} {:?}", rules, path);
            // Nothing that belongs to the context may stand below a directory that is left out for good.
            if !wanted {
                for (slash, _) in path.match_indices('/') {
                    let dir = ignore.verdict(&path.as_bytes()[..slash], true);
                    prop_assert!(dir != Verdict::Exclude, "{:?}: {:?} in {:?}", rules, path, &path[..slash]);
                }
            }
        }
    }
}
