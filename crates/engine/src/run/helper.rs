//! The helper of a detached container: this binary again, in the background, with nothing but the container to watch.
use crate::{Engine, EngineError, EngineOptions, LayerMode};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use strata_runtime::helper::{HelperError, Ready, become_helper, spawn_helper};
use strata_store::{Access, ContainerRecord, ProcessId};

/// First argument of a helper; no command has this name.
const NAME: &str = "container-helper";

/// What a helper is told.
#[derive(Serialize, Deserialize)]
struct Task {
    id: String,
    root: PathBuf,
    run_dir: PathBuf,
    layer_mode: Option<LayerMode>,
}

/// Starts the container in a helper; returns when its program runs.
pub(super) fn start_detached(engine: &Engine, container: &ContainerRecord) -> Result<(), EngineError> {
    let options = engine.options();
    let task = Task {
        id: container.id.clone(),
        root: options.root.clone(),
        run_dir: options.run_dir.clone(),
        layer_mode: options.layer_mode,
    };
    let task =
        serde_json::to_vec(&task).expect("paths of a store are UTF-8 by now, and nothing else can fail");
    match spawn_helper(&[NAME], &task) {
        Ok(_) => Ok(()),
        Err(HelperError::Failed { message, exit_code }) => {
            Err(EngineError::Start { message, code: u8::try_from(exit_code).unwrap_or(125) })
        }
        Err(error) => Err(engine.not_started(container, EngineError::runtime(error))),
    }
}

/// The hook every program that uses the engine calls first: when this process was started as one of the
/// engine's helpers it does that job and gives the exit code; otherwise `None`.
pub fn helper_main() -> Option<u8> {
    if std::env::args_os().nth(1).is_none_or(|argument| argument != NAME) {
        return None;
    }
    let Ok((task, ready)) = become_helper() else { return Some(125) };
    Some(match watch(&task, ready) {
        Ok(()) => 0,
        // Nobody listens any more; the store has what can be known.
        Err(_) => 1,
    })
}

fn watch(task: &[u8], ready: Ready) -> Result<(), EngineError> {
    let (engine, container, started) = match start(task) {
        Ok(started) => started,
        Err(error) => {
            let code = i32::from(error.exit_code().unwrap_or(125));
            ready.fail(code, &error.to_string()).map_err(EngineError::runtime)?;
            return Err(error);
        }
    };
    // The container runs whether or not its starter still waits.
    let _ = ready.succeed(&container.id);
    engine.supervise(&container, started, None)?;
    Ok(())
}

fn start(task: &[u8]) -> Result<(Engine, ContainerRecord, super::start::Started), EngineError> {
    let task: Task = serde_json::from_slice(task)
        .map_err(|error| EngineError::Invalid(format!("helper task: {error}")))?;
    let engine = Engine::open(EngineOptions {
        root: task.root,
        run_dir: task.run_dir,
        layer_mode: task.layer_mode,
        access: Access::Look,
    })?;
    let container = engine.store().containers().lookup(&task.id)?;
    let started = engine.start(&container, ProcessId::current());
    match started {
        Ok(started) => Ok((engine, container, started)),
        Err(error) => Err(engine.not_started(&container, error)),
    }
}
