//! A child process with its output in a file. It is killed by the value that started it, and by no other.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::eventually;

/// A running program. Dropping it kills it, waits for its end, and prints its output if the thread is panicking.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; standard output and error are appended to `log`.
    ///
    /// # Errors
    /// When the program or the log cannot be opened.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening the log {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("duplicating a log's file handle")?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {name} ({})", Path::new(command.get_program()).display()))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// The operating system's id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended, if it has.
    ///
    /// # Errors
    /// When the operating system cannot tell.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("asking whether {} still runs", self.name))
    }

    /// Fails if the process has ended, with the end of its output.
    ///
    /// # Errors
    /// When it has ended.
    pub fn expect_running(&mut self) -> Result<()> {
        match self.exited()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}:\n{}", self.name, tail(&self.log_text(), 40)),
        }
    }

    /// Sends SIGKILL and waits: the process gets no chance to tidy up.
    pub fn kill(&mut self) {
        // Both fail only for a process that was already waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends SIGTERM and waits for the end. A process that has ended by itself gets no signal: Ctrl-C on a terminal
    /// reaches every process there.
    ///
    /// # Errors
    /// When the process still runs after `within`.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.exited()? {
            return Ok(status);
        }
        self.signal("TERM")?;
        let what = format!("{} to end after SIGTERM", self.name);
        eventually(within, what, async || self.exited()).await
    }

    /// Sends a signal by its POSIX name: `TERM`, `INT`, `STOP`, `CONT`.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&mut self, signal: &str) -> Result<()> {
        self.expect_running()?;
        // Through the shell, because sending a signal by a system call needs unsafe code.
        let script = format!("kill -{signal} {}", self.id());
        let status = Command::new("sh").args(["-c", &script]).status().context("running kill")?;
        if !status.success() {
            bail!("sending SIG{signal} to {} failed with {status}", self.name);
        }
        Ok(())
    }

    /// Everything that was written so far.
    pub fn log_text(&self) -> String {
        // A log that cannot be read is an empty log: this is for messages.
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- output of {} ----\n{}", self.name, tail(&self.log_text(), 200));
        }
    }
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::{Storage, fresh};

    fn shell(script: &str, log: &Path) -> Process {
        Process::spawn("a shell", Command::new("sh").args(["-c", script]), log).unwrap()
    }

    #[tokio::test]
    async fn a_process_that_ends_early_reports_its_output() {
        let folder = fresh(Storage::Memory).unwrap();
        let mut process = shell("echo no such option >&2; exit 3", &folder.path().join("log"));
        let error =
            eventually(Duration::from_secs(10), "the end", async || Ok(process.expect_running().err()))
                .await
                .unwrap();
        assert!(error.to_string().contains("no such option"), "{error}");
    }

    #[tokio::test]
    async fn terminate_lets_the_process_tidy_up() {
        let folder = fresh(Storage::Memory).unwrap();
        let mut process = shell(
            "trap 'echo tidy; exit 7' TERM; echo up; while :; do sleep 0.01; done",
            &folder.path().join("log"),
        );
        eventually(Duration::from_secs(10), "the shell", async || {
            Ok(process.log_text().contains("up").then_some(()))
        })
        .await
        .unwrap();
        let status = process.terminate(Duration::from_secs(10)).await.unwrap();
        assert_eq!(status.code(), Some(7));
        assert!(process.log_text().contains("tidy"));
    }
}
