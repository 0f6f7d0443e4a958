//! Volumes: filled from the image, kept, anonymous ones removed; binds and tmpfs; `volume` (`spec/engine.md`, 4).

use crate::world::World;

#[test]
fn the_volume_commands() {
    insta::assert_snapshot!(World::new().transcript(&[
        "volume create named --label a=b",
        "volume create named",
        "volume ls",
        "volume ls -q --filter label=a=b",
        "volume ls --format json",
        "volume inspect named",
        "volume inspect -f '{{.Name}} {{.Driver}} {{index .Labels \"a\"}}' named",
        "volume inspect named nosuch -f {{.Name}}",
        "volume create bad/name",
        "volume create --driver nfs x",
        "volume prune -f",
        "volume ls -q",
        "volume prune -af",
        "volume ls",
    ]));
}

#[test]
fn contents_and_lifetimes() {
    let Some(world) = World::with_shell("volumes::contents_and_lifetimes") else { return };
    world.file("bound/file", b"from the host\n");
    world.file("ctx/Dockerfile", b"FROM box:1\nVOLUME /data\n");
    world.ok(&["build", "-q", "-t", "vol", "ctx"]);
    let bound = world.path("bound").display().to_string();
    insta::assert_snapshot!(world.transcript(&[
        "run --rm --network none -v named:/data box:1 sh -c 'cat /data/seed; echo more > /data/more'",
        "run --rm --network none -v named:/data box:1 ls /data",
        "run --rm --network none -v named:/data:ro box:1 touch /data/no",
        "run --rm --network none -v empty:/data:nocopy box:1 ls /data",
        "run --rm --network none --mount type=volume,source=named,target=/v,readonly box:1 ls /v",
        "run --rm --network none vol sh -c 'cat /data/seed'",
        "volume ls -q",
        &format!("run --rm --network none -v {bound}:/b box:1 sh -c 'cat /b/file; echo x > /b/written'"),
        &format!("run --rm --network none -v {bound}:/b:ro box:1 touch /b/no"),
        &format!("run --rm --network none -v {bound}/made:/b box:1 ls -A /b"),
        "run --rm --network none --mount type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770 box:1 sh -c 'ls -ld /t | head -c 10'",
        "run -d --name user --network none -v named:/data box:1 sleep 60",
        "volume rm named",
        "ps --format '{{.Mounts}} {{.LocalVolumes}}'",
        "rm -f user",
        "volume rm named empty",
        "run --name anon --network none vol true",
        "rm anon",
        "system df --format '{{.Type}} {{.TotalCount}}'",
        "volume prune -f",
    ]));
    assert_eq!(fs_err::read(world.path("bound/written")).expect("written"), b"x\n");
    assert!(world.path("bound/made").is_dir());
}
