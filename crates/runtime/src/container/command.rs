//! Program, arguments and environment as the child needs them.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::StartError;
use super::plan::Exec;
use crate::sys::spawn::CStringArray;

/// Search path when the environment has none, as Docker's.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) fn c_string(what: &'static str, text: impl AsRef<OsStr>) -> Result<CString, StartError> {
    let text = text.as_ref();
    CString::new(text.as_bytes())
        .map_err(|_| StartError::NulByte { what, value: text.to_string_lossy().into_owned() })
}

/// A path below the root without its leading slashes; `.` for the root.
pub(crate) fn relative(path: &Path) -> &Path {
    let relative = path.strip_prefix("/").unwrap_or(path);
    if relative.as_os_str().is_empty() { Path::new(".") } else { relative }
}

/// The value of a variable.
pub(crate) fn variable<'a>(env: &'a [String], name: &str) -> Option<&'a str> {
    env.iter().rev().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
}

/// Builds the last step. `home` is set unless the environment has one.
pub(crate) fn exec(args: &[String], env: &[String], cwd: &Path, home: &str) -> Result<Exec, StartError> {
    let program = args.first().ok_or(StartError::NoCommand)?;
    let mut candidates = Vec::new();
    if program.contains('/') {
        candidates.push(c_string("program", program)?);
    } else if !program.is_empty() {
        for directory in variable(env, "PATH").unwrap_or(DEFAULT_PATH).split(':') {
            // An empty element is the working directory.
            let directory = if directory.is_empty() { cwd } else { Path::new(directory) };
            candidates.push(c_string("program", directory.join(program))?);
        }
    }
    let mut variables =
        env.iter().map(|entry| c_string("environment variable", entry)).collect::<Result<Vec<_>, _>>()?;
    if variable(env, "HOME").is_none() {
        variables.push(c_string("environment variable", format!("HOME={home}"))?);
    }
    let args = args.iter().map(|arg| c_string("argument", arg)).collect::<Result<Vec<_>, _>>()?;
    Ok(Exec { candidates, args: CStringArray::new(args), env: CStringArray::new(variables) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(program: &str, env: &[&str]) -> Vec<String> {
        let env: Vec<String> = env.iter().map(|entry| (*entry).to_owned()).collect();
        let exec = exec(&[program.to_owned()], &env, Path::new("/w"), "/root").unwrap();
        exec.candidates.iter().map(|path| path.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_path_is_searched_only_for_plain_names() {
        assert_eq!(candidates("sh", &["PATH=/a::/b"]), ["/a/sh", "/w/sh", "/b/sh"]);
        assert_eq!(candidates("./sh", &["PATH=/a"]), ["./sh"]);
        assert_eq!(candidates("/x/sh", &[]), ["/x/sh"]);
        assert_eq!(candidates("sh", &[]).len(), 6);
        assert!(candidates("", &["PATH=/a"]).is_empty());
    }

    #[test]
    fn home_is_added_only_when_absent() {
        let home = |env: &[String]| {
            let exec = exec(&["x".into()], env, Path::new("/"), "/home/u").unwrap();
            exec.env.strings().iter().map(|entry| entry.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(home(&["A=1".into()]), ["A=1", "HOME=/home/u"]);
        assert_eq!(home(&["HOME=".into()]), ["HOME="]);
    }
}
