//! `build`.

mod call;
mod check;
mod classic;
mod credentials;
mod entitlements;
mod excerpt;
mod explain;
mod on_error;
mod outline;
mod outputs;
mod plain;
mod progress;
mod raw_json;
mod request;
mod resources;
mod shared_cache;
mod terminal;

use super::arguments::exactly;
use super::interrupts::Interrupts;
use super::transfer::Display;
use crate::failure::{Failure, Outcome, with_causes};
use crate::global::Global;
use crate::output::emit;
use clap::Args;
use explain::{Account, Accountant, Format};
use on_error::{OnError, announce_shell, failure};
use progress::{Mode, Progress};
use request::{Dockerfile, Request};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use strata_engine::Engine;
use strata_engine::build::{BuildError, BuildReport, BuildRequest, Dockerfile as Parsed, Event};

/// Build an image from a Dockerfile.
#[derive(Args, Debug)]
pub(crate) struct Build {
    /// Dockerfile; - for standard input, or a URL [default: PATH/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// Name of the image, as name:tag; may be repeated
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<String>,
    /// Set an ARG; a bare NAME takes the value from here
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Stage to build
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Run every step again
    #[arg(long)]
    no_cache: bool,
    /// Run every step of these stages again
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    no_cache_filter: Vec<String>,
    /// Print only the image ID
    #[arg(short, long)]
    quiet: bool,
    /// Write the image ID to a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Network of RUN steps: default, host or none
    #[arg(long, value_name = "MODE", default_value = "default")]
    network: String,
    /// Output: auto, tty, plain, classic, rawjson, quiet or none
    #[arg(long, value_name = "STYLE", env = "BUILDKIT_PROGRESS", default_value = "auto")]
    progress: String,
    /// Add a label to the image
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Platform of the image
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Give RUN --mount=type=secret a secret: id=NAME[,src=FILE|,env=VARIABLE]
    #[arg(long, value_name = "SECRET")]
    secret: Vec<String>,
    /// Give RUN --mount=type=ssh and git an agent: default, or ID=SOCKET or ID=KEY[,KEY]
    #[arg(long, value_name = "AGENT")]
    ssh: Vec<String>,
    /// A further context: NAME=DIRECTORY, docker-image://IMAGE, oci-layout://DIRECTORY[:TAG], or the URL of a file or git repository
    #[arg(long, value_name = "NAME=VALUE")]
    build_context: Vec<String>,
    /// Let RUN steps ask for more than the sandbox: network.host, security.insecure or device[=NAME[,alias=OTHER]]
    #[arg(long, value_name = "ENTITLEMENT")]
    allow: Vec<String>,
    /// Add a line to /etc/hosts of RUN steps
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<String>,
    /// Size of /dev/shm of RUN steps
    #[arg(long, value_name = "BYTES")]
    shm_size: Option<String>,
    /// Resource limit of RUN steps: NAME=SOFT[:HARD]
    #[arg(long, value_name = "LIMIT")]
    ulimit: Vec<String>,
    /// Most steps at once
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Ask registries what the names of base images mean now, also of those that are here
    #[arg(long)]
    pull: bool,
    /// Send the image to the registry of its names
    #[arg(long)]
    push: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true, default_value = "true", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    rm: String,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    force_rm: bool,
    /// Provenance attestation: only false
    #[arg(long, hide = true, num_args = 0..=1, default_value = "false", default_missing_value = "true", require_equals = true)]
    provenance: String,
    /// Bill of materials: only false
    #[arg(long, hide = true, num_args = 0..=1, default_value = "false", default_missing_value = "true", require_equals = true)]
    sbom: String,
    #[command(flatten)]
    resources: resources::ResourceFlags,
    #[command(flatten)]
    outputs: outputs::OutputFlags,
    #[command(flatten)]
    call: call::CallFlags,
    #[command(flatten)]
    explain: explain::ExplainFlags,
    #[command(flatten)]
    on_error: on_error::OnErrorFlags,
    #[command(flatten)]
    cache: shared_cache::CacheFlags,
    /// PATH | URL | -
    #[arg(value_name = "PATH | URL | -")]
    context: Vec<String>,
}

impl Build {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        exactly(&self.context, 1)?;
        strata_engine::prepare_process(false)?;
        let mode = if self.quiet { Mode::Quiet } else { Mode::choose(&self.progress)? };
        let (call, format) = (self.call.call()?, self.explain.format()?);
        let (outputs, on_error) = (self.outputs.parse(self.push)?, self.on_error.parse()?);
        let interrupts = Interrupts::default();
        let cancel = &*interrupts.cancel;
        // A signal that comes while something is fetched ends that tidily; one that comes while standard input is
        // waited for ends the program.
        let fetches = self.fetches();
        if fetches {
            interrupts.catch(None)?;
        }
        let signalled = |failure: Failure| interrupts.blame(failure);
        let Request { mut request, dockerfile } = self.request(mode, global, cancel).map_err(signalled)?;
        outputs.check(&request)?;
        outputs.prepare(&mut request)?;
        let parsed = match strata_engine::build::parse(&dockerfile.text) {
            Ok(parsed) => parsed,
            Err(error) => return Err(failure(&error, &dockerfile, None, OnError::Fail, global)),
        };
        let engine = global.engine()?;
        if let Some(call) = call {
            return call.answer(&engine, &request, &parsed, &dockerfile);
        }
        if !fetches {
            interrupts.catch(None)?;
        }
        if self.explain.dry_run {
            return dry_run(&engine, &request, &parsed, &dockerfile, cancel, format, global);
        }
        engine.check_cache(&request).map_err(|error| request::bad(with_causes(&error)))?;
        let progress = Progress::start(mode, &dockerfile);
        let accountant = Accountant::new(&progress);
        let shell = |error: &BuildError| announce_shell(error, &dockerfile, progress.close());
        let shell = (on_error == OnError::Shell).then_some(&shell as &dyn Fn(&BuildError));
        let outcome = engine.open_contexts(&request).and_then(|contexts| {
            progress.context(&contexts);
            engine.build_or_debug(&request, &contexts, &parsed, &accountant, cancel, shell)
        });
        let account = accountant.account();
        let summary = progress.finish(&outcome);
        if let Some(format) = format {
            show(&account, &dockerfile, format, outputs.takes_stdout())?;
        }
        if matches!(mode, Mode::Plain | Mode::Terminal) {
            check::remind(account.findings(), &dockerfile);
        }
        match outcome {
            Ok(report) => {
                let tell = |text: &str| {
                    if mode != Mode::Quiet {
                        let _ = writeln!(std::io::stderr(), "{text}");
                    }
                };
                let display = if mode == Mode::Quiet { Display::silent() } else { Display::stderr() };
                let told = Told { tell: &tell, display: &display, cancel };
                let report =
                    write(&engine, &outputs, &mut request, &parsed, report, &told).map_err(signalled)?;
                let exported = engine.export_cache(&report, &request.cache_to, &progress, cancel);
                exported.map_err(|error| signalled(request::bad(with_causes(&error))))?;
                if let Some(path) = &self.iidfile {
                    fs_err::write(path, report.id.to_string())?;
                }
                if mode == Mode::Quiet && request.keep_image {
                    emit(&format!("{}\n", report.id))?;
                }
                Ok(0)
            }
            Err(error) => Err(signalled(failure(&error, &dockerfile, summary, on_error, global))),
        }
    }
}

/// To whom the end of a build is told, and who may stop it.
struct Told<'a> {
    tell: &'a (dyn Fn(&str) + Sync),
    display: &'a Display,
    cancel: &'a AtomicBool,
}

/// Writes all outputs. Where a push fails for want of a layer that was to be passed on from a shared cache, the image is
/// built once more with all layers here, which makes that one anew; what was run is in the cache.
fn write(
    engine: &Engine,
    outputs: &outputs::Outputs,
    request: &mut BuildRequest,
    parsed: &Parsed,
    report: BuildReport,
    Told { tell, display, cancel }: &Told<'_>,
) -> Result<BuildReport, Failure> {
    let Err(failure) = outputs.write(engine, request, &report, tell, display, cancel) else {
        return Ok(report);
    };
    let may = !request.needs_layers && !cancel.load(Ordering::SeqCst);
    let Some(lost) = may.then(|| engine.lost_layer(&report)).flatten() else { return Err(failure) };
    tell(&format!("WARNING: --cache-from: {lost}; building again"));
    request.needs_layers = true;
    let warnings = |event: Event<'_>| {
        if let Event::Warning { message, .. } = event {
            tell(&format!("WARNING: {message}"));
        }
    };
    let again = engine.open_contexts(request);
    let again = again.and_then(|contexts| engine.build(request, &contexts, parsed, &warnings, cancel));
    let report = again.map_err(|error| request::bad(with_causes(&error)))?;
    outputs.write(engine, request, &report, tell, display, cancel)?;
    Ok(report)
}

/// Looks everything up, runs nothing.
fn dry_run(
    engine: &Engine,
    request: &BuildRequest,
    parsed: &Parsed,
    dockerfile: &Dockerfile,
    cancel: &AtomicBool,
    format: Option<Format>,
    global: &Global,
) -> Outcome {
    let silent = |_: Event<'_>| {};
    let accountant = Accountant::new(&silent);
    let forecasts = engine.dry_run(request, parsed, &accountant, cancel);
    let forecasts = forecasts.map_err(|error| failure(&error, dockerfile, None, OnError::Fail, global))?;
    show(&accountant.forecast(forecasts), dockerfile, format.unwrap_or(Format::Text), false)?;
    Ok(0)
}

/// On standard output, unless an export goes there.
fn show(
    account: &Account,
    dockerfile: &Dockerfile,
    format: Format,
    stdout_taken: bool,
) -> Result<(), Failure> {
    let text = match format {
        Format::Text => account.text(explain::colours(&std::io::stdout())),
        Format::Json => {
            let text = serde_json::to_string_pretty(&account.json(dockerfile)).map_err(Failure::new)?;
            format!("{text}\n")
        }
    };
    if stdout_taken { Ok(std::io::stderr().lock().write_all(text.as_bytes())?) } else { emit(&text) }
}
