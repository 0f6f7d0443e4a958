use super::*;
use crate::Command;

#[test]
fn originals_are_joined_and_trimmed() {
    let text = "FROM a\nRUN echo hello\\\n  # comment\n\n  world  \n";
    let file = parse(text).unwrap();
    let run = &file.stages[0].instructions[0];
    assert_eq!(run.original, "RUN echo hello  world");
    assert_eq!(&text[run.span.start..run.span.end], "RUN echo hello\\\n  # comment\n\n  world");
    assert_eq!(file.warnings.len(), 1);
}

#[test]
fn onbuild_keeps_its_text() {
    let file = parse("FROM a\nONBUILD COPY <<EOF <<-\"X\" /d/\nbody\nEOF\n\tx\n\tX\nUSER u\n").unwrap();
    let Command::Onbuild { trigger, text } = &file.stages[0].instructions[0].command else { panic!() };
    assert_eq!(text, "COPY <<EOF <<-\"X\" /d/\nbody\nEOF\n\tx\nX");
    let again = parse_instruction(text).unwrap();
    let (Command::Copy(a), Command::Copy(b)) = (&trigger.command, &again.command) else { panic!() };
    assert_eq!(a.sources.len(), 2);
    assert_eq!(a.sources.len(), b.sources.len());
}

#[test]
fn a_trigger_is_one_instruction() {
    assert!(parse_instruction("RUN a\nRUN b").unwrap_err().message.contains("single expression"));
    assert!(parse_instruction("").unwrap_err().message.contains("single expression"));
    assert!(parse_instruction("FROM a").is_err());
}

#[test]
fn bytes_that_are_no_text() {
    let file = parse_bytes(b"# caf\xe9\nFROM a\n").unwrap();
    assert_eq!(file.stages[0].span, crate::Span { start: 7, end: 13 });
    let error = parse_bytes(b"FROM a\nRUN caf\xe9\n").unwrap_err();
    assert_eq!((error.line_range, error.span.start), ((2, 2), 14));
}

#[test]
fn long_lines() {
    let line = |length: usize| format!("FROM a\nRUN {}\n", "x".repeat(length - 4));
    assert!(parse(&line(65535)).is_ok());
    let error = parse(&line(65536)).unwrap_err();
    assert_eq!(error.message, "dockerfile line greater than max allowed size of 65535");
    assert_eq!(error.line_range, (2, 2));
}
