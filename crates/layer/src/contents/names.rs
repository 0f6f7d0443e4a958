//! The names of a directory: sorted, some 24 bytes each, in any order of coming.

/// Names in pieces of limited length, so that one that comes late does not move all the others. The bytes of the names
/// of all directories stand in one text.
#[derive(Default)]
pub(super) struct Names(Vec<Vec<Name>>);

/// Where a name stands in the text, and the inode that it leads to.
struct Name {
    start: u32,
    length: u16,
    id: u32,
}

/// Names of a full piece.
const PIECE: usize = 512;

impl Name {
    fn text<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        &text[self.start as usize..self.start as usize + usize::from(self.length)]
    }
}

impl Names {
    /// Where a name is, or where it would be.
    fn position(&self, text: &[u8], name: &[u8]) -> Result<(usize, usize), (usize, usize)> {
        let after = self.0.partition_point(|piece| piece[0].text(text) <= name);
        let Some(at) = after.checked_sub(1) else { return Err((0, 0)) };
        match self.0[at].binary_search_by(|have| have.text(text).cmp(name)) {
            Ok(found) => Ok((at, found)),
            Err(place) => Err((at, place)),
        }
    }

    /// The inode that a name leads to.
    pub(super) fn get(&self, text: &[u8], name: &[u8]) -> Option<u32> {
        self.position(text, name).ok().map(|(piece, at)| self.0[piece][at].id)
    }

    /// Lets a name lead to an inode; the one that it led to.
    ///
    /// # Errors
    /// The text is too long.
    pub(super) fn insert(
        &mut self,
        text: &mut Vec<u8>,
        name: &[u8],
        id: u32,
    ) -> Result<Option<u32>, &'static str> {
        let (piece, at) = match self.position(text, name) {
            Ok((piece, at)) => return Ok(Some(std::mem::replace(&mut self.0[piece][at].id, id))),
            Err(place) => place,
        };
        let (Ok(start), Ok(length)) = (u32::try_from(text.len()), u16::try_from(name.len())) else {
            return Err("its names have more than 4 GiB");
        };
        text.extend_from_slice(name);
        let new = Name { start, length, id };
        let Some(names) = self.0.get_mut(piece) else {
            // Few directories ever have more than one piece.
            self.0.reserve_exact(1);
            self.0.push(vec![new]);
            return Ok(None);
        };
        if names.len() < PIECE {
            names.insert(at, new);
        } else if at == PIECE {
            // Names that come in order fill their pieces.
            self.0.insert(piece + 1, vec![new]);
        } else {
            let mut second = names.split_off(PIECE / 2);
            match at.checked_sub(PIECE / 2) {
                Some(at) => second.insert(at, new),
                None => names.insert(at, new),
            }
            self.0.insert(piece + 1, second);
        }
        Ok(None)
    }

    /// Names and inodes, sorted by name.
    pub(super) fn iter<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (&'a [u8], u32)> {
        self.0.iter().flatten().map(|name| (name.text(text), name.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn names_are_found_whatever_the_order_of_their_coming() {
        for step in [1, 7919, 9_999] {
            let (mut names, mut text) = (Names::default(), Vec::new());
            let mut expected: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
            for id in 0..10_000_u32 {
                // Every tenth name comes a second time.
                let number = (u64::from(id - id % 10 / 9) * step) % 10_000;
                let name = format!("name{number:05}").into_bytes();
                assert_eq!(names.insert(&mut text, &name, id), Ok(expected.insert(name, id)));
            }
            assert!(names.iter(&text).eq(expected.iter().map(|(name, id)| (name.as_slice(), *id))));
            assert!(expected.iter().all(|(name, id)| names.get(&text, name) == Some(*id)));
            assert_eq!((names.get(&text, b"name"), names.get(&text, b"z")), (None, None));
        }
    }
}
