//! The rows that an image has if it was built of the same instructions, in the words of each builder: what
//! `--cache-from` recognises images by.
use super::{COMMENT, Draft, SBOM_ARGUMENTS};
use std::collections::BTreeMap;
use strata_dockerfile::{ArgDeclaration, Command, Word, duration, go_quote};
use strata_oci::{Healthcheck as Check, History};

/// Whose words a history is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// BuildKit's, of any version, and our own.
    BuildKit,
    /// Those of Docker's classic builder.
    Classic,
}

/// A row that is expected.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    buildkit: Vec<Words>,
    classic: Vec<Words>,
    /// A step of ours stands behind it.
    pub(crate) layered: bool,
}

/// What a row may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    Exactly(String),
    /// This, something about files, and this.
    Around(String, String),
}

impl Words {
    fn fit(&self, text: &str) -> bool {
        match self {
            Self::Exactly(words) => words == text,
            Self::Around(before, after) => {
                text.strip_prefix(before.as_str()).is_some_and(|rest| rest.ends_with(after.as_str()))
            }
        }
    }
}

impl Expected {
    fn words(&self, dialect: Dialect) -> &[Words] {
        match dialect {
            Dialect::BuildKit => &self.buildkit,
            Dialect::Classic => &self.classic,
        }
    }

    /// Whether a builder writes such a row at all.
    pub(crate) fn is_written(&self, dialect: Dialect) -> bool {
        !self.words(dialect).is_empty()
    }

    /// Whether a row reads as it should.
    pub(crate) fn fits(&self, dialect: Dialect, text: &str) -> bool {
        self.words(dialect).iter().any(|words| words.fit(text))
    }

    /// The row as we write it.
    pub(crate) fn shown(&self) -> &str {
        match self.buildkit.first().or(self.classic.first()) {
            Some(Words::Exactly(text) | Words::Around(text, _)) => text.trim_end_matches(" # buildkit"),
            None => "",
        }
    }

    /// Words that an older BuildKit has for it.
    pub(super) fn formerly(&mut self, text: String) {
        self.buildkit.push(Words::Exactly(text));
    }
}

impl Draft {
    /// A row of the history.
    pub(super) fn row(&mut self, created_by: String, empty_layer: bool) {
        let classic = format!("{} #(nop)  {created_by}", self.shell().join(" "));
        self.told(created_by, empty_layer, vec![Words::Exactly(classic)]);
    }

    fn told(&mut self, created_by: String, empty_layer: bool, classic: Vec<Words>) {
        let buildkit = vec![Words::Exactly(created_by.clone())];
        self.expected.push(Expected { buildkit, classic, layered: !empty_layer });
        let comment = COMMENT.to_owned();
        self.rows.push(History { created_by, comment, empty_layer, ..History::default() });
    }

    /// The row of a directory that is a stage's root.
    pub(super) fn root_row(&mut self) {
        let buildkit = vec![Words::Exactly(String::new())];
        self.expected.push(Expected { buildkit, classic: Vec::new(), layered: true });
        self.rows.push(History { comment: super::EXPORTER.to_owned(), ..History::default() });
    }

    pub(super) fn workdir_row(&mut self, path: &str, is_root: bool) {
        let created_by = format!("WORKDIR {path}");
        let classic = format!("{} #(nop) {created_by}", self.shell().join(" "));
        self.told(created_by, is_root, vec![Words::Exactly(classic)]);
    }

    pub(super) fn run_row(&mut self, argv: &[String]) {
        let command = argv.join(" ");
        let classic = format!("{}{command}", self.classic_arguments());
        let created_by = format!("RUN {}{command} # buildkit", self.arguments());
        self.told(created_by, false, vec![Words::Exactly(classic)]);
        let former = format!("RUN {}{command} # buildkit", self.former_arguments());
        self.last_expected().formerly(former);
    }

    /// `instruction` is COPY or ADD; `rest` the words behind its flags.
    pub(super) fn copy_row(
        &mut self,
        instruction: &str,
        flags: &str,
        owner: Option<&str>,
        rest: &str,
        destination: &str,
    ) {
        let shell = self.shell().join(" ");
        let owner = owner.map_or_else(String::new, |owner| format!("--chown={owner}"));
        // The files themselves are compared anyway: their digests in the row are Docker's own.
        let classic = ["file:", "dir:", "multi:"].map(|kind| {
            Words::Around(
                format!("{shell} #(nop) {instruction} {owner}{kind}"),
                format!(" in {destination} "),
            )
        });
        self.told(format!("{instruction}{flags}{rest} # buildkit"), false, classic.to_vec());
        self.last_expected().formerly(format!("{instruction}{rest} # buildkit"));
    }

    /// ARG: `row` has the values in force; other builders write the defaults.
    pub(super) fn arg_row(&mut self, row: String, declarations: &[ArgDeclaration], escape: char) {
        let default = |word: &Word| {
            // What cannot be expanded was refused before.
            self.env.expand(word, escape, word.span.into()).unwrap_or_default()
        };
        let words: Vec<String> = declarations
            .iter()
            .map(|declared| match &declared.default {
                Some(word) => format!("{}={}", declared.name.text, default(word)),
                None => declared.name.text.clone(),
            })
            .collect();
        let written = format!("ARG {}", words.join(" "));
        let classic = format!("{} #(nop)  {written}", self.shell().join(" "));
        self.told(row, true, vec![Words::Exactly(classic)]);
        self.last_expected().formerly(written);
    }

    /// A metadata instruction: `row` as BuildKit has it today, `None` if it writes none.
    pub(super) fn metadata_row(&mut self, row: Option<String>, command: &Command) {
        let shell = self.shell().join(" ");
        match (row, command) {
            (None, Command::Onbuild { text, .. }) => {
                let classic = vec![Words::Exactly(format!("{shell} #(nop)  ONBUILD {text}"))];
                self.expected.push(Expected { buildkit: Vec::new(), classic, layered: false });
            }
            (None, _) => {}
            (Some(row), Command::Expose(_)) => {
                let ports = row.trim_start_matches("EXPOSE [").trim_end_matches(']');
                let mut sorted: Vec<&str> = ports.split(' ').collect();
                sorted.sort_unstable();
                sorted.dedup();
                let keyed: Vec<String> = sorted.iter().map(|port| format!("{port}:{{}}")).collect();
                // As they were written, ranges and names of variables too; no port decides about a layer.
                let classic = vec![Words::Around(format!("{shell} #(nop)  EXPOSE "), String::new())];
                self.told(row.clone(), true, classic);
                self.last_expected().formerly(format!("EXPOSE map[{}]", keyed.join(" ")));
            }
            (Some(row), Command::Healthcheck(_)) => {
                let former = self.config.healthcheck.as_ref().map(former_healthcheck).unwrap_or_default();
                let classic = Words::Exactly(format!("{shell} #(nop)  HEALTHCHECK {former}"));
                self.told(row, true, vec![classic]);
                self.last_expected().formerly(format!("HEALTHCHECK {former}"));
            }
            (Some(row), _) => self.row(row, true),
        }
    }

    fn last_expected(&mut self) -> &mut Expected {
        self.expected.last_mut().expect("a row was just added")
    }

    /// `|2 a=1 b=2 `: the declared ARGs, each once, in the order first seen, with the value in force.
    fn arguments(&self) -> String {
        let mut seen: Vec<(&str, &str)> = Vec::new();
        for (name, value) in &self.args {
            let value = self.env.get(name).or(value.as_deref()).unwrap_or_default();
            match seen.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => *old = value,
                None => seen.push((name, value)),
            }
        }
        counted(seen)
    }

    /// As older versions of BuildKit have them: each as often as it was declared.
    fn former_arguments(&self) -> String {
        let value = |name: &str, own: &Option<String>| {
            self.env.get(name).or(own.as_deref()).unwrap_or_default().to_owned()
        };
        let all = self.args.iter().map(|(name, own)| (name.clone(), value(name, own)));
        let all: Vec<(String, String)> = all.collect();
        counted(all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect())
    }

    /// As the classic builder has them: those with a value that no ENV took over, sorted.
    fn classic_arguments(&self) -> String {
        let is_env = |name: &str| {
            let mut lines = self.config.env.iter();
            lines.any(|line| line.split_once('=').is_some_and(|(known, _)| known == name))
        };
        let values: BTreeMap<&str, &str> = self
            .args
            .iter()
            .filter(|(name, _)| !is_env(name) && !SBOM_ARGUMENTS.contains(&name.as_str()))
            .filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)))
            .collect();
        let mut pairs: Vec<(&str, &str)> = values.into_iter().collect();
        pairs.sort_by_key(|(name, value)| format!("{name}={value}"));
        counted(pairs)
    }
}

fn counted(pairs: Vec<(&str, &str)>) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let words: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value} ")).collect();
    format!("|{} {}", words.len(), words.concat())
}

/// A health check as Go prints a pointer to it with `%q`.
fn former_healthcheck(check: &Check) -> String {
    let test: Vec<String> = check.test.iter().map(|word| go_quote(word)).collect();
    let times = [check.interval, check.timeout, check.start_period]
        .map(|time| format!("\"{}\"", duration::format(time)));
    let retries = u8::try_from(check.retries).ok().filter(|retries| *retries < 0x20);
    let retries = match retries {
        Some(7) => "'\\a'".to_owned(),
        Some(8) => "'\\b'".to_owned(),
        Some(9) => "'\\t'".to_owned(),
        Some(10) => "'\\n'".to_owned(),
        Some(11) => "'\\v'".to_owned(),
        Some(12) => "'\\f'".to_owned(),
        Some(13) => "'\\r'".to_owned(),
        Some(small) => format!("'\\x{small:02x}'"),
        // Nobody retries that often; a row that is not recognised is a miss.
        None => String::new(),
    };
    format!("&{{[{}] {} {retries}}}", test.join(" "), times.join(" "))
}
