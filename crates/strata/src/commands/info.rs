//! `info`, `system info`.

use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::emit;
use crate::render::template::{Mode, Template};
use clap::Args;
use serde_json::json;
use strata_engine::system::Info as Report;

/// Show information about this installation.
#[derive(Args, Debug)]
pub(crate) struct Info {
    /// A Go template, or json
    #[arg(short, long)]
    format: Option<String>,
}

impl Info {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let info = global.look()?.info()?;
        match self.format.as_deref() {
            None => emit(&text(&info))?,
            Some("json") => emit(&format!("{}\n", document(&info)))?,
            Some(format) => {
                let template = Template::parse(format)
                    .map_err(|error| Failure::with_code(format!("template parsing error: {error}"), 64))?;
                emit(&(template.execute(&document(&info), Mode::Document).map_err(Failure::new)? + "\n"))?;
            }
        }
        for warning in &info.warnings {
            eprintln!("WARNING: {warning}");
        }
        Ok(0)
    }
}

fn text(info: &Report) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let (running, stopped) = info.containers;
    let lines = [
        "Client:".to_owned(),
        format!(" Version:    {version}"),
        String::new(),
        "Server:".to_owned(),
        format!(" Containers: {}", running + stopped),
        format!("  Running: {running}"),
        "  Paused: 0".to_owned(),
        format!("  Stopped: {stopped}"),
        format!(" Images: {}", info.images),
        format!(" Server Version: {version}"),
        " Storage Driver: overlay2".to_owned(),
        format!("  Backing Filesystem: {}", info.backing_filesystem),
        format!("  Layers: {} ({})", info.layer_mode.0, info.layer_mode.1),
        " Logging Driver: json-file".to_owned(),
        format!(" Cgroup Version: {}", info.cgroup_version),
        format!(" Kernel Version: {}", info.kernel),
        format!(" Operating System: {}", info.os),
        " OSType: linux".to_owned(),
        format!(" Architecture: {}", info.architecture),
        format!(" CPUs: {}", info.cpus),
        format!(" Total Memory: {}", binary_size(info.memory)),
        format!(" Name: {}", info.name),
        format!(" Docker Root Dir: {}", info.root.display()),
    ];
    lines.join("\n") + "\n"
}

/// `23.54GiB`, as Docker prints memory.
fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value >= 100.0 {
        1
    } else if value >= 10.0 {
        2
    } else {
        3
    };
    let text = format!("{value:.digits$}");
    format!("{}{}", text.trim_end_matches('0').trim_end_matches('.'), UNITS[unit])
}

fn document(info: &Report) -> serde_json::Value {
    let (running, stopped) = info.containers;
    json!({
        "Containers": running + stopped,
        "ContainersRunning": running,
        "ContainersPaused": 0,
        "ContainersStopped": stopped,
        "Images": info.images,
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", info.backing_filesystem], ["Layers", info.layer_mode.0]],
        "LoggingDriver": "json-file",
        "CgroupVersion": info.cgroup_version,
        "KernelVersion": info.kernel,
        "OperatingSystem": info.os,
        "OSType": "linux",
        "Architecture": info.architecture,
        "NCPU": info.cpus,
        "MemTotal": info.memory,
        "DockerRootDir": info.root.display().to_string(),
        "Name": info.name,
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Warnings": info.warnings,
    })
}
