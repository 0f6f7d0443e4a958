//! `RUN --device`: devices of the host, described by CDI files, in a step.

use crate::world::World;

const FILE: &str = r#"
cdiVersion: "0.6.0"
kind: acme.com/card
devices:
- name: one
  containerEdits:
    env: [CARD=one]
    deviceNodes:
    - {path: /dev/acme/ctl, hostPath: /dev/loop-control, uid: 5, fileMode: 420}
    - {path: /srv/fuse, hostPath: /dev/fuse, permissions: r}
    mounts: [{hostPath: HERE, containerPath: /opt/acme, options: [ro, bind]}]
"#;

const DOCKERFILE: &str = "\
FROM box:1
RUN --device=acme.com/card=one,required \\
    { echo $CARD; stat -c '%t:%T %a %u' /dev/acme/ctl; cat /opt/acme; \\
      (: </dev/acme/ctl) && echo ctl opened; (: </srv/fuse) && echo fuse read; (: >/srv/fuse) || echo not written; \\
      mknod /tmp/fuse c 10 229; (: </tmp/fuse) && echo by any name; \\
      mknod /tmp/loop b 7 0; (: </tmp/loop) || echo nothing else; rm /tmp/*; } >/said 2>/dev/null
RUN --device=acme.com/card=two { ls /dev/acme /opt /srv || echo $CARD gone; } >>/said 2>/dev/null
";

#[test]
fn a_step_gets_the_devices_it_asks_for_and_may_have() {
    let Some(world) = World::with_shell("devices::a_step_gets_the_devices") else { return };
    for node in ["/dev/loop-control", "/dev/fuse"] {
        if !std::path::Path::new(node).exists() {
            eprintln!("SKIP devices::a_step_gets_the_devices: {node} is not here");
            return;
        }
    }
    world.file("here", b"a file of the host\n");
    let specs = world.path("cdi");
    world.file("cdi/acme.yaml", FILE.replace("HERE", &world.path("here").display().to_string()).as_bytes());
    world.file("cdi/broken.json", b"{}");
    world.file("config.json", format!("{{\"cdi-spec-dirs\": [{specs:?}]}}").as_bytes());
    world.file("ctx/Dockerfile", DOCKERFILE.as_bytes());
    let build = |more: &[&str]| {
        let arguments = [&["build", "--network", "none", "--progress", "plain", "-t", "out"], more, &["ctx"]];
        let output =
            world.command(&arguments.concat()).env("STRATA_CONFIG", world.path("config.json")).output();
        let output = output.expect("strata starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, told) = build(&[]);
    assert_eq!(code, Some(1));
    assert!(told.contains("device acme.com/card=one is requested by the build but not allowed"), "{told}");
    assert!(told.contains("CDI file left out: ") && told.contains("broken.json"), "{told}");

    let (code, told) = build(&["--allow", "device=acme.com/card"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("optional device \"acme.com/card=two\" is not registered"), "{told}");
    let said = world.ok(&["run", "--rm", "--network", "none", "out", "cat", "/said"]);
    let wanted = "one\na:ed 644 5\na file of the host\nctl opened\nfuse read\nnot written\nby any name\nnothing else\ngone\n";
    assert_eq!(said, wanted);

    // The device is part of the key: the other name is another step, the same one is not.
    let (_, told) = build(&["--allow", "device"]);
    assert_eq!(told.matches("CACHED").count(), 3, "{told}");
    world.file("cdi/acme.yaml", FILE.replace("name: one", "name: two").replace("HERE", "/").as_bytes());
    let (code, told) = build(&["--allow", "device"]);
    assert_eq!(code, Some(1));
    assert!(told.contains("required device \"acme.com/card=one\" is not registered"), "{told}");
}
