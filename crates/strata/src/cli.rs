//! The commands: their names, and what runs each.

use crate::commands;
use crate::failure::Outcome;
use crate::global::Global;
use clap::{ArgAction, Parser, Subcommand};

/// Builds, stores, shows, moves and runs layered container images.
#[derive(Parser, Debug)]
#[command(name = "strata", version, disable_version_flag = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    /// Print the version
    #[arg(short = 'v', long, action = ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Build an image from a Dockerfile
    Build(Box<commands::build::Build>),
    /// List images
    Images(commands::images::Images),
    /// Show the history of an image
    History(commands::history::History),
    /// Show details of images, containers and volumes
    Inspect(commands::inspect::Inspect),
    /// Give an image another name
    Tag(commands::tag::Tag),
    /// Remove images
    Rmi(commands::rmi::Rmi),
    /// Fetch images from a registry
    Pull(commands::pull::Pull),
    /// Send images to a registry
    Push(commands::push::Push),
    /// Save images to a tar archive
    Save(commands::save::Save),
    /// Load images from a tar archive
    Load(commands::load::Load),
    /// Make an image of a root file system's tar
    Import(commands::import::Import),
    /// Create and run a container
    Run(Box<commands::run::Run>),
    /// List containers
    Ps(commands::ps::Ps),
    /// Show the output of a container
    Logs(commands::logs::Logs),
    /// Run a command in a running container
    Exec(commands::exec::Exec),
    /// Stop containers
    Stop(commands::stop::Stop),
    /// Send a signal to containers
    Kill(commands::kill::Kill),
    /// Remove containers
    Rm(commands::rm::Rm),
    /// Wait for containers to stop, then print their exit codes
    Wait(commands::wait::Wait),
    /// Show what a container changed in its file system
    Diff(commands::diff::Diff),
    /// Authenticate to a registry
    Login(commands::login::Login),
    /// Log out from a registry
    Logout(commands::logout::Logout),
    /// Open a shell in the state before a build step that failed
    Debug(commands::debug::DebugStep),
    /// Show information about this installation
    Info(commands::info::Info),
    /// Show the version
    Version(commands::version::Version),
    /// Manage images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Manage containers
    #[command(subcommand)]
    Container(ContainerCommand),
    /// Manage the build cache
    #[command(subcommand, alias = "buildx")]
    Builder(BuilderCommand),
    /// Manage volumes
    #[command(subcommand)]
    Volume(commands::volume::Volume),
    /// Manage manifests and manifest lists
    #[command(subcommand)]
    Manifest(commands::manifest::Manifest),
    /// Serve a directory as a registry
    #[command(subcommand)]
    Registry(commands::registry::Registry),
    /// Manage strata itself
    #[command(subcommand)]
    System(SystemCommand),
}

#[derive(Subcommand, Debug)]
enum ImageCommand {
    /// Build an image from a Dockerfile
    Build(Box<commands::build::Build>),
    /// List images
    #[command(alias = "list")]
    Ls(commands::images::Images),
    /// Show the history of an image
    History(commands::history::History),
    /// Show details of images
    Inspect(commands::inspect::InspectImage),
    /// Give an image another name
    Tag(commands::tag::Tag),
    /// Remove images
    #[command(alias = "remove")]
    Rm(commands::rmi::Rmi),
    /// Remove unused images
    Prune(commands::image_prune::ImagePrune),
    /// Copy an image from one place to another with all its platforms, byte for byte
    Copy(commands::image_copy::ImageCopy),
    /// Put an image on a newer base without building it again
    Rebase(commands::image_copy::ImageRebase),
    /// Fetch images from a registry
    Pull(commands::pull::Pull),
    /// Send images to a registry
    Push(commands::push::Push),
    /// Save images to a tar archive
    Save(commands::save::Save),
    /// Load images from a tar archive
    Load(commands::load::Load),
    /// Make an image of a root file system's tar
    Import(commands::import::Import),
}

#[derive(Subcommand, Debug)]
enum ContainerCommand {
    /// Create and run a container
    Run(Box<commands::run::Run>),
    /// List containers
    #[command(aliases = ["list", "ps"])]
    Ls(commands::ps::Ps),
    /// Show the output of a container
    Logs(commands::logs::Logs),
    /// Run a command in a running container
    Exec(commands::exec::Exec),
    /// Stop containers
    Stop(commands::stop::Stop),
    /// Send a signal to containers
    Kill(commands::kill::Kill),
    /// Remove containers
    #[command(alias = "remove")]
    Rm(commands::rm::Rm),
    /// Wait for containers to stop, then print their exit codes
    Wait(commands::wait::Wait),
    /// Show what a container changed in its file system
    Diff(commands::diff::Diff),
    /// Show details of containers
    Inspect(commands::inspect::InspectContainer),
    /// Remove all stopped containers
    Prune(commands::container_prune::ContainerPrune),
}

#[derive(Subcommand, Debug)]
enum BuilderCommand {
    /// Build an image from a Dockerfile
    Build(Box<commands::build::Build>),
    /// Look at and move the contents of `RUN --mount=type=cache`
    #[command(subcommand)]
    Cache(commands::builder_cache::BuilderCache),
    /// Remove build cache
    Prune(commands::builder_prune::BuilderPrune),
}

#[derive(Subcommand, Debug)]
enum SystemCommand {
    /// Show disk usage
    Df(commands::df::Df),
    /// Show information about this installation
    Info(commands::info::Info),
    /// Check everything that is stored against its digests
    Fsck(commands::fsck::Fsck),
    /// Remove everything: containers, images, volumes, networks, the store itself
    Reset(commands::reset::Reset),
}

impl Cli {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        let global = &self.global;
        match self.command {
            Command::Build(args) => args.run(global),
            Command::Images(args) => args.run(global),
            Command::History(args) => args.run(global),
            Command::Inspect(args) => args.run(global),
            Command::Tag(args) => args.run(global),
            Command::Rmi(args) => args.run(global),
            Command::Pull(args) => args.run(global),
            Command::Push(args) => args.run(global),
            Command::Save(args) => args.run(global),
            Command::Load(args) => args.run(global),
            Command::Import(args) => args.run(global),
            Command::Run(args) => args.run(global),
            Command::Ps(args) => args.run(global),
            Command::Logs(args) => args.run(global),
            Command::Exec(args) => args.run(global),
            Command::Stop(args) => args.run(global),
            Command::Kill(args) => args.run(global),
            Command::Rm(args) => args.run(global),
            Command::Wait(args) => args.run(global),
            Command::Diff(args) => args.run(global),
            Command::Login(args) => args.run(),
            Command::Logout(args) => args.run(),
            Command::Debug(args) => args.run(global),
            Command::Info(args) => args.run(global),
            Command::Version(args) => args.run(),
            Command::Image(command) => command.run(global),
            Command::Container(command) => command.run(global),
            Command::Builder(command) => command.run(global),
            Command::Volume(command) => command.run(global),
            Command::Manifest(command) => command.run(global),
            Command::Registry(command) => command.run(),
            Command::System(command) => command.run(global),
        }
    }
}

impl ImageCommand {
    fn run(self, global: &Global) -> Outcome {
        match self {
            Self::Build(args) => args.run(global),
            Self::Ls(args) => args.run(global),
            Self::History(args) => args.run(global),
            Self::Inspect(args) => args.run(global),
            Self::Tag(args) => args.run(global),
            Self::Rm(args) => args.run(global),
            Self::Copy(args) => args.run(global),
            Self::Rebase(args) => args.run(global),
            Self::Prune(args) => args.run(global),
            Self::Pull(args) => args.run(global),
            Self::Push(args) => args.run(global),
            Self::Save(args) => args.run(global),
            Self::Load(args) => args.run(global),
            Self::Import(args) => args.run(global),
        }
    }
}

impl ContainerCommand {
    fn run(self, global: &Global) -> Outcome {
        match self {
            Self::Run(args) => args.run(global),
            Self::Ls(args) => args.run(global),
            Self::Logs(args) => args.run(global),
            Self::Exec(args) => args.run(global),
            Self::Stop(args) => args.run(global),
            Self::Kill(args) => args.run(global),
            Self::Rm(args) => args.run(global),
            Self::Wait(args) => args.run(global),
            Self::Diff(args) => args.run(global),
            Self::Inspect(args) => args.run(global),
            Self::Prune(args) => args.run(global),
        }
    }
}

impl BuilderCommand {
    fn run(self, global: &Global) -> Outcome {
        match self {
            Self::Build(args) => args.run(global),
            Self::Cache(command) => command.run(global),
            Self::Prune(args) => args.run(global),
        }
    }
}

impl SystemCommand {
    fn run(self, global: &Global) -> Outcome {
        match self {
            Self::Df(args) => args.run(global),
            Self::Info(args) => args.run(global),
            Self::Fsck(args) => args.run(global),
            Self::Reset(args) => args.run(global),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_flags_of_every_command_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
