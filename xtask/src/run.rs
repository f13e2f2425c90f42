//! Running programs: to watch, or for their output.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

/// Runs a command with this terminal's output; the error names the command.
pub(crate) fn shown(command: &mut Command) -> Result<()> {
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("starting `{}`", Shown(command)))?;
    ensure!(status.success(), "`{}` ended with {status}", Shown(command));
    Ok(())
}

/// Runs a command and gives its standard output; the error has its standard error.
pub(crate) fn captured(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("starting `{}`", Shown(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}: {}", Shown(command), output.status, said.trim());
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed something that is not UTF-8", Shown(command)))
}

/// A command as a person would type it.
pub(crate) struct Shown<'a>(pub(crate) &'a Command);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in self.0.get_envs() {
            if let Some(value) = value {
                write!(f, "{}={} ", key.display(), quoted(&value.to_string_lossy()))?;
            }
        }
        let program = Path::new(self.0.get_program());
        write!(f, "{}", quoted(&program.to_string_lossy()))?;
        for argument in self.0.get_args() {
            write!(f, " {}", quoted(&argument.to_string_lossy()))?;
        }
        Ok(())
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("cargo");
        command.args(["doc", "--flag", "two words"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(Shown(&command).to_string(), "RUSTDOCFLAGS='-D warnings' cargo doc --flag 'two words'");
    }

    #[test]
    fn a_failure_names_the_command_and_what_it_said() {
        let error = captured(Command::new("sh").args(["-c", "echo no >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("exit 3") && error.ends_with("no"), "{error}");
    }
}
