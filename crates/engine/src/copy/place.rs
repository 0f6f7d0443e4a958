//! Where images are: `busybox:1.36`, `oci:DIR:TAG`, `docker-archive:FILE`, `local:NAME`.
use super::CopyError;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use strata_oci::Reference;

/// A place that has, or shall have, one image or index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A name on a registry: `[docker://]REFERENCE`.
    Registry(Reference),
    /// An OCI layout in a directory: `oci:DIR[:TAG]`.
    Layout {
        /// The directory.
        directory: PathBuf,
        /// The tag in its index; `None`: the only image.
        tag: Option<String>,
    },
    /// A tar file that is an OCI layout and a Docker archive at once, as `save` writes it:
    /// `docker-archive:FILE[:NAME]`, `oci-archive:FILE[:NAME]`.
    Archive {
        /// The file.
        file: PathBuf,
        /// The image's name in it; `None`: the only image.
        name: Option<Reference>,
    },
    /// The store of this machine: `local:NAME`.
    Local(Reference),
}

impl FromStr for Place {
    type Err = CopyError;

    fn from_str(text: &str) -> Result<Self, CopyError> {
        let bad = |why: &str| CopyError::Place { text: text.to_owned(), why: why.to_owned() };
        let reference = |name: &str| name.parse::<Reference>().map_err(|error| bad(&error.to_string()));
        let (transport, rest) = text.split_once(':').unwrap_or((text, ""));
        match transport {
            "docker" if rest.starts_with("//") => Ok(Self::Registry(reference(&rest[2..])?)),
            "local" | "containers-storage" | "docker-daemon" => Ok(Self::Local(reference(rest)?)),
            "oci" => {
                // The last colon, unless a slash follows: `oci:/a:b/c` is a directory.
                let (directory, tag) = match rest.rsplit_once(':') {
                    Some((directory, tag)) if !tag.contains('/') => (directory, Some(tag.to_owned())),
                    _ => (rest, None),
                };
                if directory.is_empty() || tag.as_deref() == Some("") {
                    return Err(bad("expected oci:DIRECTORY[:TAG]"));
                }
                Ok(Self::Layout { directory: directory.into(), tag })
            }
            "docker-archive" | "oci-archive" => {
                let (file, name) = match rest.split_once(':') {
                    Some((file, name)) => (file, Some(reference(name)?)),
                    None => (rest, None),
                };
                if file.is_empty() {
                    return Err(bad(&format!("expected {transport}:FILE[:NAME]")));
                }
                Ok(Self::Archive { file: file.into(), name })
            }
            _ => Ok(Self::Registry(reference(text)?)),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => f.write_str(&reference.familiar()),
            Self::Layout { directory, tag: None } => write!(f, "oci:{}", directory.display()),
            Self::Layout { directory, tag: Some(tag) } => write!(f, "oci:{}:{tag}", directory.display()),
            Self::Archive { file, name: None } => write!(f, "docker-archive:{}", file.display()),
            Self::Archive { file, name: Some(name) } => {
                write!(f, "docker-archive:{}:{}", file.display(), name.familiar())
            }
            Self::Local(name) => write!(f, "local:{}", name.familiar()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written() {
        for (text, written) in [
            ("busybox", "busybox:latest"),
            ("docker://localhost:5000/a/b:1", "localhost:5000/a/b:1"),
            ("oci:dir", "oci:dir"),
            ("oci:/a/dir:1.0", "oci:/a/dir:1.0"),
            ("oci:/a:b/dir", "oci:/a:b/dir"),
            ("docker-archive:x.tar", "docker-archive:x.tar"),
            ("docker-archive:x.tar:app:1", "docker-archive:x.tar:app:1"),
            ("oci-archive:/x.tar", "docker-archive:/x.tar"),
            ("local:app", "local:app:latest"),
        ] {
            assert_eq!(text.parse::<Place>().expect(text).to_string(), written);
        }
        for bad in ["", "oci:", "oci:dir:", "docker-archive:", "docker-archive:x:UPPER", "local:", "a b"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
