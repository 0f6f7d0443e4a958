//! `SOURCE_DATE_EPOCH=STAGE`: the time of what a stage fetches (`spec/build.md` 1.8). The stage may do nothing else.
use crate::error::Site;
use crate::lower::remote_source;
use crate::scope::{CONTEXT, Globals, stage_named};
use crate::{BuildError, BuildOptions, CopySource};
use strata_dockerfile::{Command, Dockerfile, Stage};

/// The source whose time is meant, and what it is called, when `SOURCE_DATE_EPOCH` names a stage. Whoever knows the time
/// puts it into [`BuildOptions::context_times`] under that name.
///
/// # Errors
/// A stage that is not `FROM scratch` with one ADD from elsewhere.
pub fn epoch_source(
    dockerfile: &Dockerfile,
    options: &BuildOptions,
) -> Result<Option<(String, CopySource)>, BuildError> {
    let globals = Globals::new(dockerfile, options)?;
    let Some(name) = globals.named_epoch() else { return Ok(None) };
    if name == CONTEXT || options.contexts.contains_key(name) {
        return Ok(None);
    }
    let Some(stage) = stage_named(dockerfile, name) else { return Ok(None) };
    let source = source_of(stage, &globals, dockerfile.directives.escape)?;
    Ok(Some((name.to_owned(), source)))
}

fn source_of(stage: &Stage, globals: &Globals, escape: char) -> Result<CopySource, BuildError> {
    let site = Site::from(stage.span);
    let mut env = globals.without_epoch();
    if env.expand(&stage.base, escape, site)? != "scratch" {
        return Err(site.says("SOURCE_DATE_EPOCH stage must use FROM scratch"));
    }
    let only_one = || site.says("SOURCE_DATE_EPOCH stage must contain exactly one remote ADD");
    let mut found = None;
    for instruction in &stage.instructions {
        match &instruction.command {
            Command::Arg(declarations) => {
                for declaration in declarations {
                    let name = &declaration.name.text;
                    let value = match (globals.given(name), &declaration.default) {
                        (Some(given), _) => given.to_owned(),
                        (None, Some(default)) => env.expand(default, escape, site)?,
                        (None, None) => continue,
                    };
                    env.set(name, &value);
                }
            }
            Command::Add(_) if found.is_some() => return Err(only_one()),
            Command::Add(add) => {
                let [source] = &add.sources[..] else { return Err(only_one()) };
                let word = source.path().ok_or_else(only_one)?;
                let checksum =
                    add.checksum.as_ref().map(|word| env.expand(word, escape, site)).transpose()?;
                let checksum = checksum.filter(|checksum| !checksum.is_empty());
                let text = env.expand(word, escape, site)?;
                let source = remote_source(&text, checksum.as_deref(), add.keep_git_dir, true);
                let nothing =
                    || site.says("SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD");
                found = Some(source.map_err(|sentence| site.says(sentence))?.ok_or_else(nothing)?);
            }
            _ => {
                let keyword = instruction.original.split_whitespace().next().unwrap_or_default();
                return Err(site.says(format!(
                    "SOURCE_DATE_EPOCH stage does not meet source-only requirements: unsupported {keyword} instruction"
                )));
            }
        }
    }
    found.ok_or_else(only_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Result<Option<(String, CopySource)>, String> {
        let dockerfile = strata_dockerfile::parse(text).expect("it parses");
        let build_args = [("SOURCE_DATE_EPOCH".to_owned(), "Src".to_owned())].into();
        let options = BuildOptions { build_args, ..BuildOptions::default() };
        epoch_source(&dockerfile, &options).map_err(|error| error.to_string())
    }

    #[test]
    fn the_one_thing_that_the_stage_fetches() {
        let (name, source) =
            found("ARG H=h\nFROM scratch AS src\nARG H\nARG P=v$H\nADD https://$H/$P.tar /x\nFROM scratch\n")
                .expect("valid")
                .expect("a source");
        assert_eq!(name, "Src");
        assert!(matches!(source, CopySource::Http { url, .. } if url == "https://h/vh.tar"));
        let git = found("FROM scratch AS src\nADD https://h/r.git#v1 /\n").expect("valid").expect("a source");
        assert!(matches!(git.1, CopySource::Git { source, .. } if source.commit_times));
        assert_eq!(found("FROM scratch AS other\n"), Ok(None));
    }

    #[test]
    fn stages_that_do_more_or_less_are_refused() {
        for (text, sentence) in [
            ("FROM alpine AS src\nADD https://h/x /\n", "must use FROM scratch"),
            ("FROM scratch AS src\n", "exactly one remote ADD"),
            ("FROM scratch AS src\nADD https://h/x https://h/y /\n", "exactly one remote ADD"),
            ("FROM scratch AS src\nADD https://h/x /\nADD https://h/y /\n", "exactly one remote ADD"),
            ("FROM scratch AS src\nADD x /\n", "must be a single HTTP(S) or Git ADD"),
            ("FROM scratch AS src\nCOPY x /\n", "unsupported COPY instruction"),
        ] {
            let error = found(text).expect_err(text);
            assert!(error.contains(sentence), "{text}: {error}");
        }
    }
}
