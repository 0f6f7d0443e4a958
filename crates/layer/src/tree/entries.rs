//! What a walk finds, compactly: some 100 bytes an entry, so that a context of 200,000 files is 20 MB.
//!
//! The listings of all directories stand one behind the other, each sorted by name. An entry knows its directory and a
//! directory its listing, so that paths and the order of a walk need no memory of their own. What entries share with
//! many others (owner, mode, device) is kept once.
use super::place::{Content, Place, UNKNOWN};
use super::{Entry, Identity, Verdict};
use crate::interned::Interned;
use crate::{ContentDigest, FileType, Metadata, Xattr};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// An entry of [`Entries`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u32);

/// The contents of one directory of [`Entries`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Listing(u32);

/// Everything below a directory: directories come before what is in them, otherwise names are in byte order. Content
/// digests of regular files are filled in when they become known.
#[derive(Debug)]
pub struct Entries {
    records: Vec<Record>,
    listings: Vec<Range>,
    /// Names with their lengths; a symlink's is followed by its target.
    text: Vec<u8>,
    looks: Interned<Look>,
    /// By position.
    contents: RwLock<Vec<Content>>,
    /// The listing that is being filled.
    begun: Listing,
    /// Entries that are not left out.
    shown: usize,
}

#[derive(Debug)]
struct Record {
    listing: u32,
    /// Where its text is, behind the first of its listing.
    text: u32,
    look: u32,
    /// Nanoseconds of the mtime, and [`CONDITIONAL`] and [`LEFT_OUT`].
    nanoseconds: u32,
    mtime: i64,
    changed: i64,
    /// Of a file its length; of a directory the number of its listing, 0 for none.
    size: u64,
    inode: u64,
}

/// Nanoseconds need 30 bits.
const NANOSECONDS: u32 = (1 << 30) - 1;
/// The directory takes part if something in it does.
const CONDITIONAL: u32 = 1 << 30;
const LEFT_OUT: u32 = 1 << 31;

/// A listing's records and text.
#[derive(Debug)]
struct Range {
    /// The entry of the directory; `u32::MAX` for the walk's start.
    entry: u32,
    first: u32,
    end: u32,
    text: u64,
}

const START: u32 = u32::MAX;

/// What many entries have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Look {
    file_type: FileType,
    mode: u16,
    uid: u32,
    gid: u32,
    rdev: (u32, u32),
    links: u32,
    device: u64,
    xattrs: Vec<Xattr>,
}

impl Default for Entries {
    fn default() -> Self {
        Self::new()
    }
}

impl Entries {
    /// Nothing: an empty directory.
    pub fn new() -> Self {
        Self {
            records: Vec::new(),
            listings: vec![Range { entry: START, first: 0, end: 0, text: 0 }],
            text: Vec::new(),
            looks: Interned::new(),
            contents: RwLock::default(),
            begun: Self::TOP,
            shown: 0,
        }
    }

    /// One entry that stands for itself: its path is empty.
    pub(crate) fn single(entry: &Entry) -> Self {
        let mut entries = Self::new();
        entries.begin(Self::TOP);
        entries.push(b"", entry, Verdict::Include, None);
        entries.finish()
    }

    /// The walk's start.
    pub(crate) const TOP: Listing = Listing(0);

    /// The next entries pushed are those of this directory, which has none yet.
    pub(crate) fn begin(&mut self, listing: Listing) {
        let (at, text) = (self.records.len() as u32, self.text.len() as u64);
        let range = &mut self.listings[listing.0 as usize];
        (range.first, range.end, range.text) = (at, at, text);
        self.begun = listing;
    }

    /// Adds an entry to the directory last begun; names come in byte order. For a directory that takes part, its
    /// listing, to be begun later.
    pub(crate) fn push(
        &mut self,
        name: &[u8],
        entry: &Entry,
        verdict: Verdict,
        known: Option<Content>,
    ) -> Option<Listing> {
        let at =
            u32::try_from(self.records.len()).ok().filter(|at| *at != START).expect("fewer than 2^32 files");
        let listing = self.begun;
        let range = &mut self.listings[listing.0 as usize];
        range.end = at + 1;
        let text = self.text.len() as u64 - range.text;
        let text = u32::try_from(text).expect("the names of one directory have less than 4 GiB");
        self.put_text(name);
        let metadata = &entry.metadata;
        if metadata.file_type == FileType::Symlink {
            self.put_text(&entry.link);
        }
        let below = entry.is_directory().then_some(self.listings.len() as u32);
        let conditional = if verdict == Verdict::ExcludeButDescend { CONDITIONAL } else { 0 };
        let record = Record {
            listing: listing.0,
            text,
            look: self.look(entry),
            nanoseconds: (metadata.mtime_nsec & NANOSECONDS) | conditional,
            mtime: metadata.mtime,
            changed: entry.identity.changed,
            size: below.map_or(metadata.size, u64::from),
            inode: entry.identity.inode,
        };
        self.records.push(record);
        self.write_contents().push(known.unwrap_or(Content::new(UNKNOWN, None)));
        below.map(|number| {
            // Until its turn comes it is empty.
            self.listings.push(Range { entry: at, first: at, end: at, text: 0 });
            Listing(number)
        })
    }

    fn put_text(&mut self, text: &[u8]) {
        let mut length = text.len();
        while length > 0x7f {
            self.text.push(0x80 | length as u8);
            length >>= 7;
        }
        self.text.push(length as u8);
        self.text.extend_from_slice(text);
    }

    fn look(&mut self, entry: &Entry) -> u32 {
        let Metadata { file_type, mode, uid, gid, rdev, ref xattrs, .. } = entry.metadata;
        let Identity { device, links, .. } = entry.identity;
        let xattrs = xattrs.clone();
        self.looks.number(Look { file_type, mode, uid, gid, rdev, links, device, xattrs })
    }

    /// Everything was pushed: leaves out the directories that were kept only because something in them might take
    /// part, and nothing did.
    pub(crate) fn finish(mut self) -> Self {
        let mut left_out = 0;
        // The listing of a directory has a higher number than the one that the directory is in.
        for listing in (1..self.listings.len()).rev() {
            let range = &self.listings[listing];
            let (first, end) = (range.first as usize, range.end as usize);
            let owner = range.entry as usize;
            let is_hollow = self.records[first..end].iter().all(|record| record.nanoseconds & LEFT_OUT != 0);
            let record = &mut self.records[owner];
            if is_hollow && record.nanoseconds & CONDITIONAL != 0 {
                record.nanoseconds |= LEFT_OUT;
                left_out += 1;
            }
        }
        self.shown = self.records.len() - left_out;
        self.records.shrink_to_fit();
        self.text.shrink_to_fit();
        self
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.shown
    }

    /// True for an empty directory.
    pub fn is_empty(&self) -> bool {
        self.shown == 0
    }

    /// Where the entries are, in the order of the walk.
    pub fn positions(&self) -> Positions<'_> {
        Positions { entries: self, open: vec![self.children(Self::TOP)] }
    }

    /// Paths and entries, in the order of the walk.
    pub fn iter(&self) -> impl Iterator<Item = (Vec<u8>, Entry)> + '_ {
        self.positions().map(|at| (self.path(at), self.entry(at)))
    }

    /// The path of an entry, relative to the walk's start.
    pub fn path(&self, at: Position) -> Vec<u8> {
        let mut names = Vec::new();
        let mut entry = at.0;
        while entry != START {
            names.push(self.name(Position(entry)));
            entry = self.listings[self.records[entry as usize].listing as usize].entry;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// The last component of its path.
    pub fn name(&self, at: Position) -> &[u8] {
        self.text_at(self.text_of(at)).0
    }

    /// What stands at `at` in the text, and what follows.
    fn text_at(&self, at: usize) -> (&[u8], usize) {
        let (mut start, mut length, mut shift) = (at, 0, 0);
        loop {
            let byte = self.text[start];
            length |= usize::from(byte & 0x7f) << shift;
            (start, shift) = (start + 1, shift + 7);
            if byte & 0x80 == 0 {
                return (&self.text[start..start + length], start + length);
            }
        }
    }

    fn text_of(&self, at: Position) -> usize {
        let record = self.record(at);
        self.listings[record.listing as usize].text as usize + record.text as usize
    }

    /// The entry itself.
    pub fn entry(&self, at: Position) -> Entry {
        let record = self.record(at);
        let look = &self.looks[record.look];
        let link = match look.file_type {
            FileType::Symlink => self.text_at(self.text_at(self.text_of(at)).1).0.to_vec(),
            _ => Vec::new(),
        };
        let is_directory = look.file_type == FileType::Directory;
        Entry {
            metadata: Metadata {
                file_type: look.file_type,
                mode: look.mode,
                uid: look.uid,
                gid: look.gid,
                mtime: record.mtime,
                mtime_nsec: record.nanoseconds & NANOSECONDS,
                size: if is_directory { 0 } else { record.size },
                rdev: look.rdev,
                xattrs: look.xattrs.clone(),
            },
            link,
            identity: Identity {
                device: look.device,
                inode: record.inode,
                links: look.links,
                changed: record.changed,
            },
        }
    }

    /// Its type.
    pub fn file_type(&self, at: Position) -> FileType {
        self.looks[self.record(at).look].file_type
    }

    /// Length of a file.
    pub fn size(&self, at: Position) -> u64 {
        self.record(at).size
    }

    /// Digest of a regular file's content, if it is known.
    pub fn digest(&self, at: Position) -> Option<ContentDigest> {
        Some(self.read_contents()[at.0 as usize].digest).filter(|digest| *digest != UNKNOWN)
    }

    /// Notes the digest of a regular file's content.
    pub(crate) fn set_digest(&self, at: Position, digest: ContentDigest) {
        self.write_contents()[at.0 as usize].digest = digest;
    }

    /// The same with a copy.
    pub(crate) fn set_content(&self, at: Position, content: Content) {
        self.write_contents()[at.0 as usize] = content;
    }

    /// Where a copy of a regular file's content is, if one is known.
    pub(crate) fn place(&self, at: Position) -> Option<Place> {
        let place = self.read_contents()[at.0 as usize].place;
        Some(place).filter(|place| place.offset() > 0 && place.layer() != Place::NEW)
    }

    /// A layer that is being made has the content at this offset of its tar.
    pub(crate) fn is_written_at(&self, at: Position, offset: u64) {
        if let Some(place) = Place::new(Place::NEW, offset) {
            self.write_contents()[at.0 as usize].place = place;
        }
    }

    /// The layer that was being made has a number.
    pub(crate) fn were_written_to(&self, layer: u16) {
        for content in self.write_contents().iter_mut().filter(|content| content.place.layer() == Place::NEW)
        {
            content.place = content.place.in_layer(layer);
        }
    }

    /// The regular files whose digests are not known, in the order of the walk.
    pub(crate) fn without_digest(&self) -> Vec<Position> {
        let contents = self.read_contents();
        let unknown = |at: &Position| contents[at.0 as usize].digest == UNKNOWN;
        self.positions().filter(|at| unknown(at) && self.file_type(*at) == FileType::Regular).collect()
    }

    /// Number of files whose digests are known.
    pub(crate) fn known_digests(&self) -> usize {
        self.read_contents().iter().filter(|content| content.digest != UNKNOWN).count()
    }

    /// True if some file has more than one name, here or elsewhere.
    pub(crate) fn has_hard_links(&self) -> bool {
        self.looks.values().iter().any(|look| look.links > 1 && look.file_type != FileType::Directory)
    }

    /// What is in a directory, sorted by name.
    pub(crate) fn children(&self, listing: Listing) -> Children<'_> {
        let range = &self.listings[listing.0 as usize];
        Children { entries: self, next: range.first, end: range.end }
    }

    /// The entry with a name in a directory.
    pub(crate) fn find(&self, listing: Listing, name: &[u8]) -> Option<Position> {
        let range = &self.listings[listing.0 as usize];
        let (mut low, mut high) = (range.first, range.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.name(Position(middle)).cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    return Some(Position(middle)).filter(|at| !self.is_left_out(*at));
                }
            }
        }
        None
    }

    /// The contents of a directory.
    pub(crate) fn listing(&self, at: Position) -> Option<Listing> {
        (self.file_type(at) == FileType::Directory).then_some(Listing(self.record(at).size as u32))
    }

    /// All listings with the directories that they are of, in no particular order.
    pub(crate) fn listings(&self) -> impl Iterator<Item = (Vec<u8>, Listing)> + '_ {
        let path =
            |range: &Range| if range.entry == START { Vec::new() } else { self.path(Position(range.entry)) };
        self.listings.iter().zip(0..).map(move |(range, number)| (path(range), Listing(number)))
    }

    fn record(&self, at: Position) -> &Record {
        &self.records[at.0 as usize]
    }

    fn is_left_out(&self, at: Position) -> bool {
        self.record(at).nanoseconds & LEFT_OUT != 0
    }

    fn read_contents(&self) -> RwLockReadGuard<'_, Vec<Content>> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_contents(&self) -> RwLockWriteGuard<'_, Vec<Content>> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entries of one directory, sorted by name.
pub(crate) struct Children<'a> {
    entries: &'a Entries,
    next: u32,
    end: u32,
}

impl Iterator for Children<'_> {
    type Item = Position;

    fn next(&mut self) -> Option<Position> {
        while self.next < self.end {
            let at = Position(self.next);
            self.next += 1;
            if !self.entries.is_left_out(at) {
                return Some(at);
            }
        }
        None
    }
}

/// All entries in the order of the walk.
pub struct Positions<'a> {
    entries: &'a Entries,
    /// What is left of the directories on the way.
    open: Vec<Children<'a>>,
}

impl Iterator for Positions<'_> {
    type Item = Position;

    fn next(&mut self) -> Option<Position> {
        loop {
            let Some(at) = self.open.last_mut()?.next() else {
                self.open.pop();
                continue;
            };
            if let Some(below) = self.entries.listing(at) {
                self.open.push(self.entries.children(below));
            }
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests;
