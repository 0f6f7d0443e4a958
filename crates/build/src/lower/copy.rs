//! COPY and ADD (`spec/build.md` section 2). What copying means is the worker's; here words become values.
use super::{InputRef, Lowering, Op, Step, says};
use crate::error::Site;
use crate::{BuildError, BuildErrorKind, CopyOp, CopySource, FileOp, GitSource, StepId, path};
use strata_dockerfile::{Add, Copy, CopySource as Written, Word, chmod, expand_heredoc};
use strata_oci::Digest;

/// The parts that COPY and ADD have in common.
struct Common<'a> {
    instruction: &'static str,
    /// Paths first, then heredocs: that is the order in which BuildKit copies, whatever stands where in the line.
    sources: Vec<&'a Written>,
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
        let input = self.input(copy.from.as_ref().map(|from| from.text.as_str()), true, site)?;
        let common = Common {
            instruction: "COPY",
            sources: ordered(&copy.sources),
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
        let checksum = self.flag(add.checksum.as_ref(), site)?;
        if checksum.is_some() && add.sources.len() > 1 {
            return Err(site.says("checksum can't be specified for multiple sources"));
        }
        let common = Common {
            instruction: "ADD",
            sources: ordered(&add.sources),
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

    /// `FROM NAME` of a context that is a directory: its files are the first layer. BuildKit gives it no row of its own,
    /// and its exporter then adds one.
    pub(super) fn root_directory(&mut self, name: &str) {
        let stage = self.stage();
        let site = Site::from(stage.span);
        let id = self.inform(&stage.original, &format!("FROM {name}"), true, site);
        self.draft.root_row();
        let op = CopyOp {
            sources: vec![CopySource::Path(".".to_owned())],
            destination: "/".to_owned(),
            chown: None,
            chmod: None,
            link: false,
            parents: false,
            exclude: Vec::new(),
            unpack: false,
            epoch: self.shared.epoch,
        };
        self.step(Step {
            id,
            site,
            instruction: "FROM",
            sources: Vec::new(),
            op: Op::File(FileOp::Copy(op)),
            inputs: vec![InputRef::Named(name.to_owned())],
            ignore_cache: false,
        });
    }

    fn file_step(&mut self, id: StepId, site: Site, common: &Common<'_>, op: CopyOp, input: InputRef) {
        let words = common.sources.iter().copied().zip(&op.sources).filter_map(|pair| match pair {
            (Written::Path(word), CopySource::Path(path)) => Some((path.clone(), word.span)),
            (Written::Path(word), CopySource::Http { url, .. } | CopySource::Git { url, .. }) => {
                Some((url.clone(), word.span))
            }
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
        for source in &common.sources {
            sources.push(self.source(source, remote, site)?);
        }
        let written = self.expand(common.destination, site)?;
        let chown = self.flag(common.chown, site)?;
        let chmod = self.flag(common.chmod, site)?;
        if let (Some(mode), Some(word)) = (&chmod, common.chmod) {
            chmod::check(mode).map_err(|error| site.word(word.span, says(error.to_string())))?;
        }
        let flags = shown_flags(common, chown.as_deref(), chmod.as_deref());
        let rest = shown_words(&sources, &written);
        self.draft.copy_row(common.instruction, &flags, chown.as_deref(), &rest, &written);
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
            // BuildKit copies without linking when there is a mode to set.
            link: common.link && chmod.is_none(),
            chown,
            chmod,
            parents: common.parents,
            exclude: common.exclude.iter().map(|word| word.text.clone()).collect(),
            unpack,
            epoch: self.shared.epoch,
        })
    }

    /// A flag's value; one that expands to nothing is as good as none.
    fn flag(&self, word: Option<&Word>, site: Site) -> Result<Option<String>, BuildError> {
        let value = word.map(|word| self.expand(word, site)).transpose()?;
        Ok(value.filter(|value| !value.is_empty()))
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
        let refuse = |sentence: String| Err(site.word(word.span, says(sentence)));
        let Some(remote) = remote else {
            return match GitSource::parse(&text) {
                Ok(None) if is_http(&text) => refuse("source can't be a URL for COPY".to_owned()),
                Ok(None) => Ok(CopySource::Path(text)),
                Ok(Some(_)) | Err(_) => refuse("source can't be a git ref for COPY".to_owned()),
            };
        };
        let (checksum, epoch) = (remote.checksum.as_deref(), self.shared.epoch.is_some());
        match remote_source(&text, checksum, remote.keep_git_dir, epoch) {
            Err(sentence) => refuse(sentence),
            Ok(Some(source)) => Ok(source),
            Ok(None) if checksum.is_some() => refuse("checksum requires HTTP(S) or Git sources".to_owned()),
            Ok(None) => Ok(CopySource::Path(text)),
        }
    }
}

/// What an ADD fetches; `None` if it is a path. With `fixed_times` nothing may depend on when a repository was checked
/// out. The error is a sentence about the source.
pub(crate) fn remote_source(
    text: &str,
    checksum: Option<&str>,
    keep_git_dir: bool,
    fixed_times: bool,
) -> Result<Option<CopySource>, String> {
    let git = match (GitSource::parse(text), checksum) {
        (Ok(Some(source)), Some(checksum)) => source.with_checksum(checksum).map(Some),
        (git, _) => git,
    };
    let url = text.to_owned();
    if let Some(mut source) = git.map_err(|error| error.to_string())? {
        source.keep_git_dir |= keep_git_dir;
        source.commit_times |= fixed_times;
        return Ok(Some(CopySource::Git { url, source }));
    }
    if !is_http(text) {
        return Ok(None);
    }
    let checksum = checksum.map(|checksum| {
        checksum
            .parse::<Digest>()
            .map_err(|_| format!("invalid checksum {checksum:?}: use sha256:<64 hexadecimal digits>"))
    });
    Ok(Some(CopySource::Http { url, name: file_name(text), checksum: checksum.transpose()? }))
}

fn ordered(sources: &[Written]) -> Vec<&Written> {
    let (heredocs, paths): (Vec<_>, Vec<_>) = sources.iter().partition(|source| source.heredoc().is_some());
    [paths, heredocs].concat()
}

/// `COPY [--parents] [--chown=..] [--chmod=..] src... dest # buildkit`: expanded, other flags left out (5.2).
fn shown_flags(common: &Common<'_>, chown: Option<&str>, chmod: Option<&str>) -> String {
    let parents = if common.parents { " --parents" } else { "" };
    let flag =
        |name: &str, value: Option<&str>| value.map(|value| format!(" --{name}={value}")).unwrap_or_default();
    format!("{parents}{}{}", flag("chown", chown), flag("chmod", chmod))
}

fn shown_words(sources: &[CopySource], destination: &str) -> String {
    let mut words = String::new();
    for source in sources {
        words.push(' ');
        match source {
            CopySource::Path(text) => words.push_str(text),
            CopySource::Http { url, .. } | CopySource::Git { url, .. } => words.push_str(url),
            CopySource::Inline { name, .. } => words.push_str(&format!("<<{name}")),
        }
    }
    format!("{words} {destination}")
}

fn is_http(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// What the file at a URL is called: the last part of its path, percent-decoded. BuildKit's word for none is kept.
pub fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let path = path.split_once('/').map_or("", |(_, path)| path);
    let decoded = crate::git::decode(path, false);
    match path::base_name(&decoded) {
        None | Some("." | "..") => "__unnamed__".to_owned(),
        Some(name) if name.contains('\0') => "__unnamed__".to_owned(),
        Some(name) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_downloads() {
        for (url, name) in [
            ("https://h/a/b.tar.gz?x=/y#z", "b.tar.gz"),
            ("https://h/a/b%20c", "b c"),
            ("https://h/a%2Fb", "b"),
            ("https://h/dir/", "dir"),
            ("https://h/", "__unnamed__"),
            ("https://h", "__unnamed__"),
            ("https://h?x=y", "__unnamed__"),
            ("https://h/a/%2e%2e", "__unnamed__"),
        ] {
            assert_eq!(file_name(url), name, "{url}");
        }
    }
}
