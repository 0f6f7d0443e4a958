//! Values that many have in common, kept once.
use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Index;

/// Gives equal values one number.
#[derive(Debug)]
pub(crate) struct Interned<T> {
    values: Vec<T>,
    numbers: HashMap<T, u32>,
    /// Neighbours mostly have the same value.
    last: u32,
}

impl<T: Clone + Eq + Hash> Interned<T> {
    pub(crate) fn new() -> Self {
        Self { values: Vec::new(), numbers: HashMap::new(), last: 0 }
    }

    /// The number of a value.
    pub(crate) fn number(&mut self, value: T) -> u32 {
        if self.values.get(self.last as usize) == Some(&value) {
            return self.last;
        }
        let next = self.values.len() as u32;
        self.last = *self.numbers.entry(value.clone()).or_insert(next);
        if self.last == next {
            self.values.push(value);
        }
        self.last
    }

    /// All different values.
    pub(crate) fn values(&self) -> &[T] {
        &self.values
    }
}

impl<T> Index<u32> for Interned<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        &self.values[number as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_one_number() {
        let mut interned = Interned::new();
        let numbers: Vec<u32> =
            ["a", "a", "b", "a", "c", "b"].iter().map(|value| interned.number(*value)).collect();
        assert_eq!(numbers, [0, 0, 1, 0, 2, 1]);
        assert_eq!(interned.values(), ["a", "b", "c"]);
        assert_eq!(interned[2], "c");
    }
}
