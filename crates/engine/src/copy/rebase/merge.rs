//! What of a config is the image's doing, and what its base's.
use std::collections::BTreeMap;
use strata_oci::{History, ImageConfig, RuntimeConfig};

/// What the image set is kept; what it has from its old base is the new base's.
fn either<T: Clone + PartialEq>(image: &T, old: &T, new: &T) -> T {
    if image == old { new.clone() } else { image.clone() }
}

/// The same for every key of a map.
fn each<T: Clone + PartialEq>(
    image: &BTreeMap<String, T>,
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
) -> BTreeMap<String, T> {
    let keys = image.keys().chain(new.keys());
    let merged = keys.filter_map(|key| {
        let value = either(&image.get(key), &old.get(key), &new.get(key));
        value.map(|value| (key.clone(), value.clone()))
    });
    merged.collect()
}

/// The history of a build on the new base; `None` when the image's does not begin with the old base's.
pub(super) fn history(image: &ImageConfig, old: &ImageConfig, new: &ImageConfig) -> Option<Vec<History>> {
    let above = image.history.get(old.history.len()..)?;
    let begins = image.history[..old.history.len()] == old.history[..];
    let layers = above.iter().filter(|row| !row.empty_layer).count();
    let own_layers = image.rootfs.diff_ids.len() - old.rootfs.diff_ids.len();
    // Whoever writes no history at all has none that could be wrong.
    let complete = layers == own_layers || (image.history.is_empty() && old.history.is_empty());
    (begins && complete).then(|| new.history.iter().chain(above).cloned().collect())
}

/// The run configuration of a build on the new base, or why it cannot be told.
pub(super) fn runtime(
    image: &RuntimeConfig,
    old: &RuntimeConfig,
    new: &RuntimeConfig,
) -> Result<RuntimeConfig, String> {
    let mut merged = image.clone();
    merged.user = either(&image.user, &old.user, &new.user);
    merged.exposed_ports = each(&image.exposed_ports, &old.exposed_ports, &new.exposed_ports);
    merged.env = environment(&image.env, &old.env, &new.env)?;
    merged.volumes = each(&image.volumes, &old.volumes, &new.volumes);
    merged.working_dir = either(&image.working_dir, &old.working_dir, &new.working_dir);
    merged.labels = each(&image.labels, &old.labels, &new.labels);
    merged.stop_signal = either(&image.stop_signal, &old.stop_signal, &new.stop_signal);
    merged.args_escaped = either(&image.args_escaped, &old.args_escaped, &new.args_escaped);
    merged.healthcheck = either(&image.healthcheck, &old.healthcheck, &new.healthcheck);
    merged.shell = either(&image.shell, &old.shell, &new.shell);
    // An ENTRYPOINT of one's own takes the base's CMD away, so the two go together.
    if (&image.entrypoint, &image.cmd) == (&old.entrypoint, &old.cmd) {
        (merged.entrypoint, merged.cmd) = (new.entrypoint.clone(), new.cmd.clone());
    } else if image.entrypoint == old.entrypoint {
        merged.entrypoint.clone_from(&new.entrypoint);
    }
    Ok(merged)
}

/// Variables in the new base's order, then the image's own.
fn environment(image: &[String], old: &[String], new: &[String]) -> Result<Vec<String>, String> {
    let (of_image, of_old, of_new) = (variables(image), variables(old), variables(new));
    let mut names: Vec<&str> = Vec::new();
    for variable in new.iter().chain(image) {
        let name = variable.split_once('=').map_or(variable.as_str(), |(name, _)| name);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut merged = Vec::new();
    for name in names {
        let (image, old, new) = (of_image.get(name), of_old.get(name), of_new.get(name));
        let value = match (image, old, new) {
            // The image's own value, made of the base's: `PATH=/app/bin:$PATH`.
            (Some(image), Some(old), Some(new)) if image != old && old != new && !old.is_empty() => {
                Some(derived(name, image, old, new)?)
            }
            (Some(image), Some(old), None) if image != old && !old.is_empty() && image.contains(*old) => {
                return Err(format!(
                    "it made {name}={image:?} of its base's value, and the new base has no {name}"
                ));
            }
            _ => either(&image, &old, &new).map(|value| (*value).to_owned()),
        };
        merged.extend(value.map(|value| format!("{name}={value}")));
    }
    Ok(merged)
}

fn variables(list: &[String]) -> BTreeMap<&str, &str> {
    list.iter().map(|variable| variable.split_once('=').unwrap_or((variable, ""))).collect()
}

/// The image's value with the base's part of it renewed.
fn derived(name: &str, image: &str, old: &str, new: &str) -> Result<String, String> {
    match image.matches(old).count() {
        // Nothing of the base's is in it: the image replaced it.
        0 => Ok(image.to_owned()),
        1 if is_list_part(image, old) => Ok(image.replacen(old, new, 1)),
        _ => Err(format!(
            "{name} is {image:?} in it, {old:?} in its base and {new:?} in the new base: whose doing is what cannot be told"
        )),
    }
}

/// Whether the base's value stands in the image's as `$NAME` would have put it: whole, between separators.
fn is_list_part(image: &str, old: &str) -> bool {
    let Some((before, after)) = image.split_once(old) else { return false };
    let separates = |c: Option<char>| c.is_none_or(|c| matches!(c, ':' | ' ' | ',' | ';'));
    separates(before.chars().next_back()) && separates(after.chars().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn env(image: &str, old: &str, new: &str) -> Result<String, String> {
        environment(&list(image), &list(old), &list(new)).map(|merged| merged.join(" "))
    }

    #[test]
    fn variables_go_to_whom_they_belong() {
        for (image, old, new, want) in [
            ("PATH=/bin V=1", "PATH=/bin V=1", "PATH=/bin V=2", "PATH=/bin V=2"),
            ("PATH=/bin V=1 A=x", "PATH=/bin V=1", "PATH=/bin V=2", "PATH=/bin V=2 A=x"),
            ("V=9", "V=1", "V=2", "V=9"),
            ("V=1", "V=1", "N=new", "N=new"),
            ("A=x", "", "A=y", "A=x"),
            ("", "GONE=1", "GONE=1", ""),
            ("PATH=/app:/bin", "PATH=/bin", "PATH=/usr/bin:/bin", "PATH=/app:/usr/bin:/bin"),
            ("PATH=/bin:/app", "PATH=/bin", "PATH=/sbin", "PATH=/sbin:/app"),
        ] {
            assert_eq!(env(image, old, new).as_deref(), Ok(want), "{image} | {old} | {new}");
        }
        assert!(
            env("PATH=/x/bin", "PATH=/bin", "PATH=/sbin").is_err(),
            "a part of a word is no part of a list"
        );
        assert!(env("P=/b:/b", "P=/b", "P=/c").is_err());
        assert!(env("P=/a:/b", "P=/b", "").is_err());
    }

    #[test]
    fn commands_and_labels() {
        let config = |entry: &str, cmd: &str, label: &str| RuntimeConfig {
            entrypoint: Some(list(entry)).filter(|list| !list.is_empty()),
            cmd: Some(list(cmd)).filter(|list| !list.is_empty()),
            labels: [("of".to_owned(), label.to_owned())].into(),
            ..RuntimeConfig::default()
        };
        let merged = |image, old, new| runtime(&image, &old, &new).expect("no conflict");
        let (old, new) = (config("", "sh", "old"), config("tini", "bash", "new"));
        assert_eq!(merged(config("", "sh", "old"), old.clone(), new.clone()), new);
        assert_eq!(merged(config("", "app", "old"), old.clone(), new.clone()), config("tini", "app", "new"));
        assert_eq!(merged(config("app", "", "mine"), old, new), config("app", "", "mine"));
    }
}
