use super::*;
use strata_oci::media_type;

/// Docker 20.10 built this with `DOCKER_BUILDKIT=1` and `BUILDKIT_INLINE_CACHE=1`: two stages, a RUN in each, and a COPY
/// from one to the other.
const DOCKER: &str = include_str!("docker-20.10.json");

fn blobs(image: &ImageConfig) -> Vec<Descriptor> {
    let layers = image.rootfs.diff_ids.iter();
    layers.map(|layer| Descriptor::new(media_type::OCI_LAYER, *layer.digest(), 0)).collect()
}

#[test]
fn what_docker_puts_into_an_image_is_read() {
    let image: ImageConfig = serde_json::from_str(DOCKER).expect("an image config");
    let found = inline_of(&image);
    let config = &found.config;
    assert_eq!((config.layers.len(), config.records.len()), (3, 6));
    assert_eq!(config.steps, None, "Docker knows nothing of our steps");
    // The COPY stands on the RUN of its stage, and takes a file of the other stage's: by definition, or by content.
    let copy = config.records.iter().find(|record| record.inputs.len() == 2 && !record.results.is_empty());
    let copy = copy.expect("a record of the COPY");
    assert_eq!(copy.inputs[1].len(), 2);
    assert!(copy.inputs[1].iter().any(|link| link.selector.starts_with("sha256:")));
    assert_eq!(config.stack(copy.results[0].layer), [0, 1, 2]);
    let top = config.layers[2].annotations.as_ref().expect("what the image says of it");
    assert_eq!(top.diff_id.as_ref(), image.rootfs.diff_ids.last());
    assert_eq!(top.created_at, image.history.last().and_then(|row| row.created));
}

#[test]
fn records_are_read_as_they_were_written() {
    let mut image: ImageConfig = serde_json::from_str(DOCKER).expect("an image config");
    let mut config = inline_of(&image).config;
    config.steps = Some(Steps { version: 1, platform: "linux/amd64".to_owned(), ..Steps::default() });
    write(&mut image, &config);
    assert_eq!(inline_of(&image).config, config);
    let text = serde_json::to_string(&image).expect("JSON");
    assert_eq!(serde_json::from_str::<ImageConfig>(&text).expect("an image config"), image);
}

#[test]
fn records_of_other_layers_are_refused() {
    let mut image: ImageConfig = serde_json::from_str(DOCKER).expect("an image config");
    let two = &blobs(&image)[..2];
    let error = read(&image, two).expect_err("a layer is missing").to_string();
    assert!(error.contains("its manifest has 2 layers, its config 3"), "{error}");
    image.rootfs.diff_ids.pop();
    let error = read(&image, two).expect_err("a record names the third").to_string();
    assert!(error.contains("names layer 2, which does not exist"), "{error}");
    image.extra.insert(RECORDS.to_owned(), Value::from("%%%"));
    assert!(matches!(read(&image, two), Err(ConfigError::Base64(_))));
    image.extra.remove(RECORDS);
    assert!(read(&image, two).expect("nothing to refuse").is_none());
}

fn inline_of(image: &ImageConfig) -> Found {
    read(image, &blobs(image)).expect("sound").expect("there are records")
}
