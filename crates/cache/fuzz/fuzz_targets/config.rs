//! Any bytes as a cache config and as an image that carries one: an answer or an error; what is accepted holds no index
//! that leads nowhere, and says the same when it was written and read once more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_cache::{Config, inline};
use strata_oci::{Descriptor, Digest, ImageConfig, media_type};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(config) = Config::parse(bytes) {
        follow(&config);
        let again = Config::parse(&config.to_bytes()).expect("what was read can be written");
        assert_eq!(again, config);
        // The same records inside an image with as many layers.
        let mut image = ImageConfig::default();
        image.rootfs.diff_ids = (0..config.layers.len())
            .map(|layer| strata_oci::DiffId::new(Digest::of(&layer.to_le_bytes())))
            .collect();
        inline::write(&mut image, &config);
        let found = inline::read(&image, &blobs(&image)).expect("what was written can be read");
        assert_eq!(found.expect("there are records").config.records, config.records);
    }
    if let Ok(image) = serde_json::from_slice::<ImageConfig>(bytes)
        && let Ok(Some(found)) = inline::read(&image, &blobs(&image))
    {
        follow(&found.config);
    }
});

fn blobs(image: &ImageConfig) -> Vec<Descriptor> {
    let layers = image.rootfs.diff_ids.iter();
    layers.map(|layer| Descriptor::new(media_type::OCI_LAYER, *layer.digest(), 0)).collect()
}

/// Everything that an import looks at.
fn follow(config: &Config) {
    config.check().expect("it was checked");
    let _ = config.blobs();
    for record in &config.records {
        for result in &record.results {
            assert_eq!(config.stack(result.layer).last(), Some(&result.layer));
        }
    }
    if let Some(steps) = &config.steps {
        for step in &steps.steps {
            let _ = config.records[step.record].digest;
            for made in steps.stack(step.made) {
                let _ = config.layers[made.layer].descriptor();
            }
        }
    }
}
