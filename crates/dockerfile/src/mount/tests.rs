use super::*;

fn mount(text: &str) -> Mount {
    Mount::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    Mount::parse(text).expect_err(text).to_string()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn bind_is_the_default() {
    let bind = Mount { read_only: true, target: some("/x"), ..Mount::default() };
    assert_eq!(mount("target=/x"), bind);
    for text in ["type=bind,dst=/x", "TYPE=Bind,destination=/x,ro", "dst=/x,readonly=true", "dst=/x,rw=0"] {
        assert_eq!(mount(text), bind, "{text}");
    }
    let writable = Mount { read_only: false, from: some("b"), source: some("s"), ..bind };
    assert_eq!(mount("from=b,src=s,dst=/x,rw"), writable);
    assert_eq!(mount("from=b,source=s,dst=/x,ro=false"), writable);
    assert_eq!(mount("from=b,source=s,dst=/x,readwrite"), writable);
}

#[test]
fn cache() {
    let cache = mount("type=cache,id=i,target=/c,sharing=LOCKED,mode=0700,uid=1,gid=2,from=b,source=s");
    let wanted = Mount {
        kind: MountKind::Cache,
        id: some("i"),
        target: some("/c"),
        sharing: Some(Sharing::Locked),
        mode: Some(0o700),
        uid: Some(1),
        gid: Some(2),
        from: some("b"),
        source: some("s"),
        ..Mount::default()
    };
    assert_eq!(cache, wanted);
    assert!(mount("type=cache,target=/c,ro").read_only);
    assert_eq!(mount("type=cache,target=/c,sharing=private").sharing, Some(Sharing::Private));
}

#[test]
fn tmpfs_secret_ssh() {
    let tmpfs = mount("type=tmpfs,target=/t,size=128m");
    assert_eq!((tmpfs.kind, tmpfs.size, tmpfs.read_only), (MountKind::Tmpfs, Some(128 << 20), false));
    let secret = mount("type=secret,id=s,required,env=TOKEN,mode=400,uid=5");
    assert_eq!((secret.id, secret.required, secret.env), (some("s"), true, some("TOKEN")));
    assert_eq!((secret.mode, secret.uid, secret.read_only), (Some(0o400), Some(5), true));
    assert_eq!(mount("type=secret,src=s,env=").env, some(""));
    assert!(mount("type=ssh,required=true").required);
    assert_eq!(mount("type=ssh").kind, MountKind::Ssh);
}

#[test]
fn values_with_commas_are_quoted() {
    assert_eq!(mount("\"target=/a,b\",\"source=a\"\"b\"").target, some("/a,b"));
    assert_eq!(mount("\"target=/a,b\",\"source=a\"\"b\"").source, some("a\"b"));
}

#[test]
fn refusals() {
    for (text, wanted) in [
        ("typ=tmpfs", "unexpected key 'typ' in 'typ=tmpfs' (did you mean type?)"),
        ("type=cache,target=/x,colour=red", "unexpected key 'colour' in 'colour=red'"),
        ("type=tmp", "unsupported mount type \"tmp\" (did you mean tmpfs?)"),
        ("type=volume", "unsupported mount type \"volume\""),
        ("type=cahe", "unsupported mount type \"cahe\" (did you mean cache?)"),
        ("type=cache,sharing=lock", "unsupported sharing value \"lock\" (did you mean locked?)"),
        ("target", "invalid field 'target' must be a key=value pair"),
        ("", "invalid field '' must be a key=value pair"),
        ("ro=maybe", "invalid value for ro: maybe"),
        ("type=tmpfs,size=big", "invalid value for size: big"),
        ("size=1,type=tmpfs", "unexpected key 'size' for mount type 'bind'"),
        ("required,type=secret,id=x", "unexpected key 'required' for mount type 'bind'"),
        ("type=cache,required=true", "unexpected key 'required' for mount type 'cache'"),
        ("type=cache,mode=9", "invalid value 9 for mode"),
        ("type=cache,uid=-1", "invalid value -1 for uid"),
        ("type=cache,gid=x", "invalid value x for gid"),
        ("mode=0700,target=/x", "mode not allowed for \"bind\" type mounts"),
        ("type=tmpfs,uid=1", "uid not allowed for \"tmpfs\" type mounts"),
        ("type=secret,id=x,from=y", "secret mount should not have a from"),
        ("type=secret,id=x,sharing=shared", "secret mount should not define sharing"),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,id=x,src=y", "both source and id can't be set"),
        ("type=ssh,sharing=shared", "invalid cache sharing set for ssh mount"),
        ("target=/x,\"a", "failed to parse csv mounts: extraneous or missing \" in quoted-field"),
        ("target=/x\"", "failed to parse csv mounts: bare \" in non-quoted-field"),
    ] {
        assert_eq!(error(text), wanted, "{text}");
    }
}

#[test]
fn expansion() {
    let env = |name: &str| (name == "T").then(|| "/a,b".to_owned());
    let expand = |value: &str| crate::expand(value, '\\', &env).map(|expanded| expanded.text);
    // A comma in a value does not part options: the list is read first.
    assert_eq!(Mount::parse_with("type=cache,target=$T", &expand).unwrap().target, some("/a,b"));
    let failed = Mount::parse_with("target=${T:=x}", &expand).unwrap_err();
    assert_eq!(
        failed.to_string(),
        "failed to process \"${T:=x}\": unsupported modifier (:=) in substitution"
    );
    assert_eq!(Mount::check("type=$X,target=$T,nonsense"), Ok(()));
    assert_eq!(Mount::check("from=$X"), Err(MountError::FromExpansion));
    assert_eq!(Mount::check("from=x$"), Ok(()));
}

#[test]
fn devices() {
    let device = |text: &str| Device::parse(text).map(|d| (d.name, d.required)).map_err(|e| e.to_string());
    assert_eq!(device("v.com/gpu=all"), Ok(("v.com/gpu=all".to_owned(), false)));
    assert_eq!(device("v.com/gpu,required"), Ok(("v.com/gpu".to_owned(), true)));
    assert_eq!(device("name=g,required=false"), Ok(("g".to_owned(), false)));
    assert_eq!(device("name=g,name=h"), Err("device name already set to g".to_owned()));
    assert_eq!(device("g,nam=h"), Err("unexpected key 'nam' in 'nam=h' (did you mean name?)".to_owned()));
}

#[test]
fn sizes() {
    for (text, bytes) in
        [("0", 0), ("32", 32), ("1k", 1024), ("1.5KiB", 1536), ("2 mb", 2 << 20), ("1G", 1 << 30), ("1b", 1)]
    {
        assert_eq!(ram_in_bytes(text), Some(bytes), "{text}");
    }
    for text in ["", "m", "-1", "1x", "1mm", "1.2.3", "1  k", ".5m"] {
        assert_eq!(ram_in_bytes(text), None, "{text}");
    }
}
