//! `images`, `history`, `inspect`, templates, `tag`, `rmi`, `image prune`, `system df` (`spec/engine.md`, 2 and 3).

use crate::world::World;

const DOCKERFILE: &[u8] = b"FROM base:1\nENV GREETING=hello\nWORKDIR /app\nCOPY index.html .\nLABEL a=b c=\"d e\"\n\
    EXPOSE 80/tcp 53/udp\nVOLUME /data\nUSER bob\nSTOPSIGNAL USR1\nENTRYPOINT [\"/bin/server\", \"--port\"]\nCMD [\"80\"]\n";

fn world() -> World {
    let world = World::with_base();
    world.file("ctx/Dockerfile", DOCKERFILE);
    world.file("ctx/index.html", &[b'h'; 164]);
    world.ok(&["build", "-q", "-t", "app:1", "ctx"]);
    world
}

#[test]
fn lists() {
    insta::assert_snapshot!(world().transcript(&[
        "images",
        "images -q",
        "images --no-trunc",
        "images --digests",
        "images base",
        "images 'b*'",
        "images nosuch",
        "images --filter reference=app:*",
        "images --filter label=a=b -q",
        "images --filter label=zz",
        "images --filter before=app:1 --format {{.Repository}}",
        "images --filter since=base:1 --format {{.Repository}}",
        "images --format json",
        "images --format '{{.Repository}}:{{.Tag}} {{.Size}} {{.CreatedSince}} {{.SharedSize}} {{.UniqueSize}}'",
        "images --format 'table {{.Repository}}:{{.Tag}}\\t{{upper .Size}}'",
        "images --format '{{.Bad}}'",
        "images --format '{{.ID'",
        "images --no-trunc=false -q=true",
    ]));
}

#[test]
fn history() {
    insta::assert_snapshot!(world().transcript(&[
        "history app:1",
        "history --no-trunc app:1",
        "history --human=false base:1",
        "history -q app:1",
        "history app:1 --format 'table {{.Size}}\\t{{.CreatedBy}}' --no-trunc",
        "history --format json base:1",
    ]));
}

/// A row of several lines is shown as it is, as by Docker.
#[test]
fn history_of_several_lines() {
    let world = world();
    world.file("lines/Dockerfile", b"FROM base:1\nARG v\nLABEL l=$v\n");
    world.ok(&["build", "-q", "-t", "lines:1", "--build-arg", "v=one\ntwo", "lines"]);
    let rows = world.ok(&["history", "--no-trunc", "--format", "{{.CreatedBy}}", "lines:1"]);
    assert!(rows.starts_with("LABEL l=one\ntwo\n"), "{rows}");
    let table = world.ok(&["history", "lines:1"]);
    assert!(table.contains("LABEL l=one\ntwo            0B            buildkit.dockerfile.v0\n"), "{table}");
}

#[test]
fn inspect() {
    insta::assert_snapshot!(world().transcript(&["image inspect app:1", "inspect base:1"]));
}

/// Every template of the seeds, and what people type beside them.
#[test]
fn templates() {
    insta::assert_snapshot!(world().transcript(&[
        "inspect -f '{{ range .RootFS.Layers }}{{ println . }}{{ end }}' app:1",
        "image inspect app:1 --format={{.RootFS.Layers}}",
        "image inspect --format '{{json .RootFS}}' base:1",
        "inspect -f '{{len .RootFS.Layers}}' app:1",
        "inspect -f '{{ json .ContainerConfig.Env }}' app:1",
        "inspect -f '{{ .Size }}' app:1 base:1",
        "inspect -f '{{.Config.ExposedPorts}} {{.Config.Volumes}} {{.Config.Labels}} {{.Config.Entrypoint}}' app:1",
        "inspect -f '{{.Config.ExposedPorts}} {{.Config.Volumes}} {{.Config.Labels}} {{.Config.Entrypoint}}' base:1",
        "inspect -f '{{index .Config.Labels \"a\"}} {{join .Config.Cmd \",\"}} {{.Os | upper}} {{slice .Id 0 7}}' app:1",
        "inspect -f '{{if eq .Os \"linux\"}}yes{{else}}no{{end}}{{with .Config.User}} {{.}}{{end}}' app:1",
        "inspect -f '{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}' app:1",
        "inspect -f json base:1 --type image",
        "inspect -f '{{.Nope}}' app:1",
        "inspect -f '{{.Id' app:1",
        "inspect -f '{{nosuch .Id}}' app:1",
        "inspect -f '{{.RepoTags}}' app:1 nosuch",
    ]));
}

#[test]
fn names_come_and_go() {
    insta::assert_snapshot!(world().transcript(&[
        "tag app:1 registry.example:5000/team/app",
        "tag app:1 UPPER",
        "tag app:1 app:2",
        "images --format {{.Repository}}:{{.Tag}}",
        "rmi app:2",
        "tag base:1 app:1",
        "images --format '{{.Repository}}:{{.Tag}} {{.ID}}'",
        "rmi base:1 app:1",
        "images",
        "rmi registry.example:5000/team/app",
        "images -a",
    ]));
}

#[test]
fn prune_and_df() {
    let world = world();
    world.file("ctx/Dockerfile", b"FROM base:1\nCOPY index.html /index.html\n");
    let text = world.transcript(&[
        "system df",
        "system df -v --format json",
        "system df --format '{{.Type}}: {{.TotalCount}} {{.Size}} {{.Reclaimable}}'",
        "build -q -t app:1 ctx",
        "images",
        "image prune",
        "image prune -f",
        "images",
        "volume create v1",
        "system df",
    ]);
    insta::assert_snapshot!(text);
}
