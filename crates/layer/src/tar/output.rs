//! Where a tar of ours goes: big buffers, hashed on the way.
use super::StreamHasher;
use std::io::{self, Read, Write};
use strata_oci::{DiffId, Digest};

/// Bytes gathered before they are written: large enough that system calls do not count, small enough for the cache.
pub(crate) const BUFFER: usize = 256 << 10;

/// A writer that knows how much went through it and the SHA-256 of it.
pub(crate) struct Output<W> {
    inner: W,
    buffer: Vec<u8>,
    filled: usize,
    flushed: u64,
    hasher: StreamHasher,
}

impl<W: Write> Output<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, buffer: vec![0; BUFFER], filled: 0, flushed: 0, hasher: StreamHasher::new() }
    }

    /// Bytes put so far.
    pub(crate) fn position(&self) -> u64 {
        self.flushed + self.filled as u64
    }

    /// Adds bytes.
    pub(crate) fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.room()?;
            let length = room.len().min(bytes.len());
            room[..length].copy_from_slice(&bytes[..length]);
            self.filled += length;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    /// Adds zeros.
    pub(crate) fn put_zeros(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let room = self.room()?;
            let length = room.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            room[..length].fill(0);
            self.filled += length;
            count -= length as u64;
        }
        Ok(())
    }

    /// Adds what one read gives, `limit` bytes at most, and shows it; empty at the end of `input`.
    pub(crate) fn read_from(&mut self, input: &mut dyn Read, limit: u64) -> io::Result<&[u8]> {
        let room = self.room()?;
        let limit = room.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        let length = loop {
            match input.read(&mut room[..limit]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        let start = self.filled;
        self.filled += length;
        Ok(&self.buffer[start..self.filled])
    }

    fn room(&mut self) -> io::Result<&mut [u8]> {
        if self.filled == self.buffer.len() {
            self.inner.write_all(&self.buffer)?;
            self.flushed += self.filled as u64;
            self.filled = 0;
            let full = std::mem::take(&mut self.buffer);
            let length = full.len();
            self.buffer = self.hasher.push(full, length);
        }
        Ok(&mut self.buffer[self.filled..])
    }

    /// Writes what is left; the inner writer, the digest and the length.
    pub(crate) fn finish(mut self) -> io::Result<(W, DiffId, u64)> {
        let rest = &self.buffer[..self.filled];
        self.inner.write_all(rest)?;
        self.inner.flush()?;
        let length = self.flushed + self.filled as u64;
        let digest = self.hasher.finish(rest);
        Ok((self.inner, DiffId::new(Digest::from_bytes(digest)), length))
    }
}
