use super::*;
use crate::parse;

const FILE: &str = "\
# VERSION of the tool
ARG VERSION=1.0
ARG NEEDED=no ONLY_GLOBAL=no
FROM golang:${VERSION} AS build
# TOKEN for the registry
ARG TOKEN
ARG FULL=v${VERSION}
RUN --mount=type=secret,id=key,required --mount=type=cache,target=/root/.cache make
FROM alpine AS other
ARG UNUSED=1
# final the image that is shipped
FROM --platform=linux/amd64 alpine AS final
COPY --from=build /x /x
RUN --mount=type=ssh --mount=type=secret,target=/run/other --mount=type=secret,id=dir/name true
";

#[test]
fn targets_with_descriptions() {
    let targets = targets(&parse(FILE).unwrap());
    let told: Vec<_> = targets.iter().map(|target| (target.name.as_deref(), target.default)).collect();
    assert_eq!(told, [(Some("build"), false), (Some("other"), false), (Some("final"), true)]);
    assert_eq!(targets[2].description.as_deref(), Some("the image that is shipped"));
    assert_eq!(targets[2].platform.as_deref(), Some("linux/amd64"));
    assert_eq!(targets[0].base, "golang:${VERSION}");
}

#[test]
fn what_the_last_stage_takes_comes_from_the_stages_it_needs() {
    let outline = outline(&parse(FILE).unwrap(), None, &BTreeMap::new()).unwrap();
    assert_eq!(outline.name.as_deref(), Some("final"));
    let told = |argument: &Argument| {
        format!("{}={:?} {:?}", argument.name, argument.value.as_deref(), argument.description.as_deref())
    };
    let arguments: Vec<_> = outline.arguments.iter().map(told).collect();
    assert_eq!(
        arguments,
        [
            "VERSION=Some(\"1.0\") Some(\"of the tool\")",
            "TOKEN=None Some(\"for the registry\")",
            "FULL=Some(\"v1.0\") None"
        ]
    );
    let ids = |resources: &[Resource]| -> Vec<_> {
        resources.iter().map(|found| format!("{} {}", found.id, found.required)).collect()
    };
    assert_eq!(ids(&outline.secrets), ["key true", "other false", "dir/name false"]);
    assert_eq!(ids(&outline.ssh), ["default false"]);
    assert_eq!(ids(&outline.caches), ["/root/.cache false"]);
}

#[test]
fn given_values_and_targets() {
    let file = parse(FILE).unwrap();
    let given = BTreeMap::from([("VERSION".to_owned(), "2".to_owned())]);
    let found = outline(&file, Some("BUILD"), &given).unwrap();
    assert_eq!(found.arguments[0].value.as_deref(), Some("2"));
    assert_eq!(found.arguments[2].value.as_deref(), Some("v2"));
    assert!(found.ssh.is_empty());
    assert_eq!(outline(&file, Some("nothing"), &given), None);
}
