//! `~/.aws/credentials` and `~/.aws/config`: what a profile says.
use std::collections::BTreeMap;

/// One section's keys; the last of a name wins.
pub(super) type Profile = BTreeMap<String, String>;

/// The section of `name` in the text of a credentials file (`[name]`) or of a configuration file (`[profile name]`, but
/// `[default]`). Lines that are neither section nor `key = value` are passed over, as Amazon's tools do: nested values of
/// other services stand there, indented.
pub(super) fn find(text: &str, name: &str) -> Option<Profile> {
    let mut found: Option<Profile> = None;
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
