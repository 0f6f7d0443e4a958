//! rmi and prune.
use crate::support::{TestStore, config, reference};
use jiff::Timestamp;
use strata_oci::{ChainId, Digest, ImageId};
use strata_store::{
    ContainerState, LabelFilter, NewContainer, Origin, ProcessId, Prune, RemoveConflict, RemoveOptions,
    Removed, StoreError, Used,
};

const PLAIN: RemoveOptions = RemoveOptions { force: false, keep_parents: false };
const FORCE: RemoveOptions = RemoveOptions { force: true, keep_parents: false };

fn untagged(name: &str) -> Removed {
    Removed::Untagged(name.to_owned())
}

fn conflict(result: Result<Vec<Removed>, StoreError>) -> RemoveConflict {
    match result {
        Err(StoreError::RemoveConflict(conflict)) => conflict,
        other => panic!("expected a conflict, got {other:?}"),
    }
}

fn tagged(store: &TestStore, content: &str, tags: &[&str]) -> ImageId {
    let id = store.image(&[content]);
    for tag in tags {
        store.images().tag(&reference(tag), &id).unwrap();
    }
    id
}

fn container(store: &TestStore, image: ImageId) -> String {
    let layers = store.images().get(&image).unwrap().unwrap().layers;
    let new = NewContainer { image: Some(image), layers, ..NewContainer::default() };
    store.containers().create(new).unwrap().id
}

fn run(store: &TestStore, id: &str) {
    let process = ProcessId::current().unwrap();
    let started = Timestamp::now();
    let running = ContainerState::Running { process, watcher: None, started, paused: false };
    store.containers().set_state(id, &running).unwrap();
}

#[test]
fn one_of_several_names_only_goes_itself() {
    let store = TestStore::new();
    let id = tagged(&store, "x", &["app:1", "app:2"]);
    assert_eq!(store.images().remove("app:1", PLAIN).unwrap(), [untagged("app:1")]);
    let layer = store.images().get(&id).unwrap().unwrap().layers[0];
    let chain = ChainId::of(&[layer]).unwrap();
    let report = store.images().remove("app:2", PLAIN).unwrap();
    assert_eq!(report, [untagged("app:2"), Removed::Image { id, layers: vec![(chain, layer)] }]);
    assert_eq!(store.gc().layers, [layer]);
    assert_eq!(store.recorded_usage().unwrap(), 0);
}

#[test]
fn by_id_all_names_of_one_repository_go_and_several_need_force() {
    let store = TestStore::new();
    let id = tagged(&store, "x", &["app:1"]);
    let (repository, digest) = ("docker.io/library/app".to_owned(), Digest::of(b"m"));
    store.images().remember_origin(&id, &Origin { repository, digest, manifest: digest }).unwrap();
    let report = store.images().remove(&id.short(), PLAIN).unwrap();
    assert_eq!(report[..2], [untagged("app:1"), untagged(&format!("app@{}", Digest::of(b"m")))]);

    let id = tagged(&store, "x", &["app:1", "other:1"]);
    let refused = conflict(store.images().remove(&id.short(), PLAIN));
    assert_eq!(refused, RemoveConflict::Image { image: id, used: Used::Names });
    let text = format!(
        "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
        id.short()
    );
    assert_eq!(refused.to_string(), text);
    assert_eq!(store.images().remove(&id.short(), FORCE).unwrap().len(), 3);
}

#[test]
fn containers_are_in_the_way() {
    let store = TestStore::new();
    let id = tagged(&store, "x", &["app"]);
    let user = container(&store, id);
    let refused = conflict(store.images().remove("app", PLAIN)).to_string();
    let expected = format!(
        "conflict: unable to remove repository reference \"app\" (must force) - container {} is using its referenced image {}",
        &user[..12],
        id.short()
    );
    assert_eq!(refused, expected);
    let refused = conflict(store.images().remove(&id.hex(), PLAIN)).to_string();
    assert!(
        refused.ends_with(&format!(
            "(must be forced) - image is being used by stopped container {}",
            &user[..12]
        ))
    );

    run(&store, &user);
    let refused = conflict(store.images().remove(&id.hex(), FORCE)).to_string();
    assert!(refused.ends_with(&format!(
        "(cannot be forced) - image is being used by running container {}",
        &user[..12]
    )));
    // By name, forced: the name goes, the image stays for the container.
    assert_eq!(store.images().remove("app", FORCE).unwrap(), [untagged("app:latest")]);
    assert!(store.images().contains(&id).unwrap());

    let exited = ContainerState::Exited {
        code: 0,
        oom_killed: false,
        error: String::new(),
        started: None,
        finished: Timestamp::now(),
    };
    store.containers().set_state(&user, &exited).unwrap();
    assert_eq!(store.images().remove(&id.hex(), FORCE).unwrap(), [Removed::Image { id, layers: vec![] }]);
    assert_eq!(store.gc().layers, [], "the container keeps its layers");
    store.containers().remove(&user, false).unwrap();
    assert_eq!(store.gc().layers.len(), 1);
}

#[test]
fn untagged_parents_go_with_the_last_child() {
    let store = TestStore::new();
    let parent = store.image(&["base"]);
    let layers = store.images().get(&parent).unwrap().unwrap().layers;
    let child = store.images().put(&config(&layers, "child"), Some(&parent)).unwrap();
    store.images().tag(&reference("app"), &child).unwrap();
    assert!(store.images().get(&parent).unwrap().unwrap().has_children);
    let refused = conflict(store.images().remove(&parent.hex(), FORCE));
    assert_eq!(refused, RemoveConflict::Image { image: parent, used: Used::Children });

    let report = store.images().remove("app", PLAIN).unwrap();
    let ids: Vec<_> = report
        .iter()
        .filter_map(|line| match line {
            Removed::Image { id, .. } => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(ids, [child, parent]);

    let parent = store.image(&["base"]);
    let child = store.images().put(&config(&layers, "child"), Some(&parent)).unwrap();
    let keep = RemoveOptions { keep_parents: true, ..PLAIN };
    assert_eq!(store.images().remove(&child.hex(), keep).unwrap().len(), 1);
    assert!(store.images().contains(&parent).unwrap());
}

#[test]
fn prune_takes_dangling_or_all_unused() {
    let store = TestStore::new();
    let used = tagged(&store, "used", &["used"]);
    let named = tagged(&store, "named", &["named"]);
    let dangling = store.image(&["dangling"]);
    container(&store, used);
    let ids = |report: Vec<Removed>| -> Vec<ImageId> {
        report
            .iter()
            .filter_map(|line| match line {
                Removed::Image { id, .. } => Some(*id),
                _ => None,
            })
            .collect()
    };
    let label = LabelFilter { key: "keep".to_owned(), value: None, negated: false };
    let none = Prune { labels: vec![label.clone()], ..Prune::default() };
    assert_eq!(ids(store.images().prune(&none).unwrap()), []);
    let opposite = Prune { labels: vec![LabelFilter { negated: true, ..label }], ..Prune::default() };
    assert_eq!(ids(store.images().prune(&opposite).unwrap()), [dangling]);
    let recent = Prune { all: true, unused_since: Some(Timestamp::UNIX_EPOCH), ..Prune::default() };
    assert_eq!(ids(store.images().prune(&recent).unwrap()), []);
    assert_eq!(ids(store.images().prune(&Prune { all: true, ..Prune::default() }).unwrap()), [named]);
    assert!(store.images().contains(&used).unwrap());
}
