//! `--progress=rawjson`: what BuildKit's clients send each other, one document a line.

use super::progress::Style;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;
use strata_engine::build::{BuildReport, StepId, StepInfo, Stream};
use strata_oci::Digest;

#[derive(Default)]
pub(super) struct RawJson {
    started: HashMap<StepId, Timestamp>,
}

fn emit(document: &Value) {
    let _ = writeln!(std::io::stderr().lock(), "{document}");
}

/// Names a step: equal steps of equal plans have equal names.
fn digest(step: &StepInfo) -> String {
    Digest::of(format!("{} {} {}", step.id.0, step.stage, step.name).as_bytes()).to_string()
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
