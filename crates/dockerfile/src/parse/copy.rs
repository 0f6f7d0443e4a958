//! `COPY` and `ADD`.

use super::flags::{Flags, Kind};
use super::heredoc;
use super::parts::Source;
use crate::error::Fault;
use crate::{Add, Copy, CopySource, Heredoc, Span, Word};

pub(crate) fn copy(mut source: Source<'_>) -> Result<Copy, Fault> {
    let words = arguments(&source)?;
    let flags = source.flags(&[
        ("chown", Kind::One),
        ("from", Kind::One),
        ("chmod", Kind::One),
        ("link", Kind::Bool),
        ("exclude", Kind::Many),
        ("parents", Kind::Bool),
    ])?;
    let (sources, destination) = sources("COPY", words, source)?;
    Ok(Copy {
        sources,
        destination,
        from: flags.filled("from"),
        chown: flags.filled("chown"),
        chmod: flags.filled("chmod"),
        link: switch(&flags, "link"),
        parents: switch(&flags, "parents"),
        exclude: flags.many("exclude"),
    })
}

pub(crate) fn add(mut source: Source<'_>) -> Result<Add, Fault> {
    let words = arguments(&source)?;
    let flags = source.flags(&[
        ("chown", Kind::One),
        ("chmod", Kind::One),
        ("link", Kind::Bool),
        ("keep-git-dir", Kind::Bool),
        ("checksum", Kind::One),
        ("unpack", Kind::Bool),
        ("exclude", Kind::Many),
    ])?;
    let (sources, destination) = sources("ADD", words, source)?;
    Ok(Add {
        sources,
        destination,
        chown: flags.filled("chown"),
        chmod: flags.filled("chmod"),
        link: switch(&flags, "link"),
        keep_git_dir: switch(&flags, "keep-git-dir"),
        checksum: flags.filled("checksum"),
        unpack: flags.bool("unpack"),
        exclude: flags.many("exclude"),
    })
}

fn switch(flags: &Flags, name: &str) -> bool {
    flags.bool(name).unwrap_or(false)
}

fn arguments(source: &Source<'_>) -> Result<Vec<Word>, Fault> {
    let words = if source.parts.json.is_some() { source.list() } else { join_heredocs(source.list()) };
    if words.len() < 2 {
        return Err(Fault::new(format!(
            "{} requires at least two arguments, but only one was provided. Destination could not be determined",
            source.parts.name
        )));
    }
    Ok(words)
}

/// `<< EOF` is one word.
fn join_heredocs(words: Vec<Word>) -> Vec<Word> {
    let mut joined: Vec<Word> = Vec::with_capacity(words.len());
    for word in words {
        let bare = |last: &&mut Word| {
            let operator = last.text.trim_start_matches(|c: char| c.is_ascii_digit());
            operator == "<<" || operator == "<<-"
        };
        match joined.last_mut().filter(bare) {
            Some(last) => {
                last.text.push_str(&word.text);
                last.span = Span { start: last.span.start, end: word.span.end };
            }
            None => joined.push(word),
        }
    }
    joined
}

/// Parts sources from destination and gives each heredoc its body.
fn sources(name: &str, mut words: Vec<Word>, source: Source<'_>) -> Result<(Vec<CopySource>, Word), Fault> {
    let too_few = || Fault::new(format!("{name} requires at least two arguments"));
    let destination = words.pop().ok_or_else(too_few)?;
    let is_json = source.parts.json.is_some();
    let opening = |word: &Word| if is_json { None } else { heredoc::opening(&word.text).ok().flatten() };
    if opening(&destination).is_some() {
        let fault = Fault::new(format!("{name} cannot accept a heredoc as a destination"));
        return Err(fault.at(destination.span));
    }
    let mut bodies: Vec<Option<Heredoc>> = source.bodies.heredocs.into_iter().map(Some).collect();
    let mut take = |delimiter: &str| {
        bodies.iter_mut().find(|body| body.as_ref().is_some_and(|b| b.delimiter == delimiter))?.take()
    };
    let sources = words
        .into_iter()
        .map(|word| match opening(&word).and_then(|opening| take(&opening.delimiter)) {
            Some(heredoc) => CopySource::Heredoc(heredoc),
            None => CopySource::Path(word),
        })
        .collect();
    Ok((sources, destination))
}
