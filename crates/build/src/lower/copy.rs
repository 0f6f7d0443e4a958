//! COPY and ADD (`spec/build.md` section 2). What copying means is the worker's; here words become values.
use super::{InputRef, Lowering, Op, Step, says};
use crate::error::Site;
use crate::{BuildError, BuildErrorKind, CopyOp, CopySource, FileOp, StepId, path};
use strata_dockerfile::{Add, Copy, CopySource as Written, Word, expand_heredoc};

/// The parts that COPY and ADD have in common.
struct Common<'a> {
    instruction: &'static str,
    sources: &'a [Written],
    destination: &'a Word,
    chown: Option<&'a Word>,
    chmod: Option<&'a Word>,
    link: bool,
    parents: bool,
    exclude: &'a [Word],
    unpack: bool,
}

/// What only ADD can say about a source that is not in the context.
struct Remote {
    checksum: Option<String>,
    keep_git_dir: bool,
    /// `--unpack`, as written.
    unpack: Option<bool>,
}

impl Lowering<'_, '_> {
    pub(super) fn copy_step(&mut self, copy: &Copy, id: StepId, site: Site) -> Result<(), BuildError> {
        if let Some(from) = copy.from.as_ref().filter(|from| from.text.contains('$')) {
            return Err(site.word(
                from.span,
                says(
                    "variable expansion is not supported for --from, define a new stage with FROM using ARG \
                     from global scope as a workaround",
                ),
            ));
        }
        let input = self.input(copy.from.as_ref().map(|from| from.text.as_str()), true, site)?;
        let common = Common {
            instruction: "COPY",
            sources: &copy.sources,
            destination: &copy.destination,
            chown: copy.chown.as_ref(),
            chmod: copy.chmod.as_ref(),
            link: copy.link,
            parents: copy.parents,
            exclude: &copy.exclude,
            unpack: false,
        };
        let op = self.file_op(&common, None, site)?;
        self.file_step(id, site, &common, op, input);
        Ok(())
    }

    pub(super) fn add_step(&mut self, add: &Add, id: StepId, site: Site) -> Result<(), BuildError> {
        let checksum = add.checksum.as_ref().map(|word| self.expand(word, site)).transpose()?;
        if checksum.is_some() && add.sources.len() > 1 {
            return Err(site.says("checksum can't be specified for multiple sources"));
        }
        let common = Common {
            instruction: "ADD",
            sources: &add.sources,
            destination: &add.destination,
            chown: add.chown.as_ref(),
            chmod: add.chmod.as_ref(),
            link: add.link,
            parents: false,
            exclude: &add.exclude,
            unpack: add.unpack.unwrap_or(true),
        };
        let remote = Remote { checksum, keep_git_dir: add.keep_git_dir, unpack: add.unpack };
        let op = self.file_op(&common, Some(&remote), site)?;
        let input = self.input(None, false, site)?;
        self.file_step(id, site, &common, op, input);
        Ok(())
    }

    fn file_step(&mut self, id: StepId, site: Site, common: &Common<'_>, op: CopyOp, input: InputRef) {
        let words = common.sources.iter().zip(&op.sources).filter_map(|pair| match pair {
            (Written::Path(word), CopySource::Path(path)) => Some((path.clone(), word.span)),
            _ => None,
        });
        self.step(Step {
            id,
            site,
            instruction: common.instruction,
            sources: words.collect(),
            op: Op::File(FileOp::Copy(op)),
            inputs: vec![input],
            ignore_cache: false,
        });
    }

    fn file_op(
        &mut self,
        common: &Common<'_>,
        remote: Option<&Remote>,
        site: Site,
    ) -> Result<CopyOp, BuildError> {
        let mut sources = Vec::new();
        for source in common.sources {
            sources.push(self.source(source, remote, site)?);
        }
        let written = self.expand(common.destination, site)?;
        let chown = common.chown.map(|word| self.expand(word, site)).transpose()?;
        let chmod = common.chmod.map(|word| self.expand(word, site)).transpose()?;
        if let (Some(mode), Some(word)) = (&chmod, common.chmod) {
            check_mode(mode).map_err(|kind| site.word(word.span, kind))?;
        }
        self.draft.row(history(common, &sources, &written, chown.as_deref(), chmod.as_deref()), false);
        let is_remote =
            |source: &CopySource| matches!(source, CopySource::Http { .. } | CopySource::Git { .. });
        // A URL's archive stays packed unless the instruction says otherwise (2.6).
        let unpack = match remote {
            Some(remote) if sources.iter().any(is_remote) => remote.unpack == Some(true),
            _ => common.unpack,
        };
        let destination = path::destination(&self.draft.config.working_dir, &written);
        if sources.len() > 1 && !destination.ends_with('/') {
            self.plan.warnings.push((
                format!(
                    "{} of several sources to {written}, which does not end in /: unless it is a directory, \
                     the last file wins",
                    common.instruction
                ),
                site.span(),
            ));
        }
        Ok(CopyOp {
            sources,
            destination,
            chown,
            chmod,
            link: common.link,
            parents: common.parents,
            exclude: common.exclude.iter().map(|word| word.text.clone()).collect(),
            unpack,
            epoch: self.shared.epoch,
        })
    }

    fn source(
        &self,
        source: &Written,
        remote: Option<&Remote>,
        site: Site,
    ) -> Result<CopySource, BuildError> {
        let word = match source {
            Written::Path(word) => word,
            Written::Heredoc(heredoc) => {
                let content = if heredoc.expand {
                    let env = &self.draft.env;
                    expand_heredoc(&heredoc.body, &|name| env.get(name).map(str::to_owned))
                        .map_err(|error| site.word(heredoc.span, BuildErrorKind::Expand(error)))?
                        .text
                } else {
                    heredoc.body.clone()
                };
                return Ok(CopySource::Inline {
                    name: heredoc.delimiter.clone(),
                    content: content.into_bytes(),
                });
            }
        };
        let text = self.expand(word, site)?;
        let (is_git, is_http) = (is_git(&text), is_http(&text));
        let refuse = |sentence: &str| Err(site.word(word.span, says(sentence)));
        match remote {
            None if is_git => refuse("source can't be a git ref for COPY"),
            None if is_http => refuse("source can't be a URL for COPY"),
            Some(Remote { checksum, keep_git_dir, .. }) if is_git => {
                Ok(CopySource::Git { url: text, keep_git_dir: *keep_git_dir, checksum: checksum.clone() })
            }
            Some(Remote { checksum, .. }) if is_http => {
                Ok(CopySource::Http { url: text, checksum: checksum.clone() })
            }
            Some(Remote { checksum: Some(_), .. }) => {
                refuse("checksum can't be specified for non-HTTP(S) & non-Git sources")
            }
            _ => Ok(CopySource::Path(text)),
        }
    }
}

/// `COPY [--parents] [--chown=..] [--chmod=..] src... dest # buildkit`: expanded, other flags left out (5.2).
fn history(
    common: &Common<'_>,
    sources: &[CopySource],
    destination: &str,
    chown: Option<&str>,
    chmod: Option<&str>,
) -> String {
    let mut row = common.instruction.to_owned();
    let mut word = |text: String| {
        row.push(' ');
        row.push_str(&text);
    };
    if common.parents {
        word("--parents".to_owned());
    }
    if let Some(chown) = chown {
        word(format!("--chown={chown}"));
    }
    if let Some(chmod) = chmod {
        word(format!("--chmod={chmod}"));
    }
    // Heredocs stand behind the paths, whatever their order in the instruction.
    for source in sources {
        match source {
            CopySource::Path(text) => word(text.clone()),
            CopySource::Http { url, .. } | CopySource::Git { url, .. } => word(url.clone()),
            CopySource::Inline { .. } => {}
        }
    }
    for source in sources {
        if let CopySource::Inline { name, .. } = source {
            word(format!("<<{name}"));
        }
    }
    word(destination.to_owned());
    row + " # buildkit"
}

fn is_http(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// `git@host:path`, `ssh://`, `git://`, and http(s) whose path ends in `.git` (2.6).
fn is_git(source: &str) -> bool {
    if source.starts_with("git@") || source.starts_with("git://") || source.starts_with("ssh://") {
        return true;
    }
    let address = source.split(['#', '?']).next().unwrap_or(source);
    is_http(source) && address.ends_with(".git")
}

/// Octal up to 07777, or `chmod`'s symbolic clauses.
fn check_mode(mode: &str) -> Result<(), BuildErrorKind> {
    let octal = !mode.is_empty()
        && mode.bytes().all(|b| matches!(b, b'0'..=b'7'))
        && u32::from_str_radix(mode, 8).is_ok_and(|mode| mode <= 0o7777);
    if octal || mode.split(',').all(is_clause) {
        return Ok(());
    }
    Err(says(format!("invalid chmod parameter: '{mode}'. it should be octal string and between 0 and 07777")))
}

/// `u=rwX`, `go-w`, `+x`, `g=u`, `u+r-w`.
fn is_clause(clause: &str) -> bool {
    let actions = clause.trim_start_matches(['u', 'g', 'o', 'a']);
    actions.starts_with(['+', '-', '='])
        && actions.split(['+', '-', '=']).skip(1).all(|what| {
            matches!(what, "u" | "g" | "o")
                || what.bytes().all(|b| matches!(b, b'r' | b'w' | b'x' | b'X' | b's' | b't'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        for good in ["0", "755", "07777", "u=rwX,go=rX", "+x", "g=u", "a+X", "go-w", "u+r-w"] {
            assert!(check_mode(good).is_ok(), "{good}");
        }
        for bad in ["", "64a", "10000", "8", "u", "u=q", "u=rw,", "x+u"] {
            let sentence = check_mode(bad).expect_err(bad).to_string();
            assert_eq!(
                sentence,
                format!(
                    "invalid chmod parameter: '{bad}'. it should be octal string and between 0 and 07777"
                )
            );
        }
    }

    #[test]
    fn repositories_are_told_from_files() {
        for git in ["git@h:p", "ssh://h/p", "git://h/p", "https://h/p.git#main:sub", "http://h/p.git?ref=x"] {
            assert!(is_git(git), "{git}");
        }
        for other in ["https://h/p", "https://h/p.gitx", "a.git", "git"] {
            assert!(!is_git(other), "{other}");
        }
    }
}
