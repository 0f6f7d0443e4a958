//! The build cache that machines share: read at the start of a build, written after it. The formats and places are
//! `strata-cache`'s; here they meet the store and the solver.

mod content;
mod export;
mod import;
pub(super) mod inline;
mod known;
mod watch;

pub(super) use import::Shared;
pub(super) use known::Known;
pub(super) use watch::Watching;

use super::{Event, EventSink, StepId, StepInfo};
use crate::{Engine, EngineError};
use std::sync::Arc;
use std::time::Instant;
use strata_cache::{Form, LocalPlace, Location, Place, RegistryPlace};
use strata_dockerfile::Span;
use strata_oci::Platform;

impl Engine {
    /// Where a cache is, opened as far as nothing has to be asked for it.
    fn cache_place(
        &self,
        location: &Location,
        platform: &Platform,
        form: Form,
    ) -> Result<Arc<dyn Place>, EngineError> {
        Ok(match location {
            Location::Registry(reference) | Location::Image(reference) => Arc::new(RegistryPlace::new(
                self.registries().clone(),
                reference.clone(),
                platform.clone(),
                form,
            )),
            Location::Local(directory) => {
                Arc::new(LocalPlace::new(directory.clone(), platform.clone(), form))
            }
            Location::S3(_) => return Err(EngineError::Invalid("type=s3 is not supported yet".to_owned())),
        })
    }
}

/// Something that a build does besides its steps, told like one.
struct Aside<'a> {
    events: &'a dyn EventSink,
    id: StepId,
    began: Instant,
}

impl<'a> Aside<'a> {
    /// `number` is the aside's among those of a build.
    fn begin(events: &'a dyn EventSink, number: usize, name: String) -> Self {
        let id = StepId(usize::MAX - number);
        let span = Span { start: 0, end: 0 };
        let instruction = name.clone();
        let info = StepInfo { id, stage: String::new(), name, instruction, layered: true, span };
        events.event(Event::Aside(&info));
        events.event(Event::Started(id));
        Self { events, id, began: Instant::now() }
    }

    fn line(&self, text: &str) {
        self.events.event(Event::Output(self.id, super::Stream::Stderr, format!("{text}\n").as_bytes()));
    }

    fn end(self, well: bool) {
        let time = self.began.elapsed();
        self.events.event(if well { Event::Done(self.id, time) } else { Event::Failed(self.id, time) });
    }
}
