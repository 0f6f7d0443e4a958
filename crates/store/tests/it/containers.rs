//! Containers.
use crate::support::{TestStore, names};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use strata_store::{ContainerState, NewContainer, NewVolume, ProcessId, StoreError};

fn named(name: &str) -> NewContainer {
    NewContainer { name: Some(name.to_owned()), ..NewContainer::default() }
}

fn running(process: ProcessId, watcher: Option<ProcessId>) -> ContainerState {
    ContainerState::Running { process, watcher, started: Timestamp::now(), paused: false }
}

#[test]
fn create_look_up_rename_remove() {
    let store = TestStore::new();
    let containers = store.containers();
    let one = containers.create(NewContainer { config: "{\"a\":1}".to_owned(), ..named("/web") }).unwrap();
    assert_eq!((one.name.as_str(), one.config.as_str(), one.id.len()), ("web", "{\"a\":1}", 64));
    assert_eq!(names(&one.directory), ["merged", "upper", "work"]);
    for text in ["web", "/web", &one.id, one.short_id(), &one.id[..3]] {
        assert_eq!(containers.lookup(text).unwrap(), one, "{text}");
    }
    assert_eq!(containers.lookup("nosuch").unwrap_err().to_string(), "No such container: nosuch");
    let clash = containers.create(named("web")).unwrap_err().to_string();
    assert!(clash.starts_with(&format!(
        "Conflict. The container name \"/web\" is already in use by container \"{}\"",
        one.id
    )));
    assert_eq!(
        containers.create(named("-bad")).unwrap_err().to_string(),
        "Invalid container name (-bad), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    );
    assert_eq!(
        names(&store.root().join("containers")),
        std::slice::from_ref(&one.id),
        "failed creations leave nothing"
    );
    containers.rename(&one.id, "site").unwrap();
    containers.update(&one.id, Some("{}"), None).unwrap();
    assert_eq!(containers.lookup("site").unwrap().config, "{}");
    containers.remove(&one.id, false).unwrap();
    assert!(matches!(containers.lookup("site"), Err(StoreError::NoSuchContainer(_))));
    assert_eq!(names(&store.root().join("containers")), [""; 0]);
}

#[test]
fn a_name_that_looks_like_a_prefix_wins_and_prefixes_may_clash() {
    let store = TestStore::new();
    let mut ids: Vec<String> =
        (0..17).map(|_| store.containers().create(NewContainer::default()).unwrap().id).collect();
    ids.sort();
    let pair = ids.windows(2).find(|pair| pair[0][..1] == pair[1][..1]).unwrap();
    let error = store.containers().lookup(&pair[0][..1]).unwrap_err().to_string();
    assert_eq!(error, format!("multiple IDs found with provided prefix: {}", &pair[0][..1]));
    let name = &pair[0][..2];
    let owner = store.containers().create(named(name)).unwrap();
    assert_eq!(store.containers().lookup(name).unwrap().id, owner.id);
    let mut all: Vec<String> = store.containers().list().unwrap().into_iter().map(|c| c.name).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 18, "random names are unique");
}

#[test]
fn containers_whose_process_is_gone_are_exited() {
    let store = TestStore::new();
    let mut child = Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().unwrap();
    let process = ProcessId::of(child.id()).unwrap();
    assert!(process.is_alive());
    let ids: Vec<String> = ["alone", "watched", "reused", "rebooted", "live"]
        .map(|name| store.containers().create(named(name)).unwrap().id)
        .into();
    let me = ProcessId::current().unwrap();
    let reused = ProcessId { start_time: me.start_time + 1, ..me.clone() };
    let rebooted = ProcessId { boot_id: "another".to_owned(), ..me.clone() };
    let states = [
        running(process.clone(), None),
        running(process.clone(), Some(me.clone())),
        running(reused, None),
        running(rebooted, None),
        running(me, None),
    ];
    for (id, state) in ids.iter().zip(&states) {
        store.containers().set_state(id, state).unwrap();
    }
    assert!(matches!(store.containers().remove(&ids[0], false), Err(StoreError::ContainerRunning(_))));
    child.kill().unwrap();
    child.wait().unwrap();
    let store = store.reopen();
    let mut swept = store.swept().containers.clone();
    swept.sort();
    let mut expected = vec![ids[0].clone(), ids[2].clone(), ids[3].clone()];
    expected.sort();
    assert_eq!(swept, expected);
    let alive = store.containers().list_alive().unwrap().into_iter().map(|container| container.id);
    assert_eq!(alive.collect::<BTreeSet<_>>(), BTreeSet::from([ids[1].clone(), ids[4].clone()]));
    let state = |id: &str| store.containers().lookup(id).unwrap().state;
    assert!(matches!(state(&ids[0]), ContainerState::Exited { code: 255, started: Some(_), .. }));
    assert_eq!((state(&ids[1]), state(&ids[4])), (states[1].clone(), states[4].clone()));
}

#[test]
fn anonymous_volumes_go_with_their_last_container() {
    let store = TestStore::new();
    let anonymous = store.volumes().create(NewVolume::default()).unwrap().0.name;
    let kept = NewVolume { name: Some("data".to_owned()), ..NewVolume::default() };
    let kept = store.volumes().create(kept).unwrap().0.name;
    let volumes = vec![anonymous.clone(), kept.clone()];
    let new = |name: &str| NewContainer { volumes: volumes.clone(), ..named(name) };
    let [a, b] = ["aa", "bb"].map(|name| store.containers().create(new(name)).unwrap().id);
    let in_use = store.volumes().remove("data").unwrap_err();
    assert!(
        matches!(&in_use, StoreError::VolumeInUse { containers, .. } if containers.len() == 2),
        "{in_use}"
    );
    store.containers().remove(&a, true).unwrap();
    assert_eq!(store.volumes().list().unwrap().len(), 2);
    store.containers().remove(&b, true).unwrap();
    assert_eq!(store.volumes().list().unwrap().into_iter().map(|v| v.name).collect::<Vec<_>>(), ["data"]);
    assert_eq!(names(&store.root().join("volumes")), ["data"]);
    let unknown = NewContainer { volumes: vec!["gone".to_owned()], ..named("cc") };
    assert!(matches!(store.containers().create(unknown), Err(StoreError::NoSuchVolume(_))));
}
