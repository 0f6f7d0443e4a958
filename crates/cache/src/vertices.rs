//! BuildKit's own records: which of them a step is.
use crate::Config;
use std::collections::{HashMap, HashSet};
use strata_build::CacheKey;
use strata_build::buildkit::{Node, Source, Vertex};
use strata_oci::Digest;

/// The records of a config by their digests, and what has been recognised among them so far.
#[derive(Debug, Default)]
pub struct Vertices {
    by_digest: HashMap<Digest, Vec<usize>>,
    /// Steps of ours, and the records that they are.
    steps: HashMap<CacheKey, Vec<usize>>,
}

impl Vertices {
    /// Of a config that was checked.
    pub fn new(config: &Config) -> Self {
        let mut by_digest: HashMap<Digest, Vec<usize>> = HashMap::new();
        for (index, record) in config.records.iter().enumerate() {
            by_digest.entry(record.digest).or_default().push(index);
        }
        Self { by_digest, steps: HashMap::new() }
    }

    /// The records that a step is, which are remembered under its key; those that it stands on were asked for before.
    pub fn find(&mut self, config: &Config, key: &CacheKey, vertex: &Vertex) -> &[usize] {
        let candidates: Vec<HashSet<(String, usize)>> =
            vertex.inputs.iter().map(|sources| self.candidates(sources)).collect();
        let fits = |index: &&usize| {
            let inputs = &config.records[**index].inputs;
            let suits = |(links, candidates): (&Vec<crate::Link>, &HashSet<(String, usize)>)| {
                links.iter().any(|link| candidates.contains(&(link.selector.clone(), link.link)))
            };
            inputs.len() == candidates.len() && inputs.iter().zip(&candidates).all(suits)
        };
        let named = vertex.digests.iter().filter_map(|digest| self.by_digest.get(digest)).flatten();
        let found = named.filter(fits).copied().collect();
        self.steps.entry(*key).insert_entry(found).into_mut()
    }

    /// Selectors and records that may stand at an input.
    fn candidates(&self, sources: &[Source]) -> HashSet<(String, usize)> {
        let records = |node: &Node| match node {
            Node::Leaf(digest) => self.by_digest.get(digest),
            Node::Step(key) => self.steps.get(key),
        };
        let of_source = |source: &Source| {
            let selector = source.selector().map_or_else(String::new, |selector| selector.to_string());
            let found = records(&source.node()).map_or(&[][..], Vec::as_slice);
            found.iter().map(|record| (selector.clone(), *record)).collect::<Vec<_>>()
        };
        sources.iter().flat_map(of_source).collect()
    }
}

impl Config {
    /// The layers of a record's results, bottom first, as indexes.
    pub fn results(&self, record: usize) -> impl Iterator<Item = Vec<usize>> + '_ {
        let record = &self.records[record];
        let stacks = record.results.iter().map(|result| self.stack(result.layer));
        stacks.chain(record.chains.iter().map(|chain| chain.layers.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Link, Record};

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn key(name: &str) -> CacheKey {
        CacheKey::from_bytes(*digest(name).as_bytes())
    }

    fn record(name: &str, inputs: &[&[(&str, usize)]]) -> Record {
        let link = |(selector, link): &(&str, usize)| Link { selector: (*selector).to_owned(), link: *link };
        let inputs = inputs.iter().map(|links| links.iter().map(link).collect()).collect();
        Record { digest: digest(name), inputs, results: Vec::new(), chains: Vec::new() }
    }

    fn step(name: &str, inputs: &[&[Source]]) -> Vertex {
        Vertex {
            digests: vec![digest(name)],
            inputs: inputs.iter().map(|sources| sources.to_vec()).collect(),
        }
    }

    #[test]
    fn a_step_is_the_record_of_its_name_on_the_records_of_its_inputs() {
        let selector = digest("path").to_string();
        let records = vec![
            record("image", &[]),
            record("run", &[&[("", 0)]]),
            record("files", &[]),
            record("copy", &[&[("", 1)], &[("", 2), (&selector, 1)]]),
            record("run", &[&[("", 3)]]),
        ];
        let config = Config { records, ..Config::default() };
        let mut vertices = Vertices::new(&config);
        let leaf = |name| Source::Whole(Node::Leaf(digest(name)));
        let of = |name| Source::Whole(Node::Step(key(name)));
        let select = |name| Source::Selected(digest("path"), Node::Step(key(name)));
        let mut find = |name: &str, vertex: Vertex| vertices.find(&config, &key(name), &vertex).to_vec();
        assert_eq!(find("1", step("run", &[&[leaf("image")]])), [1], "not the one on the copy");
        assert_eq!(find("2", step("run", &[&[leaf("other image")]])), [0_usize; 0]);
        assert_eq!(find("3", step("copy", &[&[of("1")], &[leaf("files")]])), [3]);
        assert_eq!(find("4", step("copy", &[&[of("1")], &[leaf("other files")]])), [0_usize; 0]);
        assert_eq!(find("5", step("copy", &[&[of("1")], &[leaf("other files"), select("1")]])), [3]);
        assert_eq!(find("6", step("copy", &[&[of("1")]])), [0_usize; 0], "an input is missing");
        assert_eq!(
            find("7", step("copy", &[&[of("2")], &[leaf("files")]])),
            [0_usize; 0],
            "on something else"
        );
        assert_eq!(find("8", step("run", &[&[of("3")]])), [4]);
    }
}
