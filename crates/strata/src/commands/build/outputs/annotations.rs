//! `--annotation [TYPE[,TYPE]...[PLATFORM]:]KEY=VALUE` and `annotation[-TYPE][PLATFORM].KEY=VALUE` of `-o`.

use std::collections::BTreeMap;
use strata_oci::Platform;

/// What is annotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Manifest,
    ManifestDescriptor,
    Index,
    IndexDescriptor,
}

/// One annotation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Annotation {
    levels: Vec<Level>,
    /// Only for images of this platform.
    platform: Option<Platform>,
    key: String,
    value: String,
}

/// Annotations of one image: those of its manifest, and those of the manifest's descriptor.
pub(super) type Sorted = (BTreeMap<String, String>, BTreeMap<String, String>);

impl Level {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "manifest" => Ok(Self::Manifest),
            "manifest-descriptor" => Ok(Self::ManifestDescriptor),
            "index" => Ok(Self::Index),
            "index-descriptor" => Ok(Self::IndexDescriptor),
            other => Err(format!(
                "unknown annotation type {other:?}: use manifest, index, manifest-descriptor or index-descriptor"
            )),
        }
    }
}

/// The value of `--annotation`.
pub(super) fn of_flag(text: &str) -> Result<Annotation, String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("invalid annotation {text:?}: it takes the form [TYPE:]KEY=VALUE"))?;
    let (levels, key) = key.split_once(':').unwrap_or(("", key));
    let (levels, platform) = bracketed(levels)?;
    annotation(levels.split(',').filter(|level| !level.is_empty()), platform, key, value)
}

/// A field of `-o` whose key begins with `annotation`.
pub(super) fn of_output(key: &str, value: &str) -> Result<Annotation, String> {
    let bad = || {
        format!("invalid {key:?} in -o: annotations take the form annotation[-TYPE][[PLATFORM]].KEY=VALUE")
    };
    let rest = &key["annotation".len()..];
    let (head, name) = rest.split_once('.').ok_or_else(bad)?;
    let (level, platform) = bracketed(head)?;
    let level = match level.strip_prefix('-') {
        Some(level) => Some(level),
        None if level.is_empty() => None,
        None => return Err(bad()),
    };
    annotation(level.into_iter(), platform, name, value)
}

/// `index[linux/amd64]`: what stands before the bracket and what in it.
fn bracketed(text: &str) -> Result<(&str, Option<Platform>), String> {
    let Some((before, rest)) = text.split_once('[') else { return Ok((text, None)) };
    let inner =
        rest.strip_suffix(']').ok_or_else(|| format!("invalid annotation: {text:?} has no closing ]"))?;
    let platform =
        inner.parse().map_err(|error| format!("invalid annotation platform {inner:?}: {error}"))?;
    Ok((before, Some(platform)))
}

fn annotation<'a>(
    levels: impl Iterator<Item = &'a str>,
    platform: Option<Platform>,
    key: &str,
    value: &str,
) -> Result<Annotation, String> {
    let mut levels: Vec<Level> = levels.map(Level::parse).collect::<Result<_, _>>()?;
    if levels.is_empty() {
        levels.push(Level::Manifest);
    }
    if key.is_empty() {
        return Err(format!("invalid annotation: \"={value}\" has no key"));
    }
    Ok(Annotation { levels, platform, key: key.to_owned(), value: value.to_owned() })
}

/// Those that are for an image of this platform.
///
/// # Errors
/// Annotations of an index: one image has none.
pub(super) fn sort<'a>(
    annotations: impl Iterator<Item = &'a Annotation>,
    platform: &Platform,
) -> Result<Sorted, String> {
    let (mut manifest, mut descriptor) = Sorted::default();
    for annotation in annotations {
        if annotation.platform.as_ref().is_some_and(|wanted| wanted.to_string() != platform.to_string()) {
            continue;
        }
        for level in &annotation.levels {
            let map = match level {
                Level::Manifest => &mut manifest,
                Level::ManifestDescriptor => &mut descriptor,
                Level::Index | Level::IndexDescriptor => {
                    return Err(format!(
                        "annotation {}: index annotations not supported for single platform export; use manifest or \
                         manifest-descriptor",
                        annotation.key
                    ));
                }
            };
            map.insert(annotation.key.clone(), annotation.value.clone());
        }
    }
    Ok((manifest, descriptor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(texts: &[&str]) -> Result<Sorted, String> {
        let all: Vec<Annotation> = texts.iter().map(|text| of_flag(text).expect(text)).collect();
        sort(all.iter(), &"linux/amd64".parse().expect("a platform"))
    }

    fn pairs(map: &BTreeMap<String, String>) -> Vec<String> {
        map.iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    #[test]
    fn types_and_platforms() {
        let (manifest, descriptor) = sorted(&[
            "org.x=1",
            "manifest:b=2=3",
            "manifest,manifest-descriptor:c=4",
            "manifest[linux/amd64]:d=5",
            "manifest[linux/arm64]:e=6",
        ])
        .expect("fits");
        assert_eq!(pairs(&manifest), ["b=2=3", "c=4", "d=5", "org.x=1"]);
        assert_eq!(pairs(&descriptor), ["c=4"]);
    }

    #[test]
    fn the_fields_of_outputs_mean_the_same() {
        for (key, flag) in [
            ("annotation.a.b", "a.b=v"),
            ("annotation-manifest-descriptor.a", "manifest-descriptor:a=v"),
            ("annotation[linux/arm64].a", "manifest[linux/arm64]:a=v"),
            ("annotation-index[linux/arm64].a", "index[linux/arm64]:a=v"),
        ] {
            assert_eq!(of_output(key, "v"), of_flag(flag), "{key}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(sorted(&["index:a=1"]).expect_err("no index").contains("not supported for single platform"));
        for text in ["novalue", "what:a=1", "manifest[:a=1", "manifest[x/y/z/w]:a=1", "=v"] {
            assert!(of_flag(text).is_err(), "{text}");
        }
        for key in ["annotation", "annotationx.a", "annotation-what.a", "annotation."] {
            assert!(of_output(key, "v").is_err(), "{key}");
        }
    }
}
