//! PAX extension records: `LENGTH KEY=VALUE\n`, values binary.
use super::number;
use std::collections::BTreeMap;
use strata_erofs::Xattr;

/// What extension records say about a member. An absent field leaves the header's word.
#[derive(Clone, Default)]
pub(crate) struct Records {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link_path: Option<Vec<u8>>,
    pub(crate) size: Option<i64>,
    pub(crate) uid: Option<i64>,
    pub(crate) gid: Option<i64>,
    pub(crate) mtime: Option<(i64, u32)>,
    pub(crate) major: Option<i64>,
    pub(crate) minor: Option<i64>,
    pub(crate) sparse: Sparse,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    libarchive_xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The `GNU.sparse.*` records.
#[derive(Clone, Default)]
pub(crate) struct Sparse {
    pub(crate) version: (u64, u64),
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) real_size: Option<u64>,
    /// Formats 0.0 and 0.1: offset and length of each segment. The last offset may still wait for its length.
    pub(crate) map: Option<Vec<u64>>,
}

impl Records {
    /// Applies the records of one extension header; later records win.
    pub(crate) fn apply(&mut self, mut body: &[u8]) -> Result<(), String> {
        while !body.is_empty() {
            // GNU tar and others pad some headers with NULs.
            if body.iter().all(|byte| *byte == 0) {
                break;
            }
            let (key, value, rest) = split(body)?;
            self.record(key, value).ok_or_else(|| bad_value(key, value))?;
            body = rest;
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let name = || if value.is_empty() { None } else { Some(value.to_vec()) };
        let signed = |to: &mut Option<i64>| {
            *to = if value.is_empty() { None } else { Some(number::signed_decimal(value)?) };
            Some(())
        };
        match key {
            b"path" => self.path = name(),
            b"linkpath" => self.link_path = name(),
            b"size" => signed(&mut self.size)?,
            b"uid" => signed(&mut self.uid)?,
            b"gid" => signed(&mut self.gid)?,
            b"SCHILY.devmajor" => signed(&mut self.major)?,
            b"SCHILY.devminor" => signed(&mut self.minor)?,
            b"mtime" => self.mtime = if value.is_empty() { None } else { Some(number::time(value)?) },
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.insert(decode_keyword(name), value.to_vec());
                } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                    self.libarchive_xattrs.insert(decode_percent(name), decode_base64(value)?);
                } else if let Some(field) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.record(field, value)?;
                }
            }
        }
        Some(())
    }

    /// Extended attributes, sorted by name. SCHILY's records win over libarchive's, which repeat them.
    pub(crate) fn take_xattrs(&mut self) -> Vec<Xattr> {
        let mut all = std::mem::take(&mut self.libarchive_xattrs);
        all.append(&mut self.xattrs);
        all.into_iter().map(|(name, value)| Xattr { name, value }).collect()
    }
}

impl Sparse {
    fn record(&mut self, field: &[u8], value: &[u8]) -> Option<()> {
        match field {
            b"major" => self.version.0 = number::decimal(value)?,
            b"minor" => self.version.1 = number::decimal(value)?,
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.real_size = Some(number::decimal(value)?),
            b"numblocks" => self.map = Some(Vec::new()),
            b"offset" | b"numbytes" => {
                let map = self.map.get_or_insert_default();
                if map.len().is_multiple_of(2) != (field == b"offset") {
                    return None;
                }
                map.push(number::decimal(value)?);
            }
            b"map" => {
                let numbers = value.split(|byte| *byte == b',').filter(|_| !value.is_empty());
                self.map = Some(numbers.map(number::decimal).collect::<Option<_>>()?);
            }
            _ => {}
        }
        Some(())
    }
}

/// Key, value and what follows.
type Split<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn split(body: &[u8]) -> Result<Split<'_>, String> {
    let wrong = || "a PAX record is malformed; it must read `LENGTH KEY=VALUE` and a line feed".to_owned();
    // 20 digits hold every 64-bit number.
    let space = body.iter().take(21).position(|byte| *byte == b' ').ok_or_else(wrong)?;
    let length = number::decimal(&body[..space]).and_then(|n| usize::try_from(n).ok()).ok_or_else(wrong)?;
    if length > body.len() {
        return Err(format!(
            "a PAX record says it has {length} bytes, but {} are left in its header",
            body.len()
        ));
    }
    let record =
        body.get(space + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(wrong)?;
    let equals = record.iter().position(|byte| *byte == b'=').filter(|at| *at > 0).ok_or_else(wrong)?;
    Ok((&record[..equals], &record[equals + 1..], &body[length..]))
}

fn bad_value(key: &[u8], value: &[u8]) -> String {
    let shown = &value[..value.len().min(64)];
    format!(
        "the PAX record {} has the value {:?}, which it cannot have",
        key.escape_ascii(),
        shown.escape_ascii().to_string()
    )
}

/// GNU tar writes `%` and `=` in attribute names as `%25` and `%3D`.
fn decode_keyword(name: &[u8]) -> Vec<u8> {
    decode(name, |code| matches!(code, b'%' | b'='))
}

/// libarchive writes attribute names as in URLs.
fn decode_percent(name: &[u8]) -> Vec<u8> {
    decode(name, |_| true)
}

fn decode(name: &[u8], accept: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| byte == b'%').and_then(|digits| hex::decode(digits).ok());
        match code {
            Some(code) if accept(code[0]) => {
                decoded.push(code[0]);
                rest = &after[2..];
            }
            _ => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}

/// RFC 4648 alphabet, padding optional.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &[u8]) -> Result<Records, String> {
        let mut records = Records::default();
        records.apply(body).map(|()| records)
    }

    #[test]
    fn records_are_split_by_length_not_by_line() {
        let mut records = parse(b"28 SCHILY.xattr.user.x=a\nb\0\n9 path=p\n").unwrap();
        assert_eq!(records.path.as_deref(), Some(&b"p"[..]));
        assert_eq!(records.take_xattrs(), [Xattr { name: b"user.x".to_vec(), value: b"a\nb\0".to_vec() }]);
    }

    #[test]
    fn the_last_record_wins_and_an_empty_one_removes() {
        assert_eq!(parse(b"9 path=a\n9 path=b\n").unwrap().path.as_deref(), Some(&b"b"[..]));
        assert_eq!(parse(b"9 path=a\n8 path=\n").unwrap().path, None);
        assert_eq!(parse(b"12 uid=1000\n").unwrap().uid, Some(1000));
    }

    #[test]
    fn malformed_records_are_refused() {
        for body in [
            &b"x"[..],
            b"9 path=a",
            b"99 path=a\n",
            b"0 \n",
            b"9 pathxa\n",
            b"5 =a\n",
            b"-9 path=a\n",
            b"11 uid=abc\n",
        ] {
            assert!(parse(body).is_err(), "{}", body.escape_ascii());
        }
        assert!(parse(b"99999999999999999999999 path=a\n").is_err());
    }

    #[test]
    fn attribute_names_and_values_are_decoded() {
        let mut records = parse(b"38 SCHILY.xattr.user.a%3Db%25c%41=v=w\n").unwrap();
        assert_eq!(
            records.take_xattrs(),
            [Xattr { name: b"user.a=b%c%41".to_vec(), value: b"v=w".to_vec() }]
        );
        let mut records = parse(b"36 LIBARCHIVE.xattr.user.%41=AAH/gA\n").unwrap();
        assert_eq!(
            records.take_xattrs(),
            [Xattr { name: b"user.A".to_vec(), value: vec![0, 1, 0xff, 0x80] }]
        );
        assert_eq!(decode_base64(b"TWFu"), Some(b"Man".to_vec()));
        assert_eq!(decode_base64(b"TWE="), Some(b"Ma".to_vec()));
        assert_eq!(decode_base64(b"T*=="), None);
    }

    #[test]
    fn sparse_maps_of_both_old_formats() {
        let old = b"22 GNU.sparse.size=10\n26 GNU.sparse.numblocks=1\n23 GNU.sparse.offset=4\n25 GNU.sparse.numbytes=6\n";
        let records = parse(old).unwrap();
        assert_eq!((records.sparse.real_size, records.sparse.map), (Some(10), Some(vec![4, 6])));
        let records = parse(b"25 GNU.sparse.map=4,6,10\n").unwrap();
        assert_eq!(records.sparse.map, Some(vec![4, 6, 10]));
        assert!(parse(b"25 GNU.sparse.numbytes=6\n").is_err());
    }
}
