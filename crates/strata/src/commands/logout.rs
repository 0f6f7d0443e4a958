//! `logout`.

use super::arguments::at_most;
use crate::failure::Outcome;
use crate::output::emit;
use clap::Args;
use strata_engine::login;

/// Log out from a registry. Defaults to Docker Hub if no server is specified.
#[derive(Args, Debug)]
pub(crate) struct Logout {
    /// Registry: host, with the port if it has one
    #[arg(value_name = "[SERVER]")]
    server: Vec<String>,
}

impl Logout {
    pub(crate) fn run(self) -> Outcome {
        at_most(&self.server, 1)?;
        let server = login::server(self.server.first().map(String::as_str))?;
        emit(&format!("Removing login credentials for {}\n", login::shown(&server)))?;
        login::logout(&crate::registries::from_environment()?, &server)?;
        Ok(0)
    }
}
