//! Metadata instructions applied to a config outside a build: `import --change`, `commit --change`.
use super::effect::Effect;
use super::{Draft, says};
use crate::error::Site;
use crate::scope::Env;
use crate::{BuildError, BuildErrorKind, path};
use strata_dockerfile::{Command, Span};
use strata_oci::RuntimeConfig;

/// A `--change` that cannot be applied.
#[derive(Debug, thiserror::Error)]
#[error("{change}: {reason}")]
pub struct ChangeError {
    /// As given.
    pub change: String,
    /// Why.
    pub reason: Box<dyn std::error::Error + Send + Sync>,
}

/// Applies Dockerfile instructions, one per text, to a config: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL,
/// ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR, as `spec/build.md` 5.1 says. Words see the config's own ENV.
///
/// # Errors
/// The first text that is no such instruction, or whose words are wrong.
pub fn apply_changes(config: &mut RuntimeConfig, changes: &[String]) -> Result<(), ChangeError> {
    let mut cmd_given = false;
    for change in changes {
        let failed = |reason| ChangeError { change: change.clone(), reason };
        let instruction =
            strata_dockerfile::parse_instruction(change).map_err(|error| failed(error.into()))?;
        apply(config, &instruction.command, instruction.span, &mut cmd_given)
            .map_err(|error| failed(error.into()))?;
    }
    Ok(())
}

fn apply(
    config: &mut RuntimeConfig,
    command: &Command,
    span: Span,
    cmd_given: &mut bool,
) -> Result<(), BuildError> {
    let site = Site::from(span);
    let draft = Draft { env: Env::parse(&config.env), config: config.clone(), ..Draft::default() };
    match command {
        Command::Workdir(word) => {
            let written = draft.env.expand(word, '\\', site)?;
            config.working_dir = path::join(&config.working_dir, &written);
        }
        Command::Arg(_)
        | Command::Run(_)
        | Command::Copy(_)
        | Command::Add(_)
        | Command::Shell(_)
        | Command::Maintainer(_) => return Err(not_a_change(command, site)),
        metadata => {
            let effect = Effect::of(metadata, &draft, *cmd_given, '\\', site)?;
            *cmd_given |= matches!(metadata, Command::Cmd(_));
            let escaped = config.args_escaped;
            effect.apply(config);
            // BuildKit's mark of a CMD; images that are not built do not have it.
            config.args_escaped = escaped;
        }
    }
    Ok(())
}

fn not_a_change(command: &Command, site: Site) -> BuildError {
    let name = match command {
        Command::Arg(_) => "ARG",
        Command::Run(_) => "RUN",
        Command::Copy(_) => "COPY",
        Command::Add(_) => "ADD",
        Command::Shell(_) => "SHELL",
        _ => "MAINTAINER",
    };
    let kind: BuildErrorKind = says(format!("{name} is not a valid change command"));
    site.error(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<RuntimeConfig, ChangeError> {
        let mut config = RuntimeConfig::default();
        let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        apply_changes(&mut config, &changes).map(|()| config)
    }

    #[test]
    fn every_metadata_instruction_is_a_change() {
        let config = changed(&[
            "ENV a=1 b=\"two words\"",
            "ENV a=$b!",
            "CMD [\"sh\", \"-c\", \"x\"]",
            "ENTRYPOINT run it",
            "EXPOSE 80 53/udp",
            "LABEL k=v",
            "ONBUILD RUN true",
            "STOPSIGNAL SIGINT",
            "USER app:staff",
            "VOLUME /v",
            "WORKDIR /w",
            "WORKDIR sub/..//x",
            "HEALTHCHECK --interval=2s CMD true",
        ])
        .expect("all of them apply");
        assert_eq!(config.env, ["a=two words!", "b=two words"]);
        assert_eq!(config.cmd.as_deref(), Some(&["sh".to_owned(), "-c".to_owned(), "x".to_owned()][..]));
        assert_eq!(config.entrypoint.expect("set"), ["/bin/sh", "-c", "run it"]);
        assert_eq!(config.exposed_ports.keys().collect::<Vec<_>>(), ["53/udp", "80/tcp"]);
        assert_eq!(config.labels["k"], "v");
        assert_eq!(config.on_build, ["RUN true"]);
        assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("app:staff", "/w/x"));
        assert!(config.volumes.contains_key("/v") && !config.args_escaped);
        assert_eq!(config.healthcheck.expect("set").test, ["CMD-SHELL", "true"]);
    }

    #[test]
    fn an_entrypoint_drops_only_a_cmd_that_was_there_before() {
        let mut config = RuntimeConfig { cmd: Some(vec!["old".to_owned()]), ..RuntimeConfig::default() };
        apply_changes(&mut config, &["ENTRYPOINT [\"e\"]".to_owned()]).expect("applies");
        assert_eq!(config.cmd, None);
    }

    #[test]
    fn what_is_no_change_is_refused_by_name() {
        for (change, why) in [
            ("RUN true", "RUN: RUN is not a valid change command"),
            ("COPY a b", "COPY: COPY is not a valid change command"),
            ("SHELL [\"sh\"]", "SHELL: SHELL is not a valid change command"),
            ("NONSENSE x", "unknown instruction"),
            ("EXPOSE many", "many"),
            ("ENV", "ENV"),
        ] {
            let sentence = changed(&[change]).expect_err(change).to_string();
            let wanted = why.split_once(": ").map_or(why, |(_, sentence)| sentence);
            assert!(sentence.starts_with(change) && sentence.contains(wanted), "{sentence}");
        }
    }
}
