//! Where a regular file's bytes are, in the form an index can hold.
use crate::tar::{BLOCK, Segment, padding};
use strata_erofs::{Data, Extent};

/// Where the bytes of a regular file are. There is one for each file of a layer, nearly all of them in one piece.
#[expect(
    clippy::box_collection,
    reason = "the rare places are behind one pointer, so that the common one is short"
)]
pub(crate) enum Placed {
    /// In one piece in the tar, from this offset.
    Whole(u64),
    /// Here and there in the tar, block by block.
    Pieces(Box<Vec<Segment>>),
    /// Here, because an index cannot point at them.
    Spooled(Box<Vec<u8>>),
}

impl Placed {
    /// As the image wants it; the tar is device 1.
    pub(crate) fn to_data(&self, size: u64) -> Data {
        let extent = |segment: &Segment| Extent {
            logical: segment.logical,
            length: segment.length,
            device: 1,
            offset: segment.offset,
        };
        match self {
            Self::Whole(_) if size == 0 => Data::External(Vec::new()),
            Self::Whole(offset) => {
                Data::External(vec![extent(&Segment { logical: 0, length: size, offset: *offset })])
            }
            Self::Pieces(segments) => Data::External(segments.iter().map(extent).collect()),
            Self::Spooled(bytes) => Data::Inline(bytes.to_vec()),
        }
    }

    /// Bytes this keeps in memory.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Whole(_) => 0,
            Self::Pieces(segments) => size_of_val(&***segments) as u64,
            Self::Spooled(bytes) => bytes.len() as u64,
        }
    }

    /// Entries of its chunk table in the index, where it has more than one.
    pub(super) fn chunks(&self, size: u64) -> u64 {
        match self {
            Self::Whole(_) | Self::Spooled(_) => 0,
            Self::Pieces(segments) => chunks(segments, size),
        }
    }
}

/// True if an index cannot point at these segments: it points at whole blocks of the tar from whole blocks of the file.
pub(crate) fn needs_spool(segments: &[Segment]) -> bool {
    segments.iter().any(|segment| segment.logical % BLOCK != 0 || segment.offset % BLOCK != 0)
}

/// The places of a file whose segments are aligned. A segment that ends inside a block is taken to the block's end,
/// whose padding the caller knows to be zeros.
pub(crate) fn placed(segments: &[Segment], size: u64) -> Placed {
    match segments {
        [] if size == 0 => Placed::Whole(0),
        [all] if all.logical == 0 && all.length == size => Placed::Whole(all.offset),
        _ => Placed::Pieces(Box::new(joined(segments, size))),
    }
}

fn joined(segments: &[Segment], size: u64) -> Vec<Segment> {
    let mut joined: Vec<Segment> = Vec::with_capacity(segments.len());
    for segment in segments {
        let padded = segment.length + padding(segment.length);
        let length = padded.min(size - segment.logical);
        match joined.last_mut() {
            Some(last)
                if last.logical + last.length == segment.logical
                    && last.offset + last.length == segment.offset =>
            {
                last.length += length;
            }
            _ => joined.push(Segment { length, ..*segment }),
        }
    }
    joined
}

/// Entries of the chunk table: all chunks of a file have one size, a power of two that divides every border.
fn chunks(segments: &[Segment], size: u64) -> u64 {
    let borders = segments.iter().fold(0, |borders, segment| {
        let end = segment.logical + segment.length;
        borders | segment.logical | if end == size { 0 } else { end }
    });
    let unit = if borders == 0 { size.next_power_of_two().max(BLOCK) } else { 1 << borders.trailing_zeros() };
    size.div_ceil(unit.min(1 << 40))
}
