//! Tars made byte by byte, as no tool would.

/// A tar being made. Members have mode 0644 or 0755, owner 0 and time 1000.
#[derive(Clone, Default)]
pub(crate) struct Raw {
    pub(crate) bytes: Vec<u8>,
    /// Where the last header is.
    header: usize,
}

impl Raw {
    /// A header and data padded to blocks; `size` is what the header says.
    pub(crate) fn member(mut self, name: &[u8], flag: u8, link: &[u8], size: u64, data: &[u8]) -> Self {
        self.header = self.bytes.len();
        let mut block = [0u8; 512];
        block[..name.len()].copy_from_slice(name);
        let mode = if flag == b'5' { b"0000755\0" } else { b"0000644\0" };
        block[100..108].copy_from_slice(mode);
        block[108..116].copy_from_slice(b"0000000\0");
        block[116..124].copy_from_slice(b"0000000\0");
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        block[136..148].copy_from_slice(b"00000001750\0");
        block[156] = flag;
        block[157..157 + link.len()].copy_from_slice(link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        self.bytes.extend_from_slice(&block);
        self.seal();
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.member(name.as_bytes(), b'0', b"", data.len() as u64, data)
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.member(name.as_bytes(), b'5', b"", 0, b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.member(name.as_bytes(), b'2', target.as_bytes(), 0, b"")
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.member(name.as_bytes(), b'1', target.as_bytes(), 0, b"")
    }

    /// An extension header for the next member (`x`), or for all that follow (`g`).
    pub(crate) fn pax(self, flag: u8, records: &[(&str, &[u8])]) -> Self {
        let body: Vec<u8> = records.iter().flat_map(|(key, value)| record(key.as_bytes(), value)).collect();
        self.member(b"PaxHeaders/x", flag, b"", body.len() as u64, &body)
    }

    /// Overwrites bytes of the last header.
    pub(crate) fn patch(mut self, at: usize, bytes: &[u8]) -> Self {
        let start = self.header + at;
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.seal();
        self
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Two zero blocks.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }

    fn seal(&mut self) {
        let header = &mut self.bytes[self.header..self.header + 512];
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

/// One PAX record, its length found by trying.
pub(crate) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key, b"=", value, b"\n"].concat();
    let length = (rest.len()..).find(|length| length.to_string().len() + rest.len() == *length).unwrap();
    [length.to_string().as_bytes(), &rest].concat()
}
