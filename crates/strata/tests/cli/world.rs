//! A store of one test, the commands run on it, and the images they start from.

use regex_lite::Regex;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Relative times are measured from this long after the test's start, so that they do not depend on its speed.
const HOURS_LATER: u64 = 5;

/// A store in a directory of its own; everything goes with it.
pub(crate) struct World {
    directory: tempfile::TempDir,
    now: String,
    /// Forced layer mode.
    layers: Option<&'static str>,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory =
            tempfile::Builder::new().prefix("strata-cli-").tempdir_in("/var/tmp").expect("a directory");
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        Self { directory, now: (now + HOURS_LATER * 3600).to_string(), layers: None }
    }

    /// Empty, with layers shown as `STRATA_LAYERS` has it.
    pub(crate) fn in_mode(mode: &'static str) -> Self {
        let mut world = Self::new();
        world.layers = Some(mode);
        world
    }

    /// With the image `base:1`: one layer of a few small files, nothing that could run.
    pub(crate) fn with_base() -> Self {
        let world = Self::new();
        world.file("base.tar", &small_root());
        world.ok(&[
            "import",
            "-m",
            "base",
            "-c",
            "ENV PATH=/bin",
            "-c",
            "CMD [\"sh\"]",
            "base.tar",
            "base:1",
        ]);
        world
    }

    /// With `box:1`, which has a shell; `None`, with the reason on standard error, where containers cannot run.
    pub(crate) fn with_shell(test: &str) -> Option<Self> {
        let world = Self::new();
        world.import_shell(test).then_some(world)
    }

    /// Makes `box:1`, which has a shell; false, with the reason on standard error, where containers cannot run.
    pub(crate) fn import_shell(&self, test: &str) -> bool {
        match runnable() {
            Ok(busybox) => {
                self.file("box.tar", &shell_root(&busybox, &[]));
                self.ok(&["import", "-m", "box", "-c", "CMD [\"sh\"]", "box.tar", "box:1"]);
                true
            }
            Err(why) => {
                eprintln!("SKIP {test}: {why}");
                false
            }
        }
    }

    /// Makes `NAME` like `box:1`, with these symbolic links in it. After [`Self::import_shell`].
    pub(crate) fn import_with_links(&self, name: &str, links: &[(&str, &str)]) {
        let busybox = runnable().expect("containers run");
        self.file("links.tar", &shell_root(&busybox, links));
        self.ok(&["import", "-c", "CMD [\"sh\"]", "links.tar", name]);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file beside the store; commands run in its directory.
    pub(crate) fn file(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().expect("below the world")).expect("a directory");
        fs_err::write(path, content).expect("a file");
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strata"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("STRATA_ROOT", self.path("store"))
            .env("STRATA_NOW", &self.now)
            .env("TZ", "UTC")
            .env_remove("BUILDKIT_PROGRESS")
            // A test sends nothing beyond this machine.
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null());
        if let Some(mode) = self.layers {
            command.env("STRATA_LAYERS", mode);
        }
        command
    }

    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("strata starts")
    }

    /// A command that has to work; its standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs the lines (words at blanks, `'...'` keeps one together) and writes down all that they print.
    pub(crate) fn transcript(&self, lines: &[&str]) -> String {
        lines.iter().map(|line| self.entry(line, &self.output(&refs(&words(line))))).collect()
    }

    /// `$ strata LINE`, standard output, `! ` before lines of standard error, the exit code if it is not 0.
    pub(crate) fn entry(&self, line: &str, output: &Output) -> String {
        let mut text = format!("$ strata {line}\n{}", String::from_utf8_lossy(&output.stdout));
        if !text.ends_with('\n') {
            text.push_str("%\n");
        }
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            text.push_str(format!("! {line}").trim_end());
            text.push('\n');
        }
        match output.status.code() {
            Some(0) => {}
            code => text.push_str(&format!(
                "[exit {}]\n",
                code.map_or("by signal".to_owned(), |code| code.to_string())
            )),
        }
        self.named(&text) + "\n"
    }

    /// IDs, times and the store's place, by name.
    fn named(&self, text: &str) -> String {
        let filters = [
            (r"[0-9a-f]{64}", "<digest>"),
            (r"\b[0-9a-f]{12}\b", "<id>"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
            (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} \w+", "<time>"),
            (r"\b\d+\.\d+s\b", "<s>"),
            (r"(?m)^(! #\d+) \d+\.\d{3} ", "$1 <t> "),
        ];
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let text = text.replace(&self.directory.path().display().to_string(), "<world>");
        let text = text.replace(architecture, "<arch>");
        filters.iter().fold(text, |text, (pattern, name)| {
            Regex::new(pattern).expect("a pattern").replace_all(&text, *name).into_owned()
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Takes mounts down and the bridge away; a test that failed half way leaves nothing either.
        let _ = self.output(&["system", "reset", "-f"]);
    }
}

pub(crate) fn refs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Splits as a shell would, with single quotes only.
pub(crate) fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '\'' => (quoted, any) = (!quoted, true),
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

/// The host's static busybox, if containers can run here.
pub(crate) fn runnable() -> Result<PathBuf, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("containers need root".to_owned());
    }
    let candidates = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    let found = candidates.into_iter().find(|path| path.is_file());
    let path = found.ok_or("no busybox here (package busybox-static)")?;
    let bytes = fs_err::read(&path).map_err(|error| error.to_string())?;
    let is_dynamic = bytes.windows(4).take(4096).any(|window| window == b"/ld-");
    if is_dynamic {
        Err(format!("{} is not static (package busybox-static)", path.display()))
    } else {
        Ok(path)
    }
}

/// A tar of these entries, with fixed owners and times.
pub(crate) fn archive(entries: &[(&str, u32, &[u8])]) -> tar::Builder<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, mode, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_mode(*mode);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        header.set_entry_type(if path.ends_with('/') {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        builder.append_data(&mut header, path, *content).expect("memory");
    }
    builder
}

fn small_root() -> Vec<u8> {
    let entries: [(&str, u32, &[u8]); 4] = [
        ("etc/", 0o755, b""),
        ("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n"),
        ("data/", 0o1777, b""),
        ("data/seed", 0o644, &[b'x'; 1500]),
    ];
    archive(&entries).into_inner().expect("memory")
}

/// `links` replace what is usually there.
fn shell_root(busybox: &Path, links: &[(&str, &str)]) -> Vec<u8> {
    let program = fs_err::read(busybox).expect("busybox");
    let entries: Vec<(&str, u32, &[u8])> = vec![
        ("etc/", 0o755, b""),
        ("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n"),
        ("etc/group", 0o644, b"root:x:0:\nbob:x:1000:\n"),
        ("data/", 0o1777, b""),
        ("data/seed", 0o644, b"seed\n"),
        ("tmp/", 0o1777, b""),
        ("bin/busybox", 0o755, &program),
    ];
    let linked =
        |path: &str| links.iter().any(|(link, _)| path == *link || path.starts_with(&format!("{link}/")));
    let entries: Vec<_> = entries.into_iter().filter(|(path, ..)| !linked(path)).collect();
    let mut builder = archive(&entries);
    let applets = "cat df echo env false grep head hostname id ls mkdir mknod mount nc ps pwd rm sh sleep stty touch \
                   tr true tty unshare wc wget";
    let applets = applets.split_whitespace().map(|applet| (format!("bin/{applet}"), "busybox"));
    for (path, target) in applets.chain(links.iter().map(|(path, target)| ((*path).to_owned(), *target))) {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        builder.append_link(&mut header, path, target).expect("memory");
    }
    builder.into_inner().expect("memory")
}

/// What another process is about to do.
pub(crate) fn wait_for(mut holds: impl FnMut() -> bool) {
    for _ in 0..200 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    panic!("did not happen within 5 s");
}
