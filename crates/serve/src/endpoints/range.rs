//! The `Range` header of a download (RFC 9110, section 14) and the `Content-Range` of a chunk.

/// The part of a blob that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Everything: no range, or one that is to be ignored (another unit, several ranges, not well-formed).
    Whole,
    /// From the first byte to before the second.
    Part(u64, u64),
    /// Nothing that is there.
    Beyond,
}

/// Reads `bytes=...` for a blob of `size` bytes.
pub(super) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some((first, last)) = header
        .and_then(|text| text.trim().strip_prefix("bytes="))
        .filter(|text| !text.contains(','))
        .and_then(|text| text.trim().split_once('-'))
    else {
        return Wanted::Whole;
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Wanted::Whole,
        (Some(first), last) if last.is_some() || last_is_open(header) => {
            if first >= size {
                return Wanted::Beyond;
            }
            Wanted::Part(first, last.map_or(size, |last| last.saturating_add(1).min(size)))
        }
        (None, Some(length)) if first.is_empty() => match length.min(size) {
            0 => Wanted::Beyond,
            length => Wanted::Part(size - length, size),
        },
        _ => Wanted::Whole,
    }
}

fn last_is_open(header: Option<&str>) -> bool {
    header.is_some_and(|text| text.trim_end().ends_with('-'))
}

/// Digits only; a number beyond 64 bits is as far away as one can be.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// First and last byte of a chunk: `FIRST-LAST`, and as some clients write it, with `bytes ` before and `/TOTAL` behind.
pub(super) fn chunk(header: &str) -> Option<(u64, u64)> {
    let text = header.trim();
    let text = text.strip_prefix("bytes ").unwrap_or(text);
    let text = text.split_once('/').map_or(text, |(range, _)| range);
    let (first, last) = text.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    // No chunk has 2^64 bytes, so its length can be counted.
    (first <= last && last < u64::MAX).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ten_bytes() {
        for (header, want) in [
            ("bytes=0-0", Wanted::Part(0, 1)),
            ("bytes=2-5", Wanted::Part(2, 6)),
            ("bytes=2-", Wanted::Part(2, 10)),
            ("bytes=-3", Wanted::Part(7, 10)),
            ("bytes=-99", Wanted::Part(0, 10)),
            ("bytes=9-99999999999999999999999", Wanted::Part(9, 10)),
            ("bytes=0-18446744073709551615", Wanted::Part(0, 10)),
            ("bytes=10-", Wanted::Beyond),
            ("bytes=18446744073709551615-", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=5-2", Wanted::Whole),
            ("bytes=0-1,4-5", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=2-x", Wanted::Whole),
            ("bytes=--3", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
        ] {
            assert_eq!(wanted(Some(header), 10), want, "{header}");
        }
        assert_eq!(wanted(None, 10), Wanted::Whole);
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Beyond);
    }

    #[test]
    fn ranges_of_chunks() {
        assert_eq!(chunk("0-9"), Some((0, 9)));
        assert_eq!(chunk("bytes 5-9/*"), Some((5, 9)));
        for bad in ["", "-", "5", "9-5", "-5", "5-", "a-b", "0-18446744073709551615", "0--1", "+1-2"] {
            assert_eq!(chunk(bad), None, "{bad}");
        }
    }
}
