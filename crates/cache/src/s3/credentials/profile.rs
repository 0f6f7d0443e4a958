//! `~/.aws/credentials` and `~/.aws/config`: what a profile says.
use crate::s3::environment::Environment;
use crate::s3::error::Error;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One section's keys; the last of a name wins.
pub(super) type Section = BTreeMap<String, String>;

/// The user's files, and which profile is in use.
pub(in crate::s3) struct Files {
    name: String,
    /// Those that are there, and those that are not: credentials first, then configuration.
    texts: Vec<(PathBuf, Option<String>)>,
}

/// What the files say of one profile.
pub(super) struct Profile(Vec<(PathBuf, Section)>);

impl Profile {
    /// A key, from the first file that has it.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let values = self.0.iter().filter_map(|(_, section)| section.get(key));
        values.map(String::as_str).find(|value| !value.is_empty())
    }

    /// File by file.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&Path, &Section)> {
        self.0.iter().map(|(path, section)| (path.as_path(), section))
    }
}

impl Files {
    /// `~/.aws/credentials` and `~/.aws/config`, or those that `AWS_SHARED_CREDENTIALS_FILE` and `AWS_CONFIG_FILE` name. A
    /// file that is not there says nothing.
    pub(in crate::s3) fn read(environment: &Environment<'_>) -> Result<Self, Error> {
        let chosen = environment.get("AWS_PROFILE").or_else(|| environment.get("AWS_DEFAULT_PROFILE"));
        let home = environment.get("HOME").map(PathBuf::from);
        let mut texts = Vec::new();
        for (variable, default) in
            [("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")]
        {
            let named = environment.get(variable).map(PathBuf::from);
            let own = || home.as_ref().map(|home| home.join(".aws").join(default));
            let Some(path) = named.or_else(own) else { continue };
            match fs_err::read_to_string(&path) {
                Ok(text) => texts.push((path, Some(text))),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => texts.push((path, None)),
                Err(source) => return Err(Error::CredentialsFile { source }),
            }
        }
        let explicit = chosen.is_some();
        let files = Self { name: chosen.unwrap_or_else(|| "default".to_owned()), texts };
        if explicit && files.profile(&files.name).0.is_empty() {
            return Err(Error::NoProfile { name: files.name.clone(), files: files.paths() });
        }
        Ok(files)
    }

    /// Of the profile in use.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A key of the profile in use.
    pub(in crate::s3) fn get(&self, key: &str) -> Option<String> {
        self.profile(&self.name).get(key).map(str::to_owned)
    }

    pub(super) fn profile(&self, name: &str) -> Profile {
        let texts = self.texts.iter().filter_map(|(path, text)| Some((path, text.as_deref()?)));
        Profile(texts.filter_map(|(path, text)| Some((path.clone(), find(text, name)?))).collect())
    }

    /// All files, for messages.
    pub(super) fn paths(&self) -> String {
        let paths: Vec<String> = self.texts.iter().map(|(path, _)| path.display().to_string()).collect();
        paths.join(" and ")
    }
}

/// The section of `name` in the text of a credentials file (`[name]`) or of a configuration file (`[profile name]`, but
/// `[default]`). Lines that are neither section nor `key = value` are passed over, as Amazon's tools do: nested values of
/// other services stand there, indented.
fn find(text: &str, name: &str) -> Option<Section> {
    let mut found: Option<Section> = None;
    let mut inside = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(rest) = trimmed.strip_prefix('[') {
            let section = rest.split(']').next().unwrap_or_default().trim();
            let section = section.strip_prefix("profile ").map_or(section, str::trim);
            inside = section == name;
            if inside {
                found.get_or_insert_default();
            }
            continue;
        }
        let nested = line.starts_with([' ', '\t']);
        if let (true, false, Some((key, value)), Some(profile)) =
            (inside, nested, trimmed.split_once('='), &mut found)
        {
            profile.insert(key.trim().to_ascii_lowercase(), bare(value).to_owned());
        }
    }
    found
}

/// Without a comment, which must follow white space: secrets may hold a `#`.
fn bare(value: &str) -> &str {
    let end = [" #", "\t#", " ;", "\t;"].iter().filter_map(|mark| value.find(mark)).min();
    value[..end.unwrap_or(value.len())].trim()
}

#[cfg(test)]
mod tests {
    use super::find;

    const TEXT: &str = "# mine\n\
        [default]\n\
        aws_access_key_id = AKIA\n\
        AWS_SECRET_ACCESS_KEY=a/b+c#d= ; the old one\n\
        s3 =\n\
        \u{20}   region = nested\n\
        [profile build]   \n\
        region=eu-west-1\n\
        [other]\n\
        aws_access_key_id=X\n\
        [default]\n\
        aws_access_key_id = AKIB\n";

    #[test]
    fn sections_keys_and_comments() {
        let default = find(TEXT, "default").expect("it is there");
        assert_eq!(default["aws_access_key_id"], "AKIB");
        assert_eq!(default["aws_secret_access_key"], "a/b+c#d=");
        assert_eq!(default.get("region"), None);
        assert_eq!(find(TEXT, "build").expect("it is there")["region"], "eu-west-1");
        assert_eq!(find(TEXT, "profile build"), None);
        assert_eq!(find("", "default"), None);
    }
}
