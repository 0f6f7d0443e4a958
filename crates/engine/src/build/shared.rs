//! The build cache that machines share: read at the start of a build, written after it. The formats and places are
//! `strata-cache`'s; here they meet the store and the solver.

mod content;
mod export;
mod import;
pub(super) mod inline;
mod known;
mod mounts;
mod watch;

pub(super) use import::Shared;
pub(super) use known::Known;
pub(super) use mounts::ID_FILE;
pub(super) use watch::Watching;

use super::{BuildRequest, Event, EventSink, StepId, StepInfo};
use crate::{Engine, EngineError};
use std::sync::Arc;
use std::time::Instant;
use strata_cache::{Form, LocalPlace, Location, Place, RegistryPlace};
use strata_dockerfile::Span;
use strata_oci::Platform;

impl Engine {
    /// Whether the destinations of a build can be opened at all: somebody who has no keys learns it before the build, not
    /// after it. Nothing is asked of them.
    ///
    /// # Errors
    /// [`EngineError::CacheExport`] of the first that cannot, and whose failure is not to be ignored.
    pub fn check_cache(&self, request: &BuildRequest) -> Result<(), EngineError> {
        for destination in request.cache_to.iter().filter(|destination| !destination.ignore_error) {
            let Some(location) = &destination.location else { continue };
            if let Err(error) = self.cache_place(location, &request.options.platform, destination.form) {
                return Err(EngineError::CacheExport {
                    to: destination.text.clone(),
                    source: Box::new(error),
                });
            }
        }
        Ok(())
    }

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
            Location::Local(directory) => Arc::new(LocalPlace::new(directory.clone(), form)),
            Location::S3(keys) => {
                let place = self.object_stores().place(keys);
                Arc::new(place.map_err(|error| EngineError::Invalid(error.to_string()))?)
            }
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
