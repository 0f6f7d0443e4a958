//! `version`.

use crate::failure::{Failure, Outcome};
use crate::output::emit;
use crate::render::template::{Mode, Template};
use clap::Args;
use serde_json::json;
use strata_oci::Platform;

/// Show the version.
#[derive(Args, Debug)]
pub(crate) struct Version {
    /// A Go template, or json
    #[arg(short, long)]
    format: Option<String>,
}

impl Version {
    pub(crate) fn run(self) -> Outcome {
        let platform = Platform::host();
        let version = env!("CARGO_PKG_VERSION");
        // One program is both; scripts ask for either.
        let part = json!({ "Version": version, "Os": platform.os, "Arch": platform.architecture });
        let document = json!({ "Client": part, "Server": part });
        let text = match self.format.as_deref() {
            None => format!(
                "strata {version}\n OS/Arch:  {platform}\n License:  {}\n No daemon: client and engine are one program.\n",
                env!("CARGO_PKG_LICENSE")
            ),
            Some("json") => document.to_string() + "\n",
            Some(format) => {
                let template = Template::parse(format)
                    .map_err(|error| Failure::with_code(format!("template parsing error: {error}"), 64))?;
                template.execute(&document, Mode::Document).map_err(Failure::new)? + "\n"
            }
        };
        emit(&text)?;
        Ok(0)
    }
}
