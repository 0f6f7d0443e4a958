//! Content digests and the identifiers made of them.
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// A SHA-256 digest, written `sha256:<64 hex>` (OCI image spec, descriptors).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Text that is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid digest {0:?}: expected sha256: and 64 lower-case hexadecimal digits")]
pub struct DigestError(pub String);

impl Digest {
    /// Digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From the 32 bytes of a finished hash.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The first 12 hexadecimal digits, as lists show them.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let bad = || DigestError(text.to_owned());
        let digits = text.strip_prefix("sha256:").ok_or_else(bad)?;
        if digits.len() != 64 || digits.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| bad())?;
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Digest);

        impl $name {
            /// Gives a digest this meaning.
            pub const fn new(digest: Digest) -> Self {
                Self(digest)
            }

            /// The digest itself.
            pub const fn digest(&self) -> &Digest {
                &self.0
            }

            /// 64 hexadecimal digits.
            pub fn hex(&self) -> String {
                self.0.hex()
            }

            /// 12 hexadecimal digits.
            pub fn short(&self) -> String {
                self.0.short()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                text.parse().map(Self)
            }
        }
    };
}

identifier! {
    /// Digest of a layer's uncompressed tar (OCI image spec, config, `rootfs.diff_ids`): the layer's name.
    DiffId
}
identifier! {
    /// Digest of a stack of layers (OCI image spec, config, "Layer ChainID").
    ChainId
}
identifier! {
    /// Digest of an image's config bytes: the image's name.
    ImageId
}

impl ChainId {
    /// The stack `below` (`None`: nothing) with `top` on it.
    pub fn extend(below: Option<ChainId>, top: DiffId) -> ChainId {
        match below {
            None => ChainId(top.0),
            Some(below) => ChainId(Digest::of(format!("{below} {top}").as_bytes())),
        }
    }

    /// The stack of `layers`, bottom first; `None` when there are none.
    pub fn of(layers: &[DiffId]) -> Option<ChainId> {
        layers.iter().fold(None, |below, layer| Some(Self::extend(below, *layer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn digests_are_written_and_read() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(digest));
        assert_eq!(digest.short(), "e3b0c44298fc");
        assert_eq!(serde_json::to_string(&DiffId::new(digest)).expect("JSON"), format!("\"{EMPTY}\""));
    }

    #[test]
    fn refusals() {
        for bad in ["", "sha256:", "sha512:00", &EMPTY[7..], &EMPTY.to_uppercase(), &EMPTY[..70]] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_stack_is_named_by_all_its_layers() {
        let layer = |text: &str| DiffId::new(Digest::of(text.as_bytes()));
        let (a, b) = (layer("a"), layer("b"));
        assert_eq!(ChainId::of(&[]), None);
        assert_eq!(ChainId::of(&[a]).expect("one").hex(), a.hex(), "a single layer's chain is the layer");
        let both = ChainId::of(&[a, b]).expect("two");
        assert_eq!(both.hex(), Digest::of(format!("{a} {b}").as_bytes()).hex());
        assert_ne!(ChainId::of(&[b, a]), Some(both));
    }

    proptest! {
        #[test]
        fn any_digest_survives_printing(bytes: [u8; 32]) {
            let digest = Digest::from_bytes(bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        }
    }
}
