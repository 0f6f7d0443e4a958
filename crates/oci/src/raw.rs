//! Bytes kept beside what they say.
use crate::Digest;
use serde::de::DeserializeOwned;

/// A parsed document together with its original bytes: digests are over bytes, and re-serialising breaks them.
#[derive(Clone, Debug)]
pub struct Raw<T> {
    bytes: Vec<u8>,
    digest: Digest,
    value: T,
}

impl<T: DeserializeOwned> Raw<T> {
    /// Parses JSON and keeps its bytes.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, serde_json::Error> {
        let value = serde_json::from_slice(&bytes)?;
        Ok(Self { digest: Digest::of(&bytes), bytes, value })
    }
}

impl<T: serde::Serialize> Raw<T> {
    /// Serialises a new document.
    pub fn new(value: T) -> Self {
        let bytes =
            serde_json::to_vec(&value).expect("our own documents have string keys and no fallible parts");
        Self { digest: Digest::of(&bytes), bytes, value }
    }
}

impl<T> Raw<T> {
    /// The original bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Their digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What they say.
    pub fn value(&self) -> &T {
        &self.value
    }
}
