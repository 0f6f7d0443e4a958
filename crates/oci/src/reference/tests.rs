use super::{Reference, ReferenceError};
use proptest::prelude::*;

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn parse(text: &str) -> Reference {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    text.parse::<Reference>().expect_err(text).to_string()
}

#[test]
fn short_names_are_completed() {
    for (text, full, familiar) in [
        ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("index.docker.io/me/app:v1", "docker.io/me/app:v1", "me/app:v1"),
        ("me/app", "docker.io/me/app:latest", "me/app:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/a/b", "localhost:5000/a/b:latest", "localhost:5000/a/b:latest"),
        ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
        ("Host/app", "Host/app:latest", "Host/app:latest"),
        ("docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest"),
        ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("x/a__b--c.d", "docker.io/x/a__b--c.d:latest", "x/a__b--c.d:latest"),
    ] {
        let reference = parse(text);
        assert_eq!(reference.to_string(), full, "{text}");
        assert_eq!(reference.familiar(), familiar, "{text}");
    }
}

#[test]
fn a_digest_replaces_the_default_tag_but_not_a_given_one() {
    let bare = parse(&format!("busybox@sha256:{HEX}"));
    assert_eq!(bare.tag(), None);
    assert_eq!(bare.digest().expect("digest").hex(), HEX);
    assert_eq!(bare.familiar(), format!("busybox@sha256:{HEX}"));
    let both = parse(&format!("r.example:5000/busybox:1@sha256:{HEX}"));
    assert_eq!(both.tag(), Some("1"));
    assert_eq!(both.to_string(), format!("r.example:5000/busybox:1@sha256:{HEX}"));
}

#[test]
fn refusals_are_dockers_sentences() {
    let format = "invalid reference format";
    for text in
        ["", ":", "a:b:c", "a//b", "/a", "a/", "-a", "a-", "a_-b/c", "a:", "a:-x", "a b", "a@x", "a...b/c"]
    {
        assert_eq!(refused(text), format, "{text:?}");
    }
    assert_eq!(refused("conform-base:1:2"), format);
    assert_eq!(refused(&format!("a:{}", "t".repeat(129))), format);
    assert_eq!(
        refused("Busybox"),
        "invalid reference format: repository name (library/Busybox) must be lowercase"
    );
    assert_eq!(refused("UPPER/Case:x"), "invalid reference format: repository name (Case) must be lowercase");
    assert_eq!(
        refused(HEX),
        format!("invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings")
    );
    assert_eq!(refused(&format!("a@sha512:{HEX}{HEX}")), "unsupported digest algorithm");
    assert_eq!(refused(&format!("a@sha256:{}", &HEX[1..])), "invalid checksum digest length");
    assert_eq!(
        refused("a/".repeat(130).trim_end_matches('/')),
        "repository name must not be more than 255 characters"
    );
}

#[test]
fn sixty_four_digits_are_a_name_only_with_a_repository_or_tag() {
    assert!(matches!(HEX.parse::<Reference>(), Err(ReferenceError::Identifier(_))));
    assert_eq!(parse(&format!("x/{HEX}")).path(), format!("x/{HEX}"));
    assert_eq!(parse(&format!("{HEX}:t")).tag(), Some("t"));
}

proptest! {
    #[test]
    fn what_is_accepted_survives_printing(
        domain in prop::option::of("[a-z0-9]{1,8}(-[a-z0-9]{1,3})?\\.[a-zA-Z]{1,5}(:[0-9]{1,5})?"),
        path in prop::collection::vec("[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}", 1..4),
        tag in prop::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
        digest in prop::option::of(any::<[u8; 32]>()),
    ) {
        let mut text = domain.map_or("me/".to_owned(), |d| d + "/") + &path.join("/");
        if let Some(tag) = &tag { text.push_str(&format!(":{tag}")); }
        if let Some(bytes) = digest { text.push_str(&format!("@{}", crate::Digest::from_bytes(bytes))); }
        prop_assume!(text.len() < 200 && text != HEX);
        let reference: Reference = text.parse().expect("made by the grammar");
        prop_assert_eq!(reference.to_string().parse::<Reference>().expect("full"), reference.clone());
        prop_assert_eq!(reference.familiar().parse::<Reference>().expect("familiar"), reference);
    }

    #[test]
    fn any_text_is_answered_without_a_panic(text in "\\PC{0,40}") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string().parse::<Reference>().expect("printed"), reference);
        }
    }
}
