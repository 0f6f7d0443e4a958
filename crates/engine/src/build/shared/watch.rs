//! Listens to a build for what a shared cache did not have.
use super::super::{Event, EventSink, StepId};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Passes events on, and remembers the first step that ran.
pub(in super::super) struct Watching<'a> {
    events: &'a dyn EventSink,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    names: BTreeMap<StepId, String>,
    ran: Option<StepId>,
    reason: Option<String>,
}

impl<'a> Watching<'a> {
    pub(in super::super) fn new(events: &'a dyn EventSink) -> Self {
        Self { events, seen: Mutex::default() }
    }

    /// The first step that ran, and why as far as that is known.
    pub(super) fn first_run(&self) -> Option<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let name = seen.names.get(&seen.ran?)?;
        Some(match &seen.reason {
            Some(reason) => format!("{name}: {reason}"),
            None => format!("{name} is not among them"),
        })
    }
}

impl EventSink for Watching<'_> {
    fn event(&self, event: Event<'_>) {
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            match &event {
                Event::Planned(steps) => {
                    seen.names.extend(steps.iter().map(|step| (step.id, step.name.clone())));
                }
                Event::Started(id) if seen.names.contains_key(id) => {
                    seen.ran.get_or_insert(*id);
                }
                Event::Missed(id, reason) if seen.ran == Some(*id) => {
                    seen.reason = Some(reason.summary.clone());
                }
                _ => {}
            }
        }
        self.events.event(event);
    }
}
