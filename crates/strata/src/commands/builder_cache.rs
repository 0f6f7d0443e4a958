//! `builder cache`.

use super::arguments::exactly;
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::emit;
use crate::render::units;
use clap::{Args, Subcommand};
use std::io::{Read, Write};

/// Look at and move the contents of `RUN --mount=type=cache`.
#[derive(Subcommand, Debug)]
pub(crate) enum BuilderCache {
    /// List cache mounts
    Ls(List),
    /// Write the files of a cache mount as a tar
    Export(Export),
    /// Fill a cache mount that is empty, or not here, from a tar
    Import(Import),
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Ids alone
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Export {
    /// ID FILE|-
    #[arg(value_name = "ID FILE|-")]
    arguments: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Import {
    /// Mode that the RUNs give it, octal
    #[arg(long, default_value = "755")]
    mode: String,
    /// User that the RUNs give it to
    #[arg(long, default_value_t = 0)]
    uid: u32,
    /// Group that the RUNs give it to
    #[arg(long, default_value_t = 0)]
    gid: u32,
    /// ID FILE|-
    #[arg(value_name = "ID FILE|-")]
    arguments: Vec<String>,
}

impl BuilderCache {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        match self {
            Self::Ls(args) => args.run(global),
            Self::Export(args) => args.run(global),
            Self::Import(args) => args.run(global),
        }
    }
}

impl List {
    fn run(self, global: &Global) -> Outcome {
        let mounts = global.engine()?.list_cache_mounts()?;
        let mut text = String::new();
        if !self.quiet {
            text.push_str("NAME           SIZE       ID\n");
        }
        for mount in mounts {
            let (name, size, id) = (mount.name.short(), units::size(mount.size), mount.id);
            text.push_str(&if self.quiet {
                format!("{id}\n")
            } else {
                format!("{name:<14} {size:<10} {id}\n")
            });
        }
        emit(&text)?;
        Ok(0)
    }
}

impl Export {
    fn run(self, global: &Global) -> Outcome {
        exactly(&self.arguments, 2)?;
        let [id, file] = &self.arguments[..] else { unreachable!("just counted") };
        let engine = global.engine()?;
        if file == "-" {
            engine.export_cache_mount(id, &mut std::io::stdout().lock())?;
            return Ok(0);
        }
        // Written beside and renamed: half an export has no name.
        let half = format!("{file}.part");
        let mut out = fs_err::File::create(&half)?;
        if let Err(error) = engine.export_cache_mount(id, &mut out) {
            let _ = fs_err::remove_file(&half);
            return Err(error.into());
        }
        out.flush()?;
        fs_err::rename(half, file)?;
        Ok(0)
    }
}

impl Import {
    fn run(self, global: &Global) -> Outcome {
        exactly(&self.arguments, 2)?;
        let [id, file] = &self.arguments[..] else { unreachable!("just counted") };
        let mode = u32::from_str_radix(&self.mode, 8).ok().filter(|mode| *mode <= 0o7777);
        let mode =
            mode.ok_or_else(|| Failure::usage(format!("invalid mode {:?}: it looks like 0755", self.mode)))?;
        let mut input: Box<dyn Read> = match file.as_str() {
            "-" => Box::new(std::io::stdin().lock()),
            file => Box::new(fs_err::File::open(file)?),
        };
        global.engine()?.import_cache_mount(id, (mode, self.uid, self.gid), &mut input)?;
        Ok(0)
    }
}
