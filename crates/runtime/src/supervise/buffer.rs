//! Bytes on their way.

/// Bytes that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    written: usize,
}

impl Queue {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next bytes, at most `most`.
    pub(super) fn front(&self, most: usize) -> &[u8] {
        let waiting = &self.bytes[self.written..];
        &waiting[..waiting.len().min(most)]
    }

    pub(super) fn consume(&mut self, length: usize) {
        self.written += length;
        if self.is_empty() {
            self.bytes.clear();
            self.written = 0;
        }
    }
}

/// Finds the detach keys in what is typed, also across reads. A beginning of them is held back until it is clear.
#[derive(Debug)]
pub(super) struct KeyMatcher {
    keys: Vec<u8>,
    matched: usize,
}

impl KeyMatcher {
    pub(super) fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// What to pass on, and whether the keys are complete.
    pub(super) fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        if self.keys.is_empty() {
            return (typed.to_vec(), false);
        }
        let mut out = Vec::with_capacity(typed.len());
        for &byte in typed {
            if byte != self.keys[self.matched] {
                out.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if byte != self.keys[self.matched] {
                out.push(byte);
                continue;
            }
            self.matched += 1;
            if self.matched == self.keys.len() {
                return (out, true);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_across_reads_and_false_starts() {
        let mut matcher = KeyMatcher::new(vec![16, 17]);
        assert_eq!(matcher.filter(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(matcher.filter(b"c"), (b"\x10c".to_vec(), false));
        assert_eq!(matcher.filter(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(matcher.filter(b"\x11rest"), (Vec::new(), true));
        assert_eq!(KeyMatcher::new(Vec::new()).filter(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }

    #[test]
    fn a_queue_gives_bytes_in_order() {
        let mut queue = Queue::default();
        queue.push(b"hello");
        queue.consume(2);
        queue.push(b"!");
        assert_eq!(queue.front(3), b"llo");
        queue.consume(4);
        assert!(queue.is_empty());
    }
}
