//! `--progress=rawjson`: what BuildKit's clients send each other, one document a line.

use super::progress::Style;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;
use strata_engine::build::{BuildReport, FetchState, Fetching, StepId, StepInfo, Stream};
use strata_oci::Digest;

#[derive(Default)]
pub(super) struct RawJson {
    started: HashMap<StepId, Timestamp>,
    /// When the first layer of an image, and when each layer, began to come.
    fetches: HashMap<String, Timestamp>,
}

fn emit(document: &Value) {
    let _ = writeln!(std::io::stderr().lock(), "{document}");
}

/// Names a step: equal steps of equal plans have equal names.
fn digest(step: &StepInfo) -> String {
    Digest::of(format!("{} {} {}", step.id.0, step.stage, step.name).as_bytes()).to_string()
}

fn fetch_vertex(image: &str, started: Timestamp) -> Value {
    let name = format!("fetch {image}");
    json!({
        "digest": Digest::of(name.as_bytes()).to_string(),
        "name": name,
        "started": started.to_string(),
    })
}

impl RawJson {
    fn vertex(&self, step: &StepInfo, more: Value) {
        let mut vertex = json!({ "digest": digest(step), "name": step.name });
        if let Some(started) = self.started.get(&step.id) {
            vertex["started"] = json!(started.to_string());
        }
        if let (Some(vertex), Value::Object(more)) = (vertex.as_object_mut(), more) {
            vertex.extend(more);
        }
        emit(&json!({ "vertexes": [vertex] }));
    }
}

impl Style for RawJson {
    fn planned(&mut self, steps: &[StepInfo]) {
        steps.iter().filter(|step| step.layered).for_each(|step| self.vertex(step, json!({})));
    }

    fn started(&mut self, step: &StepInfo) {
        self.started.insert(step.id, Timestamp::now());
        self.vertex(step, json!({}));
    }

    fn cached(&mut self, step: &StepInfo) {
        let now = Timestamp::now();
        self.started.insert(step.id, now);
        self.vertex(step, json!({ "completed": now.to_string(), "cached": true }));
    }

    fn missed(&mut self, step: &StepInfo, reason: &str) {
        emit(&json!({ "warnings": [{
            "vertex": digest(step),
            "level": 0,
            "short": BASE64_STANDARD.encode(format!("not cached: {reason}")),
        }] }));
    }

    fn output(&mut self, step: &StepInfo, stream: Stream, text: &[u8]) {
        let stream = match stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        };
        emit(&json!({ "logs": [{
            "vertex": digest(step),
            "stream": stream,
            "data": BASE64_STANDARD.encode(text),
            "timestamp": Timestamp::now().to_string(),
        }] }));
    }

    fn done(&mut self, step: &StepInfo, _: Duration) {
        self.vertex(step, json!({ "completed": Timestamp::now().to_string() }));
    }

    fn failed(&mut self, step: &StepInfo, _: Duration) {
        let failed = json!({ "completed": Timestamp::now().to_string(), "error": "the step failed" });
        self.vertex(step, failed);
    }

    fn stopped(&mut self, step: &StepInfo, _: Duration) {
        let stopped = json!({ "completed": Timestamp::now().to_string(), "error": "canceled" });
        self.vertex(step, stopped);
    }

    fn warning(&mut self, message: &str, _: Option<usize>) {
        emit(&json!({ "warnings": [{ "level": 1, "short": BASE64_STANDARD.encode(message) }] }));
    }

    fn fetching(&mut self, fetching: &Fetching<'_>) {
        let Fetching { image, layer, state } = *fetching;
        let now = Timestamp::now();
        if !self.fetches.contains_key(image) {
            self.fetches.insert(image.to_owned(), now);
            emit(&json!({ "vertexes": [fetch_vertex(image, now)] }));
        }
        let (current, total) = match state {
            FetchState::Downloading { done, total } => (done, total),
            FetchState::Downloaded | FetchState::Unpacking | FetchState::Waiting => return,
            FetchState::Done => (0, 0),
        };
        let started = *self.fetches.entry(format!("{image} {layer}")).or_insert(now);
        let mut status = json!({
            "id": layer,
            "vertex": fetch_vertex(image, now)["digest"],
            "name": layer,
            "current": current,
            "total": total,
            "timestamp": now.to_string(),
            "started": started.to_string(),
        });
        if state == FetchState::Done {
            status["completed"] = json!(now.to_string());
        }
        emit(&json!({ "statuses": [status] }));
    }

    fn fetched(&mut self, image: &str, _: Duration) {
        let now = Timestamp::now();
        let mut vertex = fetch_vertex(image, self.fetches.remove(image).unwrap_or(now));
        vertex["completed"] = json!(now.to_string());
        emit(&json!({ "vertexes": [vertex] }));
    }

    fn finished(&mut self, report: &BuildReport) {
        let name = format!("exporting to image {}", report.id);
        let now = Timestamp::now().to_string();
        emit(&json!({ "vertexes": [{
            "digest": Digest::of(name.as_bytes()).to_string(),
            "name": name,
            "started": now,
            "completed": now,
        }] }));
    }
}
