//! The streaming reader.
use super::header::{Block, Field};
use super::pax::Records;
use super::sparse::{self, NewMap};
use super::{BLOCK, MAX_PATH, Member, MemberKind, Segment, member, name, padding};
use crate::{LayerError, Limits};
use std::io::{BufRead, Read};
use std::os::unix::ffi::OsStringExt;

/// Reads members one after the other. After [`Reader::next_member`] gave a regular file, its bytes may be read with
/// [`Reader::content`]; what is left unread is skipped.
pub struct Reader<R> {
    input: R,
    limits: Limits,
    /// Bytes consumed of `input`.
    position: u64,
    /// Where the data of the current member end, padding not included.
    data_end: u64,
    global: Records,
    members: u64,
    ended: bool,
    /// Names begin at the root, so that `..` ends there.
    rooted: bool,
}

/// What the extension headers before a member said.
#[derive(Default)]
struct Extensions {
    any: bool,
    records: Records,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

/// A failure without its place; [`Reader::place`] adds it.
enum Fault {
    Io(std::io::Error),
    Tar(String),
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Self::Tar(what)
    }
}

impl<R: BufRead> Reader<R> {
    /// Takes names as they would be understood if the root of the file system were extracted to: `..` cannot pass it.
    /// Without this a name that leads out is an error.
    pub(crate) fn rooted(self) -> Self {
        Self { rooted: true, ..self }
    }

    /// A reader at the beginning of a tar.
    pub fn new(input: R, limits: &Limits) -> Self {
        Self {
            input,
            limits: *limits,
            position: 0,
            data_end: 0,
            global: Records::default(),
            members: 0,
            ended: false,
            rooted: false,
        }
    }

    /// The next member; `None` at the end-of-archive block or at the end of input.
    ///
    /// # Errors
    /// [`LayerError::Tar`] for a damaged or hostile tar, naming where and what would be right.
    pub fn next_member(&mut self) -> Result<Option<Member>, LayerError> {
        if self.ended {
            return Ok(None);
        }
        let mut name = Vec::new();
        let start = self.position;
        self.finish_member().map_err(|fault| place(fault, start, &name))?;
        let mut extensions = Extensions { records: self.global.clone(), ..Extensions::default() };
        loop {
            let offset = self.position;
            let member =
                self.header(&mut extensions, &mut name).map_err(|fault| place(fault, offset, &name))?;
            match member {
                Step::Member(member) => return Ok(Some(*member)),
                Step::Extension => {}
                Step::End => {
                    self.ended = true;
                    return Ok(None);
                }
            }
        }
    }

    /// Members given so far.
    pub fn members(&self) -> u64 {
        self.members
    }

    /// What follows the last member, end-of-archive blocks included if they were not read yet.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// The bytes of the regular file that [`Reader::next_member`] gave last, holes read as zeros.
    pub fn content<'a>(&'a mut self, member: &'a Member) -> Content<'a, R> {
        let segments = match &member.kind {
            MemberKind::Regular(segments) => segments.as_slice(),
            _ => &[],
        };
        Content { reader: self, member, segments, position: 0 }
    }

    /// Reads on in the current member's data up to `offset` of the tar and shows every byte passed.
    pub(crate) fn read_to(
        &mut self,
        offset: u64,
        member: &Member,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), LayerError> {
        self.pass(offset, &mut each).map_err(|fault| place(fault, member.offset, &member.path))
    }

    /// Reads what is left of the member's data and padding; true if the padding is all zeros.
    pub(crate) fn padding_is_clean(&mut self, member: &Member) -> Result<bool, LayerError> {
        let mut clean = true;
        self.read_to(self.data_end, member, |_| ())?;
        self.read_to(self.data_end + padding(self.data_end), member, |bytes| {
            clean &= bytes.iter().all(|byte| *byte == 0);
        })?;
        Ok(clean)
    }

    fn header(&mut self, extensions: &mut Extensions, name: &mut Vec<u8>) -> Result<Step, Fault> {
        let offset = self.position;
        let mut block = [0; BLOCK as usize];
        let ends = !self.block(&mut block)? || block == [0; BLOCK as usize];
        if ends && extensions.any {
            return Err("an extension header is the last one; a member must follow it".to_owned().into());
        }
        if ends {
            return Ok(Step::End);
        }
        if self.position > self.limits.tar_length {
            return Err(
                format!("it goes on past byte {}, the longest tar allowed", self.limits.tar_length).into()
            );
        }
        let header = Block::parse(&block)?;
        match header.type_flag() {
            flag @ (b'x' | b'X' | b'g' | b'L' | b'K') => {
                let body = self.extension_body(&header)?;
                self.extend(flag, &body, extensions)?;
                Ok(Step::Extension)
            }
            b'V' => {
                self.set_data(&header, None)?;
                self.finish_member()?;
                Ok(Step::Extension)
            }
            _ => {
                if self.members >= self.limits.entries {
                    return Err(format!(
                        "it has more than {} members, the most allowed",
                        self.limits.entries
                    )
                    .into());
                }
                self.members += 1;
                let member = self.member(&header, offset, std::mem::take(extensions), name)?;
                Ok(Step::Member(Box::new(member)))
            }
        }
    }

    /// Notes an extension header.
    fn extend(&mut self, flag: u8, body: &[u8], extensions: &mut Extensions) -> Result<(), String> {
        match flag {
            b'g' => {
                self.global.apply(body)?;
                extensions.records = self.global.clone();
                return Ok(());
            }
            b'L' => extensions.long_name = Some(super::header::text(body).to_vec()),
            b'K' => extensions.long_link = Some(super::header::text(body).to_vec()),
            _ => {
                extensions.records = self.global.clone();
                extensions.records.apply(body)?;
            }
        }
        extensions.any = true;
        Ok(())
    }

    /// The data of an extension header.
    fn extension_body(&mut self, header: &Block) -> Result<Vec<u8>, Fault> {
        let size = self.set_data(header, None)?;
        if size > self.limits.header {
            return Err(format!(
                "an extension header claims {size} bytes; at most {} are allowed",
                self.limits.header
            )
            .into());
        }
        let mut body = Vec::new();
        self.pass(self.data_end, &mut |bytes| body.extend_from_slice(bytes))?;
        self.finish_member()?;
        Ok(body)
    }

    fn path(&self, name: &[u8]) -> Result<Vec<u8>, String> {
        if self.rooted { name::clean(&[b"/", name].concat()) } else { name::clean(name) }
    }

    /// Puts a member together from its header and extensions.
    fn member(
        &mut self,
        header: &Block,
        offset: u64,
        extensions: Extensions,
        shown: &mut Vec<u8>,
    ) -> Result<Member, Fault> {
        let Extensions { mut records, long_name, long_link, .. } = extensions;
        let raw =
            records.sparse.name.take().or(records.path.take()).or(long_name).unwrap_or_else(|| header.name());
        shown.clone_from(&raw);
        let path = self.path(&raw)?;
        let link = records.link_path.take().or(long_link).unwrap_or_else(|| header.link_name());
        let flag = header.type_flag();
        let mut metadata = member::metadata(header, &mut records)?;
        let kind = match flag {
            0 | b'0' | b'7' | b'S' if raw.ends_with(b"/") && flag != b'S' => {
                self.set_data(header, Some(&records))?;
                MemberKind::Directory
            }
            0 | b'0' | b'7' | b'S' => {
                let stored = self.set_data(header, Some(&records))?;
                let (size, segments) = self.segments(header, &records, stored)?;
                metadata.size = size;
                MemberKind::Regular(segments)
            }
            b'1' => MemberKind::HardLink(
                self.path(&link).map_err(|what| format!("the target of its hard link is bad: {what}"))?,
            ),
            b'2' => MemberKind::Symlink(member::symlink_target(link)?),
            b'3' => MemberKind::CharDevice,
            b'4' => MemberKind::BlockDevice,
            b'5' => MemberKind::Directory,
            b'6' => MemberKind::Fifo,
            // A directory with a list of its names, from GNU tar --incremental.
            b'D' => {
                self.set_data(header, Some(&records))?;
                MemberKind::Directory
            }
            b'M' => {
                return Err("it continues a file of an earlier volume; one-volume tars are read"
                    .to_owned()
                    .into());
            }
            _ => return Err(format!("its type is {:?}, which no tar reader knows", char::from(flag)).into()),
        };
        if path.is_empty() && kind != MemberKind::Directory {
            return Err("its name stands for the root, which must be a directory".to_owned().into());
        }
        member::complete(&mut metadata, &kind, header, &records)?;
        Ok(Member { offset, path, kind, metadata })
    }

    /// Notes how long the data of the current header are.
    fn set_data(&mut self, header: &Block, records: Option<&Records>) -> Result<u64, Fault> {
        let size = match records.and_then(|records| records.size) {
            Some(size) => size,
            None => header.number(Field::Size)?,
        };
        let size = u64::try_from(size).map_err(|_| format!("its size is negative ({size})"))?;
        let end = self.position.saturating_add(size);
        if end > self.limits.tar_length {
            return Err(format!(
                "its size of {size} bytes leads past byte {}, the longest tar allowed",
                self.limits.tar_length
            )
            .into());
        }
        self.data_end = end;
        Ok(size)
    }

    /// Size and places of a regular file. Reads sparse maps that stand in the data.
    fn segments(
        &mut self,
        header: &Block,
        records: &Records,
        stored: u64,
    ) -> Result<(u64, Vec<Segment>), Fault> {
        if header.type_flag() == b'S' {
            let mut map = Vec::new();
            sparse::old_map(&header.0[386..482], &mut map)?;
            let real = header.number(Field::RealSize)?;
            let real = u64::try_from(real).map_err(|_| format!("its real size is negative ({real})"))?;
            if header.0[482] != 0 {
                self.old_extensions(&mut map)?;
                self.data_end = self.position.saturating_add(stored);
            }
            return Ok((real, sparse::segments(&map, real, self.position, stored)?));
        }
        let sparse = &records.sparse;
        if sparse.version == (0, 0) && sparse.map.is_none() {
            let all = Segment { logical: 0, length: stored, offset: self.position };
            return Ok((stored, if stored > 0 { vec![all] } else { Vec::new() }));
        }
        let real =
            sparse.real_size.ok_or_else(|| "its sparse map comes without the file's real size".to_owned())?;
        if i64::try_from(real).is_err() {
            return Err(
                format!("its real size is {real}; Linux has files of {} bytes at most", i64::MAX).into()
            );
        }
        let map = match sparse.version {
            (0, 0 | 1) => sparse.map.clone().unwrap_or_default(),
            (1, 0) => self.new_map()?,
            (major, minor) => {
                return Err(format!("its sparse format {major}.{minor} is unknown; 1.0 is the newest").into());
            }
        };
        Ok((real, sparse::segments(&map, real, self.position, self.data_end - self.position)?))
    }

    /// Extension blocks of an old GNU sparse header.
    fn old_extensions(&mut self, map: &mut Vec<u64>) -> Result<(), Fault> {
        loop {
            let mut block = [0; BLOCK as usize];
            if !self.block(&mut block)? {
                return Err("the tar ends inside its sparse map".to_owned().into());
            }
            sparse::old_map(&block[..504], map)?;
            self.bound_map(map.len())?;
            if block[504] == 0 {
                return Ok(());
            }
        }
    }

    fn new_map(&mut self) -> Result<Vec<u64>, Fault> {
        let (mut map, mut blocks) = (NewMap::default(), 0);
        loop {
            let mut block = [0; BLOCK as usize];
            if self.position + BLOCK > self.data_end || !self.block(&mut block)? {
                return Err("its data end inside its sparse map".to_owned().into());
            }
            blocks += 1;
            // A number and its line feed are two bytes at least.
            self.bound_map(blocks * BLOCK as usize / 2)?;
            if map.block(&block)? {
                return Ok(map.into_map());
            }
        }
    }

    fn bound_map(&self, numbers: usize) -> Result<(), String> {
        if numbers as u64 * 8 > self.limits.header {
            return Err(format!(
                "its sparse map is longer than {} bytes, the most allowed",
                self.limits.header
            ));
        }
        Ok(())
    }

    /// Skips to the next header.
    fn finish_member(&mut self) -> Result<(), Fault> {
        let end = self.data_end + padding(self.data_end);
        self.pass(end.max(self.position), &mut |_| ())
    }

    /// Reads one block; false at the end of input.
    fn block(&mut self, block: &mut [u8; BLOCK as usize]) -> Result<bool, Fault> {
        let mut filled = 0;
        while filled < block.len() {
            let bytes = self.input.fill_buf()?;
            if bytes.is_empty() && filled == 0 {
                return Ok(false);
            }
            if bytes.is_empty() {
                return Err(format!("the tar ends after {filled} bytes of a header block of 512").into());
            }
            let length = bytes.len().min(block.len() - filled);
            block[filled..filled + length].copy_from_slice(&bytes[..length]);
            filled += length;
            self.consume(length);
        }
        self.data_end = self.data_end.max(self.position);
        Ok(true)
    }

    fn pass(&mut self, end: u64, each: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        while self.position < end {
            let left = end - self.position;
            let bytes = self.input.fill_buf()?;
            if bytes.is_empty() {
                return Err(
                    format!("the tar ends {left} bytes before the end of its data: it is cut off").into()
                );
            }
            let length = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            each(&bytes[..length]);
            self.consume(length);
        }
        Ok(())
    }

    fn consume(&mut self, length: usize) {
        self.input.consume(length);
        self.position += length as u64;
    }
}

enum Step {
    Member(Box<Member>),
    Extension,
    End,
}

fn place(fault: Fault, offset: u64, name: &[u8]) -> LayerError {
    match fault {
        Fault::Io(error) => LayerError::Io(error),
        Fault::Tar(what) => {
            let name = if name.len() > MAX_PATH { [&name[..200], b"..."].concat() } else { name.to_vec() };
            let path = (!name.is_empty()).then(|| std::ffi::OsString::from_vec(name).into());
            LayerError::Tar { offset, path, what }
        }
    }
}

/// A regular file's bytes; see [`Reader::content`].
pub struct Content<'a, R> {
    reader: &'a mut Reader<R>,
    member: &'a Member,
    segments: &'a [Segment],
    position: u64,
}

impl<R: BufRead> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let size = self.member.metadata.size;
        while let Some(done) = self.segments.first().filter(|s| s.logical + s.length <= self.position) {
            debug_assert!(done.length > 0, "empty segments are left out");
            self.segments = &self.segments[1..];
        }
        let until = |end: u64| usize::try_from(end - self.position).unwrap_or(usize::MAX).min(buffer.len());
        let length = match self.segments.first() {
            Some(segment) if segment.logical <= self.position => {
                let length = until(segment.logical + segment.length);
                let start = segment.offset + (self.position - segment.logical);
                let mut filled = 0;
                let fill = |bytes: &[u8]| {
                    buffer[filled..filled + bytes.len()].copy_from_slice(bytes);
                    filled += bytes.len();
                };
                self.reader.read_to(start, self.member, |_| ()).map_err(std::io::Error::other)?;
                self.reader
                    .read_to(start + length as u64, self.member, fill)
                    .map_err(std::io::Error::other)?;
                length
            }
            next => {
                let length = until(next.map_or(size, |segment| segment.logical));
                buffer[..length].fill(0);
                length
            }
        };
        self.position += length as u64;
        Ok(length)
    }
}
