//! Platform names of `FROM --platform`.

use crate::go_quote;

/// A platform, normalised: `amd64` rather than `x86_64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformName {
    /// `linux`, ...; `None` stands for that of the host.
    pub os: Option<String>,
    /// `amd64`, `arm64`, ...; `None` stands for that of the host.
    pub architecture: Option<String>,
    /// `v7`, ...
    pub variant: Option<String>,
}

/// A text that is no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// A single word that is neither system nor architecture.
    #[error("{}: unknown operating system or architecture: invalid argument", go_quote(.0))]
    Unknown(String),
    /// A part with characters that no platform has.
    #[error(
        "{} is an invalid component of {}: platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument",
        go_quote(part),
        go_quote(text)
    )]
    Component {
        /// The part.
        part: String,
        /// The whole text.
        text: String,
    },
    /// Too many parts.
    #[error("{}: cannot parse platform specifier: invalid argument", go_quote(.0))]
    Parts(String),
}

const SYSTEMS: [&str; 16] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
];

const ARCHITECTURES: [&str; 26] = [
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "ppc64",
    "ppc64le",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
    "armel",
    "armhf",
];

/// Reads `os[(version)]/arch[/variant]`, an operating system or an architecture.
pub fn parse(text: &str) -> Result<PlatformName, PlatformError> {
    let parts: Vec<&str> = text.split('/').collect();
    for (i, part) in parts.iter().enumerate() {
        // The system may carry a version in parentheses.
        let name = if i == 0 { part.split('(').next().unwrap_or(part) } else { part };
        let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if name.is_empty() || !name.bytes().all(valid) {
            return Err(PlatformError::Component { part: (*part).to_owned(), text: text.to_owned() });
        }
    }
    let os = |os: &str| {
        let name = os.split('(').next().unwrap_or_default().to_lowercase();
        Some(if name == "macos" { "darwin".to_owned() } else { name })
    };
    match parts[..] {
        [single] => {
            if let Some(os) = os(single).filter(|os| SYSTEMS.contains(&os.as_str())) {
                return Ok(PlatformName { os: Some(os), architecture: None, variant: None });
            }
            let (architecture, variant) = architecture(single, None);
            if ARCHITECTURES.contains(&architecture.as_str()) {
                return Ok(PlatformName { os: None, architecture: Some(architecture), variant });
            }
            Err(PlatformError::Unknown(text.to_owned()))
        }
        [system, cpu] => {
            let (architecture, variant) = architecture(cpu, None);
            Ok(PlatformName { os: os(system), architecture: Some(architecture), variant })
        }
        [system, cpu, variant] => {
            let (architecture, variant) = architecture(cpu, Some(variant));
            Ok(PlatformName { os: os(system), architecture: Some(architecture), variant })
        }
        _ => Err(PlatformError::Parts(text.to_owned())),
    }
}

/// One name for each architecture; `v8` of arm64 and `v7` of arm go without saying, or with.
fn architecture(name: &str, variant: Option<&str>) -> (String, Option<String>) {
    let name = name.to_lowercase();
    let variant = variant.map(str::to_lowercase);
    let (name, variant) = match (name.as_str(), variant.as_deref()) {
        ("i386", _) => ("386", None),
        ("x86_64" | "x86-64" | "amd64", Some("v1")) => ("amd64", None),
        ("x86_64" | "x86-64", other) => ("amd64", other),
        ("aarch64" | "arm64", Some("8" | "v8")) => ("arm64", None),
        ("aarch64", other) => ("arm64", other),
        ("armhf", _) => ("arm", Some("v7")),
        ("armel", _) => ("arm", Some("v6")),
        ("arm", None | Some("" | "7")) => ("arm", Some("v7")),
        ("arm", Some("5")) => ("arm", Some("v5")),
        ("arm", Some("6")) => ("arm", Some("v6")),
        ("arm", Some("8")) => ("arm", Some("v8")),
        (name, other) => (name, other),
    };
    (name.to_owned(), variant.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names() {
        let text = |platform: &str| {
            let name = parse(platform).unwrap();
            let part = |part: Option<String>| part.unwrap_or_else(|| "-".to_owned());
            format!("{} {} {}", part(name.os), part(name.architecture), part(name.variant))
        };
        assert_eq!(text("linux/amd64"), "linux amd64 -");
        assert_eq!(text("Linux/X86_64"), "linux amd64 -");
        assert_eq!(text("linux/arm"), "linux arm v7");
        assert_eq!(text("linux/arm/v6"), "linux arm v6");
        assert_eq!(text("linux/arm64/v8"), "linux arm64 -");
        assert_eq!(text("aarch64"), "- arm64 -");
        assert_eq!(text("windows"), "windows - -");
        assert_eq!(text("windows(10.0.17763)/amd64"), "windows amd64 -");
    }

    #[test]
    fn refusals() {
        let error = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(
            error("nothing"),
            "\"nothing\": unknown operating system or architecture: invalid argument"
        );
        assert!(error("linux/").starts_with("\"\" is an invalid component of \"linux/\""));
        assert!(error("a/b/c/d").contains("cannot parse platform specifier"));
        assert!(error("linux/am d").contains("invalid component"));
    }
}
