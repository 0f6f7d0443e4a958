//! Registries that want to know who asks.
use crate::images::{Image, config, noise, send};
use strata_oci::Reference;
use strata_registry::{Config, Credential, Credentials, Error, Mount, Registries, Repository, Secret};
use strata_testbed::{Guard, REFRESH, Registry, Setup, TokenServer, USER};

fn with(credentials: Credentials) -> Registries {
    Registries::new(Config { credentials, ..config().0 })
}

fn tester(host: &str) -> Credentials {
    Credentials::none().with(host, Credential::password(USER.0, USER.1))
}

#[test]
fn a_password_with_every_request() {
    let Some(registry) = Registry::with(&Setup { guard: Guard::Password, ..Setup::default() }) else {
        return;
    };
    let host = registry.host();
    let repository = Repository::new(&host, "a");
    let image = Image::new("a");
    image.push(&with(tester(&host)), &repository, "t").unwrap();
    let reference: Reference = format!("{host}/a:t").parse().unwrap();
    with(tester(&host)).resolve(&reference).unwrap();

    let wrong = Credentials::none().with(&host, Credential::password(USER.0, "hunter2"));
    for registries in [with(Credentials::none()), with(wrong)] {
        let error = registries.resolve(&reference).unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
        assert!(error.to_string().ends_with(&format!("; log in with `strata login {host}`")), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"));
        assert!(matches!(send(&registries, &repository, b"x"), Err(Error::Unauthorized { .. })));
    }
}

#[test]
fn tokens_are_fetched_once_for_each_repository() {
    let Some(tokens) = TokenServer::start(300) else { return };
    let Some(registry) = Registry::with(&Setup { guard: tokens.guard(), ..Setup::default() }) else { return };
    let host = registry.host();
    let registries = with(tester(&host));
    let repository = Repository::new(&host, "team/app");
    let image = Image::new("a");
    image.push(&registries, &repository, "t").unwrap();
    registries.resolve(&format!("{host}/team/app:t").parse().unwrap()).unwrap();
    let scopes: Vec<Vec<String>> = tokens.seen().iter().map(|request| request.values("scope")).collect();
    assert_eq!(scopes, [["repository:team/app:pull,push"]], "the token to push does for pulling");
    assert_eq!(tokens.seen()[0].values("service"), ["a test"]);
    assert_eq!(tokens.seen()[0].values("account"), [USER.0]);

    image.push(&registries, &Repository::new(&host, "team/other"), "t").unwrap();
    assert_eq!(tokens.seen().len(), 2);
}

#[test]
fn strangers_pull_what_is_public_and_are_told_about_the_rest() {
    let Some(tokens) = TokenServer::start(300) else { return };
    let Some(registry) = Registry::with(&Setup { guard: tokens.guard(), ..Setup::default() }) else { return };
    let host = registry.host();
    let image = Image::new("a");
    for path in ["public/a", "private/a"] {
        image.push(&with(tester(&host)), &Repository::new(&host, path), "t").unwrap();
    }
    let stranger = with(Credentials::none());
    stranger.resolve(&format!("{host}/public/a:t").parse().unwrap()).unwrap();
    let error = stranger.resolve(&format!("{host}/private/a:t").parse().unwrap()).unwrap_err();
    let start = format!(
        "pull access denied for {host}/private/a, repository does not exist or may require `strata login {host}`: "
    );
    assert!(error.to_string().starts_with(&start), "{error}");
    let error = send(&stranger, &Repository::new(&host, "public/a"), b"x").unwrap_err();
    assert!(error.to_string().starts_with(&format!("push access to {host}/public/a denied: ")), "{error}");
    assert!(!registry.log().contains("panic"));
}

#[test]
fn a_token_that_ran_out_is_replaced() {
    // Good for a second: the registry allows a minute more, so each request is made to fetch its own by our margin.
    let Some(tokens) = TokenServer::start(1) else { return };
    let Some(registry) = Registry::with(&Setup { guard: tokens.guard(), ..Setup::default() }) else { return };
    let host = registry.host();
    let registries = with(tester(&host));
    let repository = Repository::new(&host, "a");
    send(&registries, &repository, b"one").unwrap();
    let before = tokens.seen().len();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    send(&registries, &repository, b"two").unwrap();
    assert!(tokens.seen().len() > before);
}

#[test]
fn a_mount_asks_for_both_repositories() {
    let Some(tokens) = TokenServer::start(300) else { return };
    let Some(registry) = Registry::with(&Setup { guard: tokens.guard(), ..Setup::default() }) else { return };
    let host = registry.host();
    let registries = with(tester(&host));
    let bytes = noise(1, 10_000);
    let digest = send(&registries, &Repository::new(&host, "private/base"), &bytes).unwrap();
    let app = Repository::new(&host, "private/app");
    assert!(matches!(registries.mount(&app, &digest, "private/base").unwrap(), Mount::Mounted));
    let last = tokens.seen().pop().unwrap().values("scope");
    assert_eq!(last, ["repository:private/app:pull,push", "repository:private/base:pull"]);
}

#[test]
fn an_identity_token_is_posted_and_wrong_passwords_are_refused() {
    let Some(tokens) = TokenServer::start(300) else { return };
    let Some(registry) = Registry::with(&Setup { guard: tokens.guard(), ..Setup::default() }) else { return };
    let host = registry.host();
    let identity = |token: &str| {
        let token = Secret::new(token);
        with(Credentials::none().with(&host, Credential::Identity { username: None, token }))
    };
    send(&identity(REFRESH), &Repository::new(&host, "a"), b"x").unwrap();
    assert_eq!(tokens.seen().pop().unwrap().method, "POST");
    let error = send(&identity("stolen"), &Repository::new(&host, "a"), b"x").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{host}: unauthorized: refresh token is not valid; log in with `strata login {host}`")
    );
}

#[test]
fn logins_are_checked_and_give_identity_tokens() {
    let Some(tokens) = TokenServer::start(300) else { return };
    let Some(guarded) = Registry::with(&Setup { guard: tokens.guard(), ..Setup::default() }) else { return };
    let Some(simple) = Registry::with(&Setup { guard: Guard::Password, ..Setup::default() }) else { return };
    let Some(open) = Registry::start() else { return };
    let registries = with(Credentials::none());
    let (good, bad) = (Credential::password(USER.0, USER.1), Credential::password(USER.0, "wrong"));

    let kept = registries.check_login(&guarded.host(), &good).unwrap();
    assert_eq!(kept, Credential::Identity { username: Some(USER.0.to_owned()), token: Secret::new(REFRESH) });
    assert_eq!(registries.check_login(&simple.host(), &good).unwrap(), good);
    assert_eq!(registries.check_login(&open.host(), &bad).unwrap(), bad, "it lets everybody in");
    for host in [guarded.host(), simple.host()] {
        let error = registries.check_login(&host, &bad).unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    }
}

#[test]
fn many_threads_fetch_one_token() {
    let Some(tokens) = TokenServer::start(300) else { return };
    let Some(registry) = Registry::with(&Setup { guard: tokens.guard(), ..Setup::default() }) else { return };
    let registries = with(tester(&registry.host()));
    let repository = Repository::new(registry.host(), "a");
    std::thread::scope(|scope| {
        for seed in 0..6 {
            let (registries, repository) = (&registries, &repository);
            scope.spawn(move || send(registries, repository, &noise(seed, 1000)).unwrap());
        }
    });
    assert_eq!(tokens.seen().len(), 1);
}
