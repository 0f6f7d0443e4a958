//! Layers that the cache offers and that are gone when they are needed: the build goes on without them.
use crate::fake::World;

const CHAIN: &str = "FROM conform-base:1\nRUN random /one\nRUN random /two\nRUN random /three\n";

/// A world in which [`CHAIN`] was built, and the layer of one of its steps is gone.
fn without(step: usize) -> World {
    let mut world = World::default();
    let layer = world.build(CHAIN).built().made[step].diff_id;
    // Made again it is another one: random files never come twice.
    world.elsewhere.lock().unwrap().insert(layer);
    world
}

#[test]
fn a_lost_layer_is_made_again_with_what_stands_on_it() {
    for (step, ran) in [(0, 3), (1, 2), (2, 1)] {
        let mut world = without(step);
        let outcome = world.build(CHAIN);
        let made = &outcome.built().made;
        assert!(!world.elsewhere.lock().unwrap().contains(&made[step].diff_id));
        assert_eq!(outcome.ran().len(), ran, "{:?}", outcome.log);
        // It is in the cache again.
        assert_eq!(world.build(CHAIN).ran(), Vec::<&str>::new());
    }
}

#[test]
fn a_step_that_needs_it_begins_once_more() {
    let mut world = without(0);
    let outcome = world.build(&format!("{CHAIN}RUN cat /one /copy\n"));
    assert_eq!(
        outcome.ran(),
        ["exec random /one", "exec random /two", "exec random /three", "exec cat /one /copy"]
    );
    assert_eq!(outcome.text("/one"), outcome.text("/copy"));
    // Told as cached once, and then as run; nothing has failed.
    let told = |what: &str| outcome.events.iter().filter(|event| event.starts_with(what)).count();
    assert_eq!((told("failed"), told("cached [2/4]") + told("cached [2/5]")), (0, 1), "{:?}", outcome.events);
}

#[test]
fn nothing_that_another_stage_did_is_done_again() {
    let mut world = without(1);
    let dockerfile = format!(
        "FROM conform-base:1 AS other\nRUN random /slow\n{CHAIN}RUN put /four 4\nCOPY --from=other /slow /slow\n"
    );
    let outcome = world.build(&dockerfile);
    outcome.built();
    let slow = outcome.ran().into_iter().filter(|call| *call == "exec random /slow").count();
    assert_eq!(slow, 1, "{:?}", outcome.log);
}
