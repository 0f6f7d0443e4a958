//! Platforms: `linux/amd64`, `linux/arm/v7`.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Operating system and processor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Go's GOARCH: `amd64`, `arm64`.
    #[serde(default)]
    pub architecture: String,
    /// Go's GOOS: `linux`.
    #[serde(default)]
    pub os: String,
    /// `v7`, `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Text that is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {0:?}: expected os/arch or os/arch/variant")]
pub struct PlatformError(pub String);

impl Platform {
    /// The platform this program runs on.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "arm" => ("arm", Some("v7".to_owned())),
            "x86" => ("386", None),
            other => (other, None),
        };
        Self { architecture: architecture.to_owned(), os: "linux".to_owned(), variant }
    }
}

impl Platform {
    /// How well an image for `offered` serves where this platform is wanted: 0 is best, `None` is not at all. Processors
    /// run what was made for older variants of themselves.
    pub fn suits(&self, offered: &Self) -> Option<u32> {
        if (&self.os, &self.architecture) != (&offered.os, &offered.architecture) {
            return None;
        }
        // What no variant means.
        let usual = match self.architecture.as_str() {
            "arm" => "v7",
            "arm64" => "v8",
            "amd64" => "v1",
            _ => "",
        };
        let variant = |platform: &Self| platform.variant.clone().unwrap_or_else(|| usual.to_owned());
        let (wanted, offered) = (variant(self), variant(offered));
        let version = |text: &str| text.strip_prefix('v')?.parse::<u32>().ok();
        match (version(&wanted), version(&offered)) {
            _ if wanted == offered => Some(0),
            (Some(wanted), Some(offered)) => wanted.checked_sub(offered),
            // Nobody asked for a variant.
            _ => self.variant.is_none().then_some(u32::MAX),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, arch] => (os, arch, None),
            [os, arch, variant] if !variant.is_empty() => (os, arch, Some(variant.to_owned())),
            _ => return Err(PlatformError(text.to_owned())),
        };
        if os.is_empty() || architecture.is_empty() {
            return Err(PlatformError(text.to_owned()));
        }
        let architecture = architecture.to_lowercase();
        let architecture = match architecture.as_str() {
            "x86_64" | "x86-64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            _ => architecture,
        };
        Ok(Self { os: os.to_lowercase(), architecture, variant })
    }
}

#[cfg(test)]
mod tests {
    use super::Platform;

    #[test]
    fn platforms_are_normalised() {
        for (text, want) in [
            ("Linux/X86_64", "linux/amd64"),
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm/v7", "linux/arm/v7"),
        ] {
            assert_eq!(text.parse::<Platform>().expect(text).to_string(), want);
        }
        for bad in ["", "linux", "linux/", "/amd64", "linux/arm/", "a/b/c/d"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
}
