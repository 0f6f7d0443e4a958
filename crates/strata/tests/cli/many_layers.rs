//! Images with no layer, with more than Docker's 127, and with more than overlayfs can stack.

use crate::world::{World, archive};

/// A Docker archive of `box:1`'s layer and `count - 1` further ones, each with its own number in `/top` and `/f<number>`.
fn tall(world: &World, name: &str, count: usize) -> Vec<u8> {
    let base = fs_err::read(world.path("box.tar")).expect("imported");
    let mut layers = vec![base];
    for number in 1..count {
        let text = number.to_string();
        let entries: [(&str, u32, &[u8]); 3] =
            [("./", 0o755, b""), ("top", 0o644, text.as_bytes()), (&format!("f{number}"), 0o644, b"")];
        layers.push(archive(&entries).into_inner().expect("memory"));
    }
    let digest = |bytes: &[u8]| strata_oci::Digest::of(bytes);
    let ids: Vec<String> = layers.iter().map(|layer| format!("\"{}\"", digest(layer))).collect();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["sh"],"Env":["PATH=/bin"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        ids.join(",")
    );
    let names: Vec<String> = (0..count).map(|number| format!("{number}.tar")).collect();
    let listed: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    let manifest =
        format!(r#"[{{"Config":"c.json","RepoTags":["{name}"],"Layers":[{}]}}]"#, listed.join(","));
    let mut members: Vec<(&str, u32, &[u8])> =
        vec![("c.json", 0o644, config.as_bytes()), ("manifest.json", 0o644, manifest.as_bytes())];
    members.extend(names.iter().zip(&layers).map(|(name, layer)| (name.as_str(), 0o644, layer.as_slice())));
    archive(&members).into_inner().expect("memory")
}

#[test]
fn no_layer_at_all() {
    let Some(world) = World::with_shell("no_layer_at_all") else { return };
    world.file("ctx/Dockerfile", b"FROM scratch\nLABEL a=b\nCMD [\"/bin/none\"]\n");
    world.file("child/Dockerfile", b"FROM empty\nCOPY Dockerfile /f\n");
    world.file("fails/Dockerfile", b"FROM empty\nRUN true\n");
    insta::assert_snapshot!(world.transcript(&[
        "build -q -t empty ctx",
        "image inspect -f '{{.RootFS}} {{.RootFS.Layers}} {{json .RootFS}} {{.Size}}' empty",
        "history --format '{{.CreatedBy}} {{.Size}}' empty",
        "run --rm --network none empty",
        "run --rm --network none -v /bin/busybox:/bin/true empty /bin/true",
        "save -o empty.tar empty",
        "rmi empty",
        "load -i empty.tar",
        "images --format '{{.Repository}} {{.Size}}' empty",
        "build -q -t child child",
        "image inspect -f '{{len .RootFS.Layers}} {{.Config.Labels}}' child",
        "build --progress plain --network none fails",
        "system fsck -q",
    ]));
}

/// More than Docker's 127, in a store whose name alone fills what mount options take.
#[test]
fn three_hundred_layers() {
    let Some(world) = World::with_shell("three_hundred_layers") else { return };
    world.file("tall.tar", &tall(&world, "tall:1", 300));
    assert_eq!(world.ok(&["load", "-i", "tall.tar"]), "Loaded image: tall:1\n");
    let show = ["run", "--rm", "--network", "none", "tall:1", "sh", "-c", "cat /top; ls -d /f* | wc -l"];
    assert_eq!(world.ok(&show), "299299\n");
    world.file("ctx/Dockerfile", b"FROM tall:1\nCOPY Dockerfile /top\nRUN ls -d /f* | wc -l > /count\n");
    world.ok(&["build", "-q", "--network", "none", "-t", "taller", "ctx"]);
    let counted = world.ok(&["run", "--rm", "--network", "none", "taller", "cat", "/count"]);
    assert_eq!(counted, "299\n");
    let id = world.ok(&["images", "-q", "--no-trunc", "taller"]);
    world.ok(&["save", "-o", "saved.tar", "taller"]);
    world.ok(&["rmi", "taller", "tall:1"]);
    world.ok(&["builder", "prune", "-a", "-f"]);
    world.ok(&["load", "-i", "saved.tar"]);
    assert_eq!(world.ok(&["images", "-q", "--no-trunc", "taller"]), id);
    let counted = world.ok(&["run", "--rm", "--network", "none", "taller", "cat", "/count"]);
    assert_eq!(counted, "299\n");
}

/// The kernel stacks 500. Everything that needs no mount works, and what needs one says what is wrong.
#[test]
fn more_than_the_kernel_stacks() {
    let Some(world) = World::with_shell("more_than_the_kernel_stacks") else { return };
    world.file("tall.tar", &tall(&world, "tall:1", 510));
    world.file("copy/Dockerfile", b"FROM tall:1\nCOPY Dockerfile /top\n");
    world.file("run/Dockerfile", b"FROM tall:1\nRUN true\n");
    insta::assert_snapshot!(world.transcript(&[
        "load -i tall.tar",
        "build -q -t copied copy",
        "image inspect -f '{{len .RootFS.Layers}}' copied",
        "build --progress plain --network none run",
        "run --rm --network none tall:1 true",
        "run -d --name kept --network none tall:1 true",
        "ps -a --format '{{.Names}} {{.Status}}'",
        "build -q -o flat copy",
        "system fsck -q",
    ]));
    assert!(world.path("flat/top").is_file());
}
