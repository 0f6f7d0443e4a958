//! Which image of an index.
use strata_oci::{Descriptor, Index, Platform};

/// The entry of an index that suits a platform best; of several that suit equally, the first.
pub(super) fn choose<'a>(index: &'a Index, wanted: &Platform) -> Option<&'a Descriptor> {
    let suits = |entry: &&Descriptor| {
        let platform = entry.platform.as_ref().filter(|_| is_image(entry))?;
        wanted.suits(platform)
    };
    let ranked = index.manifests.iter().filter_map(|entry| Some((suits(&entry)?, entry)));
    // `min_by_key` takes the first of equals.
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, entry)| entry)
}

/// The platforms of an index, for a message.
pub(super) fn available(index: &Index) -> Vec<String> {
    let images = index.manifests.iter().filter(|entry| is_image(entry));
    images.filter_map(|entry| Some(entry.platform.as_ref()?.to_string())).collect()
}

/// BuildKit keeps attestations in the index, as images of an unknown platform.
fn is_image(entry: &Descriptor) -> bool {
    !entry.annotations.contains_key("vnd.docker.reference.type")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use strata_oci::Digest;

    fn index(platforms: &[&str]) -> Index {
        let entry = |text: &&str| Descriptor {
            platform: text.parse().ok(),
            ..Descriptor::new(strata_oci::media_type::OCI_MANIFEST, Digest::of(text.as_bytes()), 1)
        };
        let manifests = platforms.iter().map(entry).collect();
        Index { schema_version: 2, media_type: None, manifests, annotations: BTreeMap::new() }
    }

    fn chosen(platforms: &[&str], wanted: &str) -> Option<String> {
        let index = index(platforms);
        let wanted: Platform = wanted.parse().expect(wanted);
        choose(&index, &wanted).and_then(|entry| entry.platform.as_ref().map(ToString::to_string))
    }

    #[test]
    fn the_best_variant_is_taken() {
        let all = ["linux/arm/v5", "linux/arm/v7", "linux/arm/v6", "linux/amd64", "linux/arm64/v8"];
        assert_eq!(chosen(&all, "linux/amd64").as_deref(), Some("linux/amd64"));
        assert_eq!(chosen(&all, "linux/arm64").as_deref(), Some("linux/arm64/v8"));
        assert_eq!(chosen(&all, "linux/arm/v7").as_deref(), Some("linux/arm/v7"));
        assert_eq!(chosen(&all, "linux/arm").as_deref(), Some("linux/arm/v7"));
        assert_eq!(chosen(&all, "linux/arm/v6").as_deref(), Some("linux/arm/v6"));
        assert_eq!(chosen(&all, "linux/s390x"), None);
        assert_eq!(chosen(&["linux/arm/v7"], "linux/arm/v6"), None, "a newer one does not run");
        assert_eq!(chosen(&["linux/amd64/v3", "linux/amd64"], "linux/amd64").as_deref(), Some("linux/amd64"));
        assert_eq!(chosen(&["windows/amd64"], "linux/amd64"), None);
    }

    #[test]
    fn attestations_are_no_images() {
        let mut index = index(&["linux/amd64", "linux/arm64"]);
        index.manifests[0]
            .annotations
            .insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
        assert_eq!(choose(&index, &"linux/amd64".parse().expect("a platform")), None);
        assert_eq!(available(&index), ["linux/arm64"]);
    }
}
