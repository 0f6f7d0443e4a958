use super::*;

fn refused(text: &str, parsed: Result<impl Sized, SpecError>) -> String {
    parsed.err().unwrap_or_else(|| panic!("{text} is refused")).to_string()
}

#[test]
fn sources_are_read() {
    let location = |text: &str| Source::parse(text).expect(text).remove(0).location;
    let registry = |name: &str| Location::Registry(name.parse().expect(name));
    assert_eq!(location("app:1"), Location::Image("app:1".parse().expect("a name")));
    assert_eq!(location("type=registry,ref=localhost:5000/a:1"), registry("localhost:5000/a:1"));
    assert_eq!(location("ref=app"), registry("app"));
    assert_eq!(Source::parse("a:1,b:2").expect("two names").len(), 2);
    let Location::Local(directory) = location("type=local,\"src=/a,b\",tag=t") else { panic!("a directory") };
    assert_eq!((directory.path.to_str(), directory.tag.as_str()), (Some("/a,b"), "t"));
    let Location::S3(keys) = location("type=s3,bucket=b,secret_access_key=hush") else { panic!("a bucket") };
    assert_eq!(keys["bucket"], "b");
    let source = Source::parse("type=s3,bucket=b,secret_access_key=hush").expect("a bucket").remove(0);
    assert_eq!(source.text, "type=s3,bucket=b");
}

#[test]
fn destinations_are_read() {
    let parse = |text: &str| Destination::parse(text).expect(text).remove(0);
    let full = parse(
        "type=registry,ref=a/b:c,mode=max,compression=zstd,compression-level=9,force-compression=1,ignore-error=true,image-manifest=false",
    );
    assert!(full.max && full.force && full.ignore_error);
    assert_eq!((full.compression.as_deref(), full.level), (Some("zstd"), Some(9)));
    assert_eq!(full.form, Form { manifest: false, oci: true });
    assert_eq!(parse("a:1").form, Form::default());
    assert!(!parse("a:1").max);
    assert_eq!(parse("type=inline").location, None);
    assert_eq!(parse("type=registry,ref=a,oci-mediatypes=false").form, Form { manifest: false, oci: false });
    let Some(Location::Local(directory)) = parse("type=local,dest=d,reset=true").location else {
        panic!("a directory")
    };
    assert!(directory.reset);
    assert_eq!(directory.tag, "latest");
    let s3 = parse("type=s3,bucket=b,mode=max,name=x");
    assert!(s3.max);
    let Some(Location::S3(keys)) = s3.location else { panic!("a bucket") };
    assert_eq!(keys.keys().collect::<Vec<_>>(), ["bucket", "name"]);
}

#[test]
fn what_is_wrong_is_said() {
    for (text, why) in [
        ("", "it is empty"),
        (",", "it is empty"),
        ("UPPER", "invalid name \"UPPER\""),
        ("type=registry", "ref=NAME is missing"),
        ("type=local", "src=DIRECTORY is missing"),
        ("type=local,src=a,dest=b", "unknown key \"dest\""),
        ("type=local,src=a,digest=x", "digest=x"),
        ("type=gha", "use type=registry with ghcr.io"),
        ("type=azblob,name=x", "type \"azblob\" is not supported"),
        ("type=bogus", "unknown type \"bogus\": use registry, local, inline or s3"),
        ("type=inline", "name the image"),
        ("type=registry,ref=a,mode=max", "unknown key \"mode\""),
        ("mode=max", "type is missing"),
        ("type=registry,a:1", "invalid value a:1: expected key=value"),
        ("type=registry,\"ref=a", "a quote is not closed"),
        ("type=registry,\"ref=a\"b", "something follows a closing quote"),
    ] {
        let said = refused(text, Source::parse(text));
        assert!(said.contains(why), "{text}: {said}");
    }
    for (text, why) in [
        ("type=inline,mode=max", "use type=registry"),
        ("type=registry,ref=a,mode=all", "mode=all: use min or max"),
        ("type=registry,ref=a,compression=estargz", "read, but not written"),
        ("type=registry,ref=a,compression=lz4", "use gzip, zstd or uncompressed"),
        ("type=registry,ref=a,compression-level=x", "not a number"),
        ("type=registry,ref=a,ignore-error=perhaps", "use true or false"),
        ("type=registry,ref=a,oci-mediatypes=false,image-manifest=true", "needs oci-mediatypes=true"),
        ("type=local", "dest=DIRECTORY is missing"),
        ("type=registry,ref=a,bogus=1", "unknown key \"bogus\""),
    ] {
        let said = refused(text, Destination::parse(text));
        assert!(said.contains(why), "{text}: {said}");
    }
}

#[test]
fn cache_mounts_are_chosen() {
    let mounts = |text: &str| Source::parse(text).expect(text).remove(0).mounts;
    assert_eq!(mounts("app"), Mounts::None);
    assert_eq!(mounts("type=local,src=d,mounts=false"), Mounts::None);
    assert!(mounts("type=local,src=d,mounts=true").include("any"));
    let some = mounts("type=s3,bucket=b,mounts=/root/.cache;go");
    assert!(some.include("go") && some.include("/root/.cache") && !some.include("g"));
    assert!(Destination::parse("ref=a,mounts=go").expect("a name")[0].mounts.include("go"));
    for text in ["ref=a,mounts=a;;b", "type=inline,mounts=true"] {
        assert!(refused(text, Destination::parse(text)).contains("cache mounts"), "{text}");
    }
}
