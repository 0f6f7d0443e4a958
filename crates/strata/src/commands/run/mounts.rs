//! `-v`, `--mount` and `--tmpfs` (`spec/engine.md`, section 4, "-v vs --mount").

use strata_engine::run::{MountRequest, MountSource};

/// `[SOURCE:]TARGET[:OPTIONS]`. An absolute or `./` source is a bind, made if missing; a name is a volume.
pub(super) fn volume(text: &str) -> Result<MountRequest, String> {
    let invalid = || format!("invalid volume specification: '{text}'");
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => return Err(invalid()),
    };
    if target.is_empty() || source == Some("") {
        return Err(invalid());
    }
    let target = absolute_target(target)?;
    let mut request =
        MountRequest { source: MountSource::Anonymous, target, read_only: false, no_copy: false };
    if let Some(source) = source {
        request.source = volume_source(source)?;
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => request.read_only = true,
            "rw" => request.read_only = false,
            "nocopy" => request.no_copy = true,
            // SELinux labels and consistency hints change nothing here; propagation is always private.
            "z" | "Z" | "cached" | "delegated" | "consistent" | "rprivate" | "private" => {}
            other => return Err(format!("invalid mode: {other} in '{text}'")),
        }
    }
    Ok(request)
}

fn volume_source(source: &str) -> Result<MountSource, String> {
    if source.starts_with('/')
        || source.starts_with("./")
        || source.starts_with("../")
        || matches!(source, "." | "..")
    {
        let path = std::path::absolute(source).map_err(|error| format!("{source}: {error}"))?;
        return Ok(MountSource::Bind { path, create: true });
    }
    let valid = source.len() > 1
        && source.starts_with(|c: char| c.is_ascii_alphanumeric())
        && source.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if !valid {
        return Err(format!(
            "\"{source}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        ));
    }
    Ok(MountSource::Volume(source.to_owned()))
}

fn absolute_target(target: &str) -> Result<String, String> {
    if !target.starts_with('/') {
        return Err(format!("invalid mount path: '{target}' mount path must be absolute"));
    }
    if target.trim_matches('/').is_empty() {
        return Err("invalid specification: destination can't be '/'".to_owned());
    }
    Ok(target.to_owned())
}

/// `type=bind,source=/a,target=/b,readonly`.
pub(super) fn mount(text: &str) -> Result<MountRequest, String> {
    let (mut kind, mut source, mut target) = ("volume".to_owned(), None, None);
    let (mut read_only, mut no_copy, mut tmpfs) = (false, false, Vec::new());
    for field in text.split(',') {
        let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
        let flag = || match value {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(format!("invalid value for {key}: {other}")),
        };
        let value_of = || {
            value
                .map(str::to_owned)
                .ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))
        };
        match key.to_lowercase().as_str() {
            "type" => kind = value_of()?,
            "source" | "src" => source = Some(value_of()?),
            "target" | "dst" | "destination" => target = Some(value_of()?),
            "readonly" | "ro" => read_only = flag()?,
            "volume-nocopy" => no_copy = flag()?,
            "tmpfs-size" => tmpfs.push(format!("size={}", value_of()?)),
            "tmpfs-mode" => tmpfs.push(format!("mode={}", value_of()?)),
            "bind-propagation" | "consistency" => drop(value_of()?),
            other => return Err(format!("unexpected key '{other}' in '{field}'")),
        }
    }
    let target = absolute_target(&target.ok_or_else(|| format!("target is required in '{text}'"))?)?;
    let source = match (kind.as_str(), source) {
        ("bind", Some(path)) => {
            if !path.starts_with('/') {
                return Err(format!(
                    "invalid mount config for type \"bind\": invalid mount path: '{path}' mount path must be absolute"
                ));
            }
            MountSource::Bind { path: path.into(), create: false }
        }
        ("bind", None) => {
            return Err("invalid mount config for type \"bind\": field Source must not be empty".to_owned());
        }
        ("volume", Some(name)) => volume_source(&name)?,
        ("volume", None) => MountSource::Anonymous,
        ("tmpfs", None) => MountSource::Tmpfs(tmpfs.join(",")),
        ("tmpfs", Some(_)) => {
            return Err(
                "invalid mount config for type \"tmpfs\": field Source must not be specified".to_owned()
            );
        }
        (other, _) => return Err(format!("mount type unknown: \"{other}\"")),
    };
    Ok(MountRequest { source, target, read_only, no_copy })
}

/// `PATH[:OPTIONS]`.
pub(super) fn tmpfs(text: &str) -> (String, String) {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    (path.to_owned(), options.to_owned())
}
