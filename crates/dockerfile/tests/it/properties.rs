//! What holds for every text.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use strata_dockerfile::*;

use crate::dump::dump;

/// Pieces of which random Dockerfiles are made: everything that means something somewhere.
const PIECES: &[&str] = &[
    "FROM ",
    "from a AS b\n",
    "RUN ",
    "COPY ",
    "ADD ",
    "ENV ",
    "LABEL ",
    "ARG ",
    "CMD ",
    "ENTRYPOINT ",
    "SHELL ",
    "ONBUILD ",
    "HEALTHCHECK ",
    "EXPOSE ",
    "VOLUME ",
    "USER ",
    "WORKDIR ",
    "STOPSIGNAL ",
    "MAINTAINER ",
    "NONE",
    "\n",
    "\n",
    "\n",
    " ",
    " ",
    "\t",
    "\\\n",
    "\\",
    "`",
    "`\n",
    "\r\n",
    "#",
    "# x\n",
    "# escape=`\n",
    "# check=skip=all\n",
    "<<EOF",
    "<<-EOF",
    "<<'EOF'",
    "<<\"E F\"",
    "3<<A",
    "<< B",
    "EOF\n",
    "A\n",
    "\tEOF\n",
    "E F\n",
    "--",
    "--from=b ",
    "--mount=type=cache,target=/x ",
    "--chown=\"a b\" ",
    "--link ",
    "--exclude=*.x ",
    "--interval=5s ",
    "--unpack=false ",
    "a",
    "b",
    "x=y ",
    "a=\"b c\" ",
    "'",
    "\"",
    "[\"a\", \"b\"]",
    "[\"a b\",",
    "]",
    "[",
    ",",
    "$x",
    "${x:-y}",
    "=",
    "ü",
    "\u{1F600}",
    "\\u00e9",
    "/",
    ".",
    "80/tcp ",
    "FROM a\n",
    "FROM a\n",
];

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..40).prop_map(|pieces| pieces.concat())
}

/// Whole instructions; between their words anything may stand.
const BEGINNINGS: &[&str] = &[
    "RUN ",
    "RUN --mount=type=cache,target=/x ",
    "COPY a ",
    "COPY --from=b --chown=\"a b\" ",
    "ADD --link x ",
    "ENV x=",
    "ENV key ",
    "LABEL a=b ",
    "ARG ",
    "CMD ",
    "CMD [\"a\", \"b\"]",
    "ENTRYPOINT ",
    "SHELL [\"sh\"]",
    "ONBUILD RUN ",
    "ONBUILD COPY a ",
    "HEALTHCHECK --interval=5s CMD ",
    "EXPOSE 80 ",
    "VOLUME /v ",
    "VOLUME [\"a b\"]",
    "USER u",
    "WORKDIR /w",
    "STOPSIGNAL 9",
    "MAINTAINER m",
    "FROM a AS b",
    "FROM --platform=$x a",
    "COPY <<EOF /x\n$x\nEOF\n#",
    "RUN <<-'EOF' cat\n\ta\n\tEOF\n#",
    "RUN cat 3<<A <<\"B\"\na\nA\nb\nB\n#",
    "ONBUILD COPY <<EOF /x\na\nEOF\n#",
];

/// A file that parses more often than not.
fn likely_file() -> impl Strategy<Value = String> {
    let piece =
        || prop::sample::select(PIECES).prop_filter("no line of its own", |piece| !piece.contains("FROM"));
    let line = (prop::sample::select(BEGINNINGS), prop::collection::vec(piece(), 0..3))
        .prop_map(|(beginning, pieces)| format!("{beginning}{}\n", pieces.concat()));
    prop::collection::vec(line, 0..8).prop_map(|lines| format!("FROM a\n{}", lines.concat()))
}

/// Every span lies in the text, on the edges of characters.
fn check_spans(text: &str) {
    let at = |span: Span| {
        assert!(span.start <= span.end, "{span:?} in {text:?}");
        assert!(text.get(span.start..span.end).is_some(), "{span:?} in {text:?}");
    };
    match parse(text) {
        Ok(file) => {
            // The dump looks into every span.
            dump(&file, Some(text));
            file.warnings.iter().for_each(|warning| at(warning.span));
        }
        Err(error) => {
            for error in std::iter::once(&error).chain(&error.more) {
                at(error.span);
                assert!(1 <= error.line_range.0 && error.line_range.0 <= error.line_range.1, "{error:?}");
                assert!(!error.to_string().is_empty());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parser_panic(text in text()) {
        check_spans(&text);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_bytes(&bytes);
        let _ = Ignore::parse(&bytes).map(|ignore| ignore.verdict(&bytes, true));
        let _ = glob::matches(&bytes, &bytes);
    }

    #[test]
    fn printing_keeps_the_meaning(text in likely_file()) {
        check_spans(&text);
        // The text of an ONBUILD that the end of the file cuts off in a continuation cannot be written otherwise.
        if text.trim_end().ends_with(['\\', '`']) {
            return Ok(());
        }
        let Ok(file) = parse(&text) else { return Ok(()) };
        let printed = file.to_string();
        let again = parse(&printed).map_err(|error| TestCaseError::fail(format!("{error}\n{printed}")))?;
        prop_assert_eq!(dump(&again, None), dump(&file, None), "printed:\n{}", printed);
        // The second print is the first: the printed form is canonical.
        prop_assert_eq!(again.to_string(), printed);
    }

    #[test]
    fn no_word_makes_expansion_panic(word in text(), escape in prop::sample::select(&['\\', '`'][..])) {
        let lookup = |name: &str| name.len().is_multiple_of(2).then(|| format!("<{name}>"));
        let _ = expand(&word, escape, &lookup);
        let _ = expand_raw(&word, escape, &lookup);
        let _ = expand_words(&word, escape, &lookup);
        let _ = expand_heredoc(&word, &lookup);
    }

    #[test]
    fn a_word_without_special_characters_stays(word in "[a-zA-Z0-9_./:=-]{0,30}") {
        let expanded = expand(&word, '\\', &|_| None).unwrap();
        prop_assert_eq!(expanded.text, word);
    }

    #[test]
    fn an_escaped_word_is_literal(word in "[ a-z$'\"{}\\\\<]{0,20}") {
        let escaped: String = word.chars().flat_map(|c| ['\\', c]).collect();
        prop_assert_eq!(expand(&escaped, '\\', &|_| Some("wrong".to_owned())).unwrap().text, word);
    }

    #[test]
    fn no_mount_makes_the_parser_panic(text in "[a-z=,\"$0-9 ]{0,40}") {
        let _ = Mount::parse(&text);
        let _ = Device::parse(&text);
        let _ = ports::PortSpec::parse(&text);
        let _ = duration::parse(&text);
        let _ = chmod::check(&text);
        let _ = platform::parse(&text);
        let _ = signal::parse(&text);
        let _ = ram_in_bytes(&text);
    }

    #[test]
    fn durations_survive_printing(nanos in any::<i64>()) {
        prop_assert_eq!(duration::parse(&duration::format(nanos)), Ok(nanos));
    }
}

/// The property above would be empty if most files did not parse.
#[test]
fn likely_files_are_likely() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut parsed = 0;
    for _ in 0..1000 {
        let text = likely_file().new_tree(&mut runner).unwrap().current();
        parsed += usize::from(parse(&text).is_ok());
    }
    assert!(parsed > 300, "only {parsed} of 1000 parse");
}

/// Every golden file with one byte changed, dropped or doubled at each place.
#[test]
fn no_slip_of_the_pen_makes_the_parser_panic() {
    for kind in ["ok", "fail"] {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(kind);
        for entry in fs_err::read_dir(dir).unwrap() {
            let bytes = fs_err::read(entry.unwrap().path().join("Dockerfile")).unwrap();
            for at in 0..bytes.len() {
                for replacement in [&b""[..], b"\n", b"\\", b"\"", b"<", b"#", b"\xff"] {
                    let changed = [&bytes[..at], replacement, &bytes[at + 1..]].concat();
                    match String::from_utf8(changed) {
                        Ok(text) => check_spans(&text),
                        Err(error) => drop(parse_bytes(error.as_bytes())),
                    }
                }
            }
        }
    }
}

/// Golden files mean the same after printing.
#[test]
fn golden_files_survive_printing() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/ok");
    for entry in fs_err::read_dir(dir).unwrap() {
        let case = entry.unwrap().path();
        let file = parse_bytes(&fs_err::read(case.join("Dockerfile")).unwrap()).unwrap();
        let printed = file.to_string();
        let again = parse(&printed).unwrap_or_else(|error| panic!("{}: {error}\n{printed}", case.display()));
        assert_eq!(dump(&again, None), dump(&file, None), "{}\n{printed}", case.display());
    }
}
