//! A reader that writes and hashes everything it reads.
use crate::LayerError;
use crate::tar::{BUFFER, StreamHasher};
use std::io::{self, BufRead, Read, Write};
use strata_oci::{DiffId, Digest};

/// Bytes are written and hashed when they are read from the source, in whole buffers; the parser sees the buffer itself.
pub(super) struct Tee<'a> {
    source: &'a mut dyn Read,
    out: &'a mut dyn Write,
    hasher: StreamHasher,
    buffer: Vec<u8>,
    filled: usize,
    consumed: usize,
    /// The source is at its end: this buffer is the last.
    ended: bool,
    /// Bytes in buffers before this one.
    before: u64,
    limit: u64,
}

impl<'a> Tee<'a> {
    pub(super) fn new(source: &'a mut dyn Read, out: &'a mut dyn Write, limit: u64) -> Self {
        let hasher = StreamHasher::new();
        Self {
            source,
            out,
            hasher,
            buffer: vec![0; BUFFER],
            filled: 0,
            consumed: 0,
            ended: false,
            before: 0,
            limit,
        }
    }

    /// Copies what the parser left; digest and length of everything.
    pub(super) fn finish(mut self) -> Result<(DiffId, u64), LayerError> {
        loop {
            let left = self.fill_buf()?.len();
            if left == 0 {
                break;
            }
            self.consume(left);
            if self.before + self.filled as u64 > self.limit {
                let what = format!("it goes on past byte {}, the longest tar allowed", self.limit);
                return Err(LayerError::Tar { offset: self.limit, path: None, what });
            }
        }
        self.out.flush()?;
        let length = self.before + self.filled as u64;
        let digest = self.hasher.finish(&self.buffer[..self.filled]);
        Ok((DiffId::new(Digest::from_bytes(digest)), length))
    }

    /// Reads until the buffer is full or the source at its end: sources give as little as they like.
    fn refill(&mut self) -> io::Result<()> {
        while self.filled < self.buffer.len() {
            match self.source.read(&mut self.buffer[self.filled..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(length) => self.filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.write_all(&self.buffer[..self.filled])
    }
}

impl BufRead for Tee<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.consumed == self.filled && !self.ended {
            if self.filled > 0 {
                self.before += self.filled as u64;
                self.buffer = self.hasher.push(std::mem::take(&mut self.buffer), self.filled);
            }
            (self.filled, self.consumed) = (0, 0);
            self.refill()?;
        }
        Ok(&self.buffer[self.consumed..self.filled])
    }

    fn consume(&mut self, length: usize) {
        self.consumed += length;
    }
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = self.fill_buf()?;
        let length = bytes.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}
