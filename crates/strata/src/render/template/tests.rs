//! Templates that users type, with what Go prints for them.

use super::{Mode, Template};
use serde_json::{Value, json};

fn image() -> Value {
    json!({
        "Id": "sha256:9b625cead5fcffff",
        "RepoTags": ["a:1", "b:2"],
        "Size": 164,
        "Config": { "Env": ["A=1", "B=2"], "Cmd": ["sh", "-c", "x"], "Labels": { "x": "y", "a.b": "c" }, "Entrypoint": null, "Volumes": null },
        "RootFS": { "Type": "layers", "Layers": ["sha256:a", "sha256:b"] },
        "State": { "Status": "running", "Health": null },
        "Ports": { "80/tcp": [{ "HostPort": "8080" }], "443/tcp": null },
    })
}

fn render(template: &str) -> Result<String, String> {
    let template = Template::parse(template).map_err(|error| error.to_string())?;
    template.execute(&image(), Mode::Document).map_err(|error| error.to_string())
}

#[test]
fn templates_of_the_seeds_and_of_users() {
    let cases = [
        ("{{ range .RootFS.Layers }}{{ println . }}{{end}}", "sha256:a\nsha256:b\n"),
        ("{{.RootFS.Layers}}", "[sha256:a sha256:b]"),
        ("{{json .RootFS}}", r#"{"Type":"layers","Layers":["sha256:a","sha256:b"]}"#),
        ("{{ json .Config.Env }}", r#"["A=1","B=2"]"#),
        ("{{len .RootFS.Layers}}", "2"),
        ("{{ .Size }}", "164"),
        ("{{.State.Status}}", "running"),
        ("{{index .RepoTags 0}}", "a:1"),
        ("{{slice .Id 7 19}}", "9b625cead5fc"),
        ("{{join .Config.Cmd \" \"}}", "sh -c x"),
        ("{{.Id | printf \"%.12s\"}}", "sha256:9b625"),
        ("{{index .Config.Labels \"a.b\"}}", "c"),
        ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
        (
            "{{range $p,$c := .Ports}}{{$p}}{{with $c}}->{{(index . 0).HostPort}}{{end}} {{end}}",
            "443/tcp 80/tcp->8080 ",
        ),
        ("{{.RootFS}}", "{layers [sha256:a sha256:b]}"),
        ("{{.Config.Labels}}", "map[a.b:c x:y]"),
        ("{{.Config.Entrypoint}} {{.Config.Volumes}} {{json .Config.Volumes}}", "[] map[] null"),
        ("{{if eq .State.Status \"exited\" \"running\"}}up{{else}}down{{end}}", "up"),
        ("{{if .State.Health}}h{{else if gt .Size 100}}big{{else}}small{{end}}", "big"),
        ("{{range $i, $e := .RepoTags}}{{if $i}},{{end}}{{$e}}{{end}}", "a:1,b:2"),
        ("{{- /* comment */ -}} {{ .Size -}}  x", "164x"),
        ("{{with $x := .Size}}{{$x}}{{end}}", "164"),
        ("{{$x := 1}}{{$x = 2}}{{$x}}", "2"),
        ("{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" .Size}}", "<164>"),
        ("{{range .RepoTags}}{{if eq . \"b:2\"}}{{break}}{{end}}{{.}}{{end}}", "a:1"),
        ("{{printf \"%-6s|%4d|%q|%v\" .State.Status 7 \"x\" .RepoTags}}", "running|   7|\"x\"|[a:1 b:2]"),
        ("{{upper .State.Status | lower | title}}", "Running"),
        ("{{pad \"x\" 1 2}}|{{truncate .Id 9}}", " x  |sha256:9b"),
        ("{{and .Size (or nil .Size)}} {{not .Size}}", "164 false"),
        ("{{html \"<a>\"}} {{urlquery \"a b&c\"}}", "&lt;a&gt; a+b%26c"),
        ("{{json .Id}}{{`raw`}}{{'a'}}", "\"sha256:9b625cead5fcffff\"raw97"),
    ];
    for (template, expected) in cases {
        assert_eq!(render(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn errors_are_gos_sentences() {
    let cases = [
        ("{{.Bad}}", "template: :1:2: executing \"\" at <.Bad>: map has no entry for key \"Bad\""),
        (
            "{{.State.Health.Status}}",
            "template: :1:8: executing \"\" at <.State.Health.Status>: nil pointer evaluating interface {}.Status",
        ),
        ("{{.Id", "template: :1: unclosed action"),
        ("{{if .Id}}x", "template: :1: unexpected EOF"),
        ("{{nope .Id}}", "template: :1: function \"nope\" not defined"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("a\n{{\"x}}", "template: :2: unterminated quoted string"),
        (
            "{{index .RepoTags 9}}",
            "template: :1:2: executing \"\" at <index .RepoTags 9>: error calling index: index out of range: 9",
        ),
        ("{{$x}}", "template: :1: undefined variable \"$x\""),
        ("{{break}}", "template: :1: {{break}} outside {{range}}"),
        (
            "{{template \"t\"}}",
            "template: :1:11: executing \"\" at <{{template \"t\"}}>: template \"t\" not defined",
        ),
        (
            "{{define \"t\"}}{{template \"t\"}}{{end}}{{template \"t\"}}",
            "template: :1:25: executing \"\" at <{{template \"t\"}}>: exceeded maximum template depth",
        ),
        (
            "a\n {{ .Size }} {{.Bad | len}}",
            "template: :2:15: executing \"\" at <.Bad>: map has no entry for key \"Bad\"",
        ),
        (
            "{{.Size | index .RepoTags}}",
            "template: :1:10: executing \"\" at <index .RepoTags>: error calling index: index out of range: 164",
        ),
        (
            "{{(index .RepoTags 0).Bad}}",
            "template: :1:21: executing \"\" at <(index .RepoTags 0).Bad>: can't evaluate field Bad in type interface {}",
        ),
        (
            "{{$.Config.Bad}}",
            "template: :1:3: executing \"\" at <$.Config.Bad>: map has no entry for key \"Bad\"",
        ),
    ];
    for (template, expected) in cases {
        assert_eq!(render(template), Err(expected.to_owned()), "{template}");
    }
}

#[test]
fn headers_pass_through_dockers_functions() {
    let template = Template::parse("{{upper .Name}}\t{{truncate .ID 2}}\t{{json .Size}}").expect("parses");
    let text = template.execute(&json!({ "Name": "Names", "ID": "IMAGE ID", "Size": "SIZE" }), Mode::Header);
    assert_eq!(text.as_deref(), Ok("Names\tIMAGE ID\tSIZE"));
}
