use super::*;
use crate::parse;

/// `RULE line: message` of every warning.
fn found(text: &str) -> Vec<String> {
    found_with(text, LintInput::default())
}

fn found_with(text: &str, input: LintInput<'_>) -> Vec<String> {
    let file = parse(text).unwrap();
    let index = crate::LineIndex::new(text);
    lint_with(&file, input)
        .iter()
        .map(|warning| format!("{} {}: {}", warning.rule, index.line(warning.span.start), warning.message))
        .collect()
}

#[track_caller]
fn finds(text: &str, wanted: &[&str]) {
    assert_eq!(found(text), wanted, "{text}");
}

#[test]
fn a_good_file_has_no_warnings() {
    finds(
        "# check=error=true\nARG V=1\nFROM alpine:${V} AS base\nARG X=1\nENV P=$X:$PATH\nWORKDIR /a\nWORKDIR b\n\
         COPY package.json .\nRUN npm ci\nCOPY . .\nRUN apt-get update && apt-get install -y x && rm -rf /var/lib/apt/lists/*\n\
         FROM base\nRUN rm -rf /x\nEXPOSE 80/tcp $P\nUSER $X\nENTRYPOINT [\"a\"]\nCMD [\"b\"]\n",
        &[],
    );
}

/// Every rule by name: a file that breaks it, and one like it that does not.
#[test]
fn every_rule_finds_and_spares() {
    let cases = [
        ("StageNameCasing", "FROM a:1 AS Build\n", "FROM a:1 AS build\n"),
        ("FromAsCasing", "FROM a:1 as b\n", "from a:1 as b\n"),
        ("NoEmptyContinuation", "FROM a:1\nRUN a \\\n\n b\n", "FROM a:1\nRUN a \\\n # c\n b\n"),
        ("ConsistentInstructionCasing", "FROM a:1\nrun a\nRUN b\n", "from a:1\nrun a\nrun b\n"),
        ("DuplicateStageName", "FROM a:1 AS b\nFROM a:1 AS b\n", "FROM a:1 AS b\nFROM a:1 AS c\n"),
        ("ReservedStageName", "FROM a:1 AS context\n", "FROM a:1 AS contexts\n"),
        ("JSONArgsRecommended", "FROM a:1\nCMD a b\n", "FROM a:1\nCMD [\"a\", \"b\"]\n"),
        ("MaintainerDeprecated", "FROM a:1\nMAINTAINER me\n", "FROM a:1\nLABEL maintainer=me\n"),
        ("UndefinedArgInFrom", "FROM a:$V\n", "ARG V=1\nFROM a:$V\n"),
        ("WorkdirRelativePath", "FROM a:1\nWORKDIR b\n", "FROM a:1\nWORKDIR /a\nWORKDIR b\n"),
        ("UndefinedVar", "FROM scratch\nCOPY $a /\n", "FROM scratch\nARG a\nCOPY $a /\n"),
        (
            "MultipleInstructionsDisallowed",
            "FROM a:1\nCMD [\"a\"]\nCMD [\"b\"]\n",
            "FROM a:1 AS b\nCMD [\"a\"]\nFROM b\nCMD [\"b\"]\n",
        ),
        ("LegacyKeyValueFormat", "FROM a:1\nENV a b\n", "FROM a:1\nENV a=b\n"),
        (
            "RedundantTargetPlatform",
            "FROM --platform=$TARGETPLATFORM a:1\n",
            "FROM --platform=$BUILDPLATFORM a:1\n",
        ),
        ("SecretsUsedInArgOrEnv", "FROM a:1\nARG API_KEY\n", "FROM a:1\nARG API_KEY_PUBLIC\n"),
        ("InvalidDefaultArgInFrom", "ARG V\nFROM a:$V\n", "ARG V\nFROM a:${V:-1}\n"),
        (
            "FromPlatformFlagConstDisallowed",
            "FROM --platform=linux/amd64 a:1\n",
            "FROM --platform=$BUILDPLATFORM a:1\n",
        ),
        ("ExposeProtoCasing", "FROM a:1\nEXPOSE 80/TCP\n", "FROM a:1\nEXPOSE 80/tcp\n"),
        ("ExposeInvalidFormat", "FROM a:1\nEXPOSE 1:2\n", "FROM a:1\nEXPOSE 1-2\n"),
        ("UnpinnedBaseImage", "FROM a\n", "FROM a:1\n"),
        (
            "SplitPackageUpdate",
            "FROM a:1\nRUN apt-get update\nRUN apt-get install -y b\n",
            "FROM a:1\nRUN apt-get update && apt-get install -y b\n",
        ),
        (
            "CleanupInLaterLayer",
            "FROM a:1\nRUN apk add b\nRUN rm -rf /var/cache/apk\n",
            "FROM a:1\nRUN apk add b && rm -rf /var/cache/apk\n",
        ),
        (
            "CopyAllBeforeInstall",
            "FROM a:1\nCOPY . .\nRUN npm ci\n",
            "FROM a:1\nCOPY package.json .\nRUN npm ci\nCOPY . .\n",
        ),
        ("PackageUpgrade", "FROM a:1\nRUN apt upgrade -y\n", "FROM a:1\nRUN apt install -y upgrade\n"),
    ];
    let breaks =
        |rule: &str, text: &str| found(text).iter().any(|line| line.starts_with(&format!("{rule} ")));
    for (rule, bad, good) in cases {
        assert!(breaks(rule, bad), "{rule}: {bad:?} gives {:?}", found(bad));
        assert!(!breaks(rule, good), "{rule}: {good:?} gives {:?}", found(good));
    }
    // These look at more than the file, or only when asked to; each has a test of its own.
    let elsewhere = [
        "CopyIgnoredFile",
        "MissingDockerignore",
        "InvalidDefinitionDescription",
        "InvalidBaseImagePlatform",
    ];
    let tested = |name: &str| elsewhere.contains(&name) || cases.iter().any(|(rule, ..)| *rule == name);
    assert!(RULES.iter().all(|rule| tested(rule.name)), "a rule without a test");
}

#[test]
fn names_and_case() {
    finds(
        "FROM a:1 as Base\nrun x\nFrom a:1 AS base\nFROM a:1 AS scratch\nENV a=b\n",
        &[
            "StageNameCasing 1: Stage name 'Base' should be lowercase",
            "FromAsCasing 1: 'as' and 'FROM' keywords' casing do not match",
            "ConsistentInstructionCasing 2: Command 'run' should match the case of the command majority (uppercase)",
            "ConsistentInstructionCasing 3: Command 'From' should match the case of the command majority (uppercase)",
            "DuplicateStageName 3: Duplicate stage name \"base\", stage names should be unique",
            "ReservedStageName 4: Stage name should not use the same name as reserved stage \"scratch\"",
        ],
    );
}

#[test]
fn forms() {
    finds(
        "FROM a:1\nCMD x\nENTRYPOINT y\nCMD [\"z\"]\nMAINTAINER me\nENV a b\nLABEL a  b\nENV a=b\nRUN a \\\n\n b\nWORKDIR x\nEXPOSE 80/TCP 1:2\n",
        &[
            "JSONArgsRecommended 2: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
            "MultipleInstructionsDisallowed 2: Multiple CMD instructions should not be used in the same stage because only the last one will be used",
            "JSONArgsRecommended 3: JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals",
            "MaintainerDeprecated 5: Maintainer instruction is deprecated in favor of using label",
            "LegacyKeyValueFormat 6: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
            "LegacyKeyValueFormat 7: \"LABEL key=value\" should be used instead of legacy \"LABEL key value\" format",
            "NoEmptyContinuation 10: Empty continuation line",
            "WorkdirRelativePath 12: Relative workdir \"x\" can have unexpected results if the base image changes",
            "ExposeProtoCasing 13: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
            "ExposeInvalidFormat 13: EXPOSE instruction should not define an IP address or host-port mapping, found '1:2'",
        ],
    );
    finds("FROM a:1 AS s\nSHELL [\"sh\"]\nCMD x\nFROM s\nCMD y\n", &[]);
}

#[test]
fn variables() {
    finds(
        "ARG VERSION=\nFROM a:${VERSON}\nFROM a:$VERSION\nFROM --platform=$TARGETPLATFORM a:1\nFROM --platform=linux/amd64 a:1\nFROM --platform=linux/arm64 a:1 AS for-arm64\n",
        &[
            "UndefinedArgInFrom 2: FROM argument 'VERSON' is not declared (did you mean VERSION?)",
            "InvalidDefaultArgInFrom 2: Default value for ARG a:${VERSON} results in empty or invalid base image name",
            "InvalidDefaultArgInFrom 3: Default value for ARG a:$VERSION results in empty or invalid base image name",
            "RedundantTargetPlatform 4: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
            "FromPlatformFlagConstDisallowed 5: FROM --platform flag should not use constant value \"linux/amd64\"",
        ],
    );
    finds(
        "FROM scratch\nARG token A_KEY_FILE\nENV DB_PASSWORD=x MONKEY=1\nCOPY $naem $UNKNOWN ${http_proxy} /x\nENV name=a\nCOPY $naem /x\n",
        &[
            "SecretsUsedInArgOrEnv 2: Do not use ARG or ENV instructions for sensitive data (ARG \"token\")",
            "SecretsUsedInArgOrEnv 3: Do not use ARG or ENV instructions for sensitive data (ENV \"DB_PASSWORD\")",
            "UndefinedVar 4: Usage of undefined variable '$naem'",
            "UndefinedVar 4: Usage of undefined variable '$UNKNOWN'",
            "UndefinedVar 6: Usage of undefined variable '$naem' (did you mean $name?)",
        ],
    );
}

#[test]
fn a_base_may_define_what_the_file_does_not() {
    let text = "FROM jdk:1\nENV APP_HOME=/a\nWORKDIR $JAVA_HOME\nWORKDIR $APP_HOM\n";
    finds(text, &["UndefinedVar 4: Usage of undefined variable '$APP_HOM' (did you mean $APP_HOME?)"]);
    let base_env = |_: &Stage| Some(vec!["LANG=C".to_owned()]);
    let input = LintInput { base_env: Some(&base_env), ..LintInput::default() };
    assert_eq!(found_with(text, input)[0], "UndefinedVar 3: Usage of undefined variable '$JAVA_HOME'");
    let base_env = |_: &Stage| Some(vec!["JAVA_HOME=/opt/java".to_owned()]);
    let input = LintInput { base_env: Some(&base_env), ..LintInput::default() };
    assert_eq!(found_with(text, input).len(), 1);
}

#[test]
fn a_base_for_another_platform() {
    let text = "FROM arm:1\nFROM fits\n";
    let platforms = |stage: &Stage| {
        (stage.base.text == "arm:1").then(|| ("linux/arm64".to_owned(), "linux/amd64".to_owned()))
    };
    let input = LintInput { base_platform: Some(&platforms), ..LintInput::default() };
    assert_eq!(
        found_with(text, input)[0],
        "InvalidBaseImagePlatform 1: Base image arm:1 was pulled with platform \"linux/arm64\", expected \"linux/amd64\" for current build"
    );
}

#[test]
fn what_the_context_leaves_out() {
    let text = "FROM a:1 AS b\nCOPY log/x /a\nADD ./log /b\nCOPY --from=b log /c\nCOPY src /d\nCOPY . /e\n";
    let check = |rules: &str| {
        let ignore = Ignore::parse(rules).unwrap();
        found_with(text, LintInput { ignore: Some(&ignore), ..LintInput::default() })
    };
    assert_eq!(
        check("log"),
        [
            "CopyIgnoredFile 2: Attempting to Copy file \"log/x\" that is excluded by .dockerignore",
            "CopyIgnoredFile 3: Attempting to Add file \"log\" that is excluded by .dockerignore",
        ]
    );
    assert_eq!(check("log\n!log/x"), [""; 0]);
    assert_eq!(check("**").len(), 4);
}

#[test]
fn habits() {
    let rules = |text: &str| -> Vec<String> {
        found(text).into_iter().map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(
        rules(
            "FROM ubuntu AS a\nFROM localhost:5000/x/y\nFROM u:latest\nFROM a\nFROM u@sha256:ab\nFROM scratch\nFROM u:1\n"
        ),
        ["UnpinnedBaseImage 1", "UnpinnedBaseImage 2", "UnpinnedBaseImage 3"]
    );
    assert_eq!(
        rules(
            "FROM u:1\nRUN apt-get -qq update\nRUN apt-get install -y curl\nRUN rm -rf /var/lib/apt/lists/*\n"
        ),
        ["SplitPackageUpdate 2", "CleanupInLaterLayer 4"]
    );
    assert_eq!(
        rules(
            "FROM u:1\nRUN <<EOF\nsudo apt-get update\nDEBIAN_FRONTEND=x apt-get -o A=b install curl\nEOF\n"
        ),
        [""; 0]
    );
    assert_eq!(rules("FROM n:1\nCOPY . .\nRUN npm install && npm run build\n"), ["CopyAllBeforeInstall 2"]);
    assert_eq!(rules("FROM n:1\nCOPY . .\nRUN npm run build\n"), [""; 0]);
    assert_eq!(
        rules("FROM u:1\nRUN [\"/bin/sh\", \"-c\", \"apt-get update; apt-get dist-upgrade -y\"]\n"),
        ["PackageUpgrade 2"]
    );
    assert_eq!(rules("FROM u:1\nRUN echo apt-get upgrade # apt-get upgrade\n"), [""; 0]);
}

#[test]
fn check_options() {
    finds("# check=skip=MaintainerDeprecated,StageNameCasing\nFROM a:1 AS X\nMAINTAINER me\n", &[]);
    finds("# check=skip=all\nFROM a AS X\nMAINTAINER me\n", &[]);
    finds(
        "FROM a:1\n# check=skip=MaintainerDeprecated\nMAINTAINER me\nMAINTAINER you\n",
        &["MaintainerDeprecated 4: Maintainer instruction is deprecated in favor of using label"],
    );
    let described = "FROM a:1 AS b\n# something\nARG x\n# y is y\nARG y\n";
    finds(described, &[]);
    finds(
        &format!("# check=experimental=all\n{described}"),
        &["InvalidDefinitionDescription 4: Comment for ARG should follow the format: `# x <description>`"],
    );
    assert_eq!(
        CheckOptions::parse(" skip=A, B ; error=true;experimental=all").unwrap(),
        CheckOptions {
            skip: Choice::Named(vec!["A".to_owned(), "B".to_owned()]),
            experimental: Choice::All,
            error: true
        }
    );
    let error = |text: &str| CheckOptions::parse(text).unwrap_err().to_string();
    assert_eq!(error("skip"), "invalid check option \"skip\"");
    assert_eq!(error("warn=x"), "invalid check option \"warn\"");
    assert_eq!(error("error=x"), "failed to parse check option \"error=x\"");
}

#[test]
fn only_rules_of_buildkit_fail_a_build() {
    let lint_of = |text: &str| lint(&parse(text).unwrap());
    assert_eq!(violation(&lint_of("FROM a\n")), None);
    assert_eq!(
        violation(&lint_of("FROM a AS X\nMAINTAINER me\nMAINTAINER you\n")).unwrap(),
        "lint violation found for rules: MaintainerDeprecated, StageNameCasing"
    );
}

#[test]
fn rules_have_names_of_their_own() {
    let mut names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), RULES.len());
    assert!(RULES.iter().all(|rule| !rule.description.is_empty()));
}

/// The correction for the only warning about a file.
#[track_caller]
fn corrects(text: &str, rule: &str, wanted: &str) {
    let file = parse(text).unwrap();
    let unwanted = [".git".to_owned()];
    let warnings = lint_with(&file, LintInput { unfiltered: Some(&unwanted), ..LintInput::default() });
    let warning = warnings.iter().find(|warning| warning.rule == rule).expect(rule);
    assert_eq!(correction(&file, warning).as_deref(), Some(wanted), "{text}");
}

#[test]
fn corrected_lines_of_our_own_rules() {
    corrects("FROM python\n", "UnpinnedBaseImage", "FROM python:<version>\n");
    corrects("FROM a/b:latest AS x\n", "UnpinnedBaseImage", "FROM a/b:<version> AS x\n");
    corrects(
        "FROM a:1\nRUN apt-get update\nRUN apt-get install -y curl\n",
        "SplitPackageUpdate",
        "RUN apt-get update \\\n && apt-get install -y curl \\\n && rm -rf /var/lib/apt/lists/*\n",
    );
    corrects(
        "FROM a:1\nRUN apt-get update && apt-get install -y curl\nRUN rm -rf /var/lib/apt/lists/*\n",
        "CleanupInLaterLayer",
        "RUN apt-get update && apt-get install -y curl \\\n && rm -rf /var/lib/apt/lists/*\n",
    );
    corrects(
        "FROM a:1\nWORKDIR /app\nCOPY . .\nRUN pip3 install -r requirements.txt\n",
        "CopyAllBeforeInstall",
        "COPY requirements.txt ./\nRUN pip3 install -r requirements.txt\nCOPY . .\n",
    );
    corrects(
        "FROM a:1\nCOPY . /src\nRUN npm ci\n",
        "CopyAllBeforeInstall",
        "COPY package.json package-lock.json /src/\nRUN npm ci\nCOPY . /src\n",
    );
    corrects(
        "FROM a:1\nRUN apt-get update && apt-get upgrade -y && apt-get install -y git\n",
        "PackageUpgrade",
        "RUN apt-get update \\\n && apt-get install -y git\n",
    );
    corrects(
        "FROM a:1\nRUN apt update && apt upgrade -y\n",
        "PackageUpgrade",
        "(leave this RUN out, and name a newer base image in FROM)\n",
    );
    corrects(
        "FROM a:1\nCOPY . .\n",
        "MissingDockerignore",
        "# .dockerignore\n.git\n.env\nnode_modules\n**/__pycache__\n*.log\nDockerfile\n",
    );
}

#[test]
fn corrected_lines_of_buildkits_rules() {
    corrects(
        "FROM a:1\nMAINTAINER me\n",
        "MaintainerDeprecated",
        "LABEL org.opencontainers.image.authors=\"me\"\n",
    );
    corrects("FROM a:1\nENV a b c\n", "LegacyKeyValueFormat", "ENV a=\"b c\"\n");
    corrects("FROM a:1\nCMD python app.py\n", "JSONArgsRecommended", "CMD [\"python\", \"app.py\"]\n");
    corrects(
        "FROM a:1\nCMD echo $HOME\n",
        "JSONArgsRecommended",
        "CMD [\"/bin/sh\", \"-c\", \"exec echo $HOME\"]\n",
    );
    corrects("FROM a:1 as Base\n", "StageNameCasing", "FROM a:1 AS base\n");
}

#[test]
fn a_context_without_dockerignore() {
    let unwanted = [".git".to_owned(), "node_modules".to_owned()];
    let input = LintInput { unfiltered: Some(&unwanted), ..LintInput::default() };
    let wanted = "MissingDockerignore 2: There is no .dockerignore: this copies .git, node_modules";
    assert_eq!(found_with("FROM a:1\nCOPY . .\nADD . /x\n", input), [wanted]);
    assert_eq!(found_with("FROM a:1\nCOPY app .\nCOPY --from=x . .\n", input), [""; 0]);
}
