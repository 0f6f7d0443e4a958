//! One 512-byte header block.
use super::number;

/// A header block whose checksum is right.
pub(crate) struct Block<'a>(pub &'a [u8; 512]);

/// Which fields beyond the old ones a header has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Before POSIX: no magic, no device numbers, no prefix.
    V7,
    /// POSIX 1988: a prefix of 155 bytes.
    Ustar,
    /// Schilling's star: a prefix of 131 bytes, then times.
    Star,
    /// GNU: no prefix; old sparse maps in its place.
    Gnu,
}

impl<'a> Block<'a> {
    /// Checks the checksum; `Err` says what it should be.
    pub(crate) fn parse(block: &'a [u8; 512]) -> Result<Self, String> {
        let header = Self(block);
        let stored = number::field(&block[148..156]);
        // Old writers summed signed bytes.
        let (mut unsigned, mut signed) = (8 * i64::from(b' '), 8 * i64::from(b' '));
        for byte in block[..148].iter().chain(&block[156..]) {
            unsigned += i64::from(*byte);
            signed += i64::from(*byte as i8);
        }
        if stored == Some(unsigned) || stored == Some(signed) {
            return Ok(header);
        }
        let found = block[148..156].escape_ascii();
        Err(format!("the header's checksum is {unsigned:06o}, but it says {found}: not a tar, or damaged"))
    }

    /// Type flag (POSIX `typeflag`).
    pub(crate) fn type_flag(&self) -> u8 {
        self.0[156]
    }

    /// Told by the magic.
    pub(crate) fn dialect(&self) -> Dialect {
        match &self.0[257..265] {
            b"ustar  \0" => Dialect::Gnu,
            magic if magic.starts_with(b"ustar\0") => {
                if &self.0[508..] == b"tar\0" {
                    Dialect::Star
                } else {
                    Dialect::Ustar
                }
            }
            // Some writers leave the version out or write it with spaces; GNU tar looks at five bytes here too.
            magic if magic.starts_with(b"ustar") => Dialect::Ustar,
            _ => Dialect::V7,
        }
    }

    /// Name, with the prefix before it.
    pub(crate) fn name(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = match self.dialect() {
            Dialect::Ustar => text(&self.0[345..500]),
            Dialect::Star => text(&self.0[345..476]),
            Dialect::V7 | Dialect::Gnu => b"",
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    /// Target of a link.
    pub(crate) fn link_name(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }

    /// A numeric field, named in errors.
    pub(crate) fn number(&self, field: Field) -> Result<i64, String> {
        let (range, name) = match field {
            Field::Mode => (100..108, "mode"),
            Field::Uid => (108..116, "uid"),
            Field::Gid => (116..124, "gid"),
            Field::Size => (124..136, "size"),
            Field::Mtime => (136..148, "mtime"),
            Field::Major => (329..337, "device major number"),
            Field::Minor => (337..345, "device minor number"),
            Field::RealSize => (483..495, "real size of the sparse file"),
        };
        let bytes = &self.0[range];
        number::field(bytes).ok_or_else(|| {
            format!("its {name} {:?} is not an octal number", bytes.escape_ascii().to_string())
        })
    }
}

/// The numeric fields of a header.
#[derive(Clone, Copy)]
pub(crate) enum Field {
    /// Permission bits.
    Mode,
    /// Owner.
    Uid,
    /// Group.
    Gid,
    /// Bytes of data.
    Size,
    /// Seconds since 1970.
    Mtime,
    /// Device major.
    Major,
    /// Device minor.
    Minor,
    /// Old GNU sparse: length with holes.
    RealSize,
}

/// Up to the first NUL.
pub(crate) fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|byte| *byte == 0).unwrap_or(field.len())]
}
