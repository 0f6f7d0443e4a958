//! What is uploaded.
use std::io::{self, Read};

/// Bytes that can be read again from any offset: after a cut they are.
pub trait Source {
    /// A reader that begins at `offset`.
    ///
    /// # Errors
    /// Whatever keeps the bytes from being read.
    fn open(&mut self, offset: u64) -> io::Result<Box<dyn Read + '_>>;
}

/// Any function that opens.
impl<F, R> Source for F
where
    F: FnMut(u64) -> io::Result<R>,
    R: Read + 'static,
{
    fn open(&mut self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self(offset)?))
    }
}

/// Counts what goes through.
pub(super) struct Counted<'a> {
    inner: Box<dyn Read + 'a>,
    count: u64,
}

impl<'a> Counted<'a> {
    pub(super) fn new(inner: Box<dyn Read + 'a>) -> Self {
        Self { inner, count: 0 }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}
