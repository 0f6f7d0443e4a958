//! Questions that are asked of a Dockerfile instead of building it: `--check`, `--call`.

use super::request::Dockerfile;
use super::{check, outline};
use crate::failure::{Failure, Outcome};
use clap::Args;
use strata_engine::Engine;
use strata_engine::build::{BuildRequest, Dockerfile as Parsed};

#[derive(Args, Debug)]
pub(super) struct CallFlags {
    /// Look for mistakes and bad habits instead of building (short for --call=check)
    #[arg(long)]
    check: bool,
    /// What to do with the Dockerfile: build, check, outline or targets; with ,format=json for machines
    #[arg(long, value_name = "METHOD", default_value = "build")]
    call: String,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Check,
    Outline,
    Targets,
}

/// A question and the form of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    method: Method,
    json: bool,
}

impl CallFlags {
    /// `None`: build.
    pub(super) fn call(&self) -> Result<Option<Call>, Failure> {
        let bad = |message: String| Failure::flag(message);
        let (mut name, mut json) = (None, false);
        for field in self.call.split(',') {
            match field.strip_prefix("format=").unwrap_or(field) {
                "json" => json = true,
                "text" => json = false,
                method if name.is_none() => name = Some(method),
                other => {
                    return Err(bad(format!(
                        "invalid value {other:?} for --call: use METHOD or METHOD,format=json"
                    )));
                }
            }
        }
        let method = match (name, self.check) {
            (None | Some("build"), true) | (Some("check" | "lint"), _) => Method::Check,
            (None | Some("build"), false) => return Ok(None),
            (Some(other), true) => {
                return Err(bad(format!("--check and --call={other} ask for different things")));
            }
            (Some("outline"), _) => Method::Outline,
            (Some("targets"), _) => Method::Targets,
            (Some(other), _) => {
                return Err(bad(format!(
                    "unknown method {other:?} for --call: use build, check, outline or targets"
                )));
            }
        };
        Ok(Some(Call { method, json }))
    }
}

impl Call {
    pub(super) fn answer(
        self,
        engine: &Engine,
        request: &BuildRequest,
        parsed: &Parsed,
        dockerfile: &Dockerfile,
    ) -> Outcome {
        match self.method {
            Method::Check => check::answer(&engine.check(request, parsed)?, dockerfile, self.json),
            Method::Outline => outline::outline(request, parsed, dockerfile, self.json),
            Method::Targets => outline::targets(parsed, dockerfile, self.json),
        }
    }
}

/// BuildKit's way of naming lines of a source.
pub(super) fn location(dockerfile: &Dockerfile, span: strata_engine::build::Span) -> serde_json::Value {
    let line =
        |offset| serde_json::json!({ "line": strata_engine::build::position(&dockerfile.text, offset).0 });
    serde_json::json!({ "ranges": [{ "start": line(span.start), "end": line(span.end.saturating_sub(1).max(span.start)) }] })
}
