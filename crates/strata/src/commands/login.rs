//! `login`.

use super::arguments::at_most;
use crate::failure::{Failure, Outcome};
use crate::output::emit;
use crate::prompt;
use clap::Args;
use std::io::{self, IsTerminal, Read, Write};
use strata_engine::login::{self, LoginError};
use strata_engine::registry::{Credential, Keeper, Registries};

/// The longest password that is read from standard input.
const LONGEST: u64 = 64 << 10;

/// Authenticate to a registry. Defaults to Docker Hub if no server is specified.
#[derive(Args, Debug)]
pub(crate) struct Login {
    /// User name
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// Password or personal access token
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Take the password or personal access token from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Registry: host, with the port if it has one
    #[arg(value_name = "[SERVER]")]
    server: Vec<String>,
}

impl Login {
    pub(crate) fn run(self) -> Outcome {
        at_most(&self.server, 1)?;
        let password = self.given_password()?;
        let server = login::server(self.server.first().map(String::as_str))?;
        let registries = crate::registries::from_environment()?;
        let username = self.username.clone().filter(|name| !name.is_empty());
        let keeper = match (username, password) {
            (Some(username), Some(password)) => {
                login::login(&registries, &server, &Credential::password(username, password))?
            }
            (None, None) => match again(&registries, &server)? {
                Some(keeper) => keeper,
                None => ask(&registries, &server, None, None)?,
            },
            (username, password) => ask(&registries, &server, username, password)?,
        };
        if let Keeper::File(file) = keeper {
            warn(&format!(
                "\nWARNING! Your credentials are stored unencrypted in '{}'.\n\
                 Configure a credential helper to remove this warning. See\n\
                 https://docs.docker.com/go/credential-store/\n\n",
                file.display()
            ));
        }
        emit("Login Succeeded\n")?;
        Ok(0)
    }

    fn given_password(&self) -> Result<Option<String>, Failure> {
        if self.password.is_some() {
            if self.password_stdin {
                let text = "conflicting options: cannot specify both --password and --password-stdin";
                return Err(Failure::with_code(text, 1));
            }
            warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");
        }
        if !self.password_stdin {
            return Ok(self.password.clone().filter(|password| !password.is_empty()));
        }
        if self.username.as_ref().is_none_or(String::is_empty) {
            return Err(Failure::with_code("the --password-stdin option requires --username to be set", 1));
        }
        let mut text = String::new();
        io::stdin().lock().take(LONGEST).read_to_string(&mut text)?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        let password = password.strip_suffix('\r').unwrap_or(password);
        if password.is_empty() {
            return Err(Failure::new("password is empty"));
        }
        Ok(Some(password.to_owned()))
    }
}

/// With what is kept already, if it still does.
fn again(registries: &Registries, server: &str) -> Result<Option<Keeper>, Failure> {
    let Some(known) = login::known(registries, server)? else { return Ok(None) };
    let name = known.username().map(|name| format!(" [Username: {name}]")).unwrap_or_default();
    let program = crate::usage::program_name();
    warn(&format!(
        "Authenticating with existing credentials...{name}\n\n \
         Info -> To login with a different account, run '{program} logout' followed by '{program} login'\n\n"
    ));
    match login::login(registries, server, &known) {
        Ok(keeper) => Ok(Some(keeper)),
        Err(error @ LoginError::Refused { .. }) => {
            warn(&format!("Login did not succeed, error: {error}\n"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Asks for what is missing.
fn ask(
    registries: &Registries,
    server: &str,
    username: Option<String>,
    password: Option<String>,
) -> Result<Keeper, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new("Cannot perform an interactive login from a non TTY device"));
    }
    let known = login::known(registries, server)?;
    let known = known.as_ref().and_then(Credential::username);
    let username = match username {
        Some(username) => username,
        None => {
            let question =
                known.map_or_else(|| "Username: ".to_owned(), |name| format!("Username ({name}): "));
            let answer = prompt::line(&question)?;
            match (answer.is_empty(), known) {
                (false, _) => answer,
                (true, Some(known)) => known.to_owned(),
                (true, None) => return Err(Failure::new("username is required")),
            }
        }
    };
    let password = match password {
        Some(password) => password,
        None => prompt::secret("Password: ")?,
    };
    if password.is_empty() {
        return Err(Failure::new("password is required"));
    }
    Ok(login::login(registries, server, &Credential::password(username, password))?)
}

fn warn(text: &str) {
    // Nobody is left to tell when standard error itself is gone.
    let _ = io::stderr().write_all(text.as_bytes());
}
