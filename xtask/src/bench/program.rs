//! A program beside this one that does what it is told: one order a line, one answer a line.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::stage::PATIENCE;

/// A running program. Dropping it kills it.
pub(crate) struct Program {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub(crate) fn start(command: std::process::Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut command = Command::from(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
        let orders = child.stdin.take().context("the program has no standard input")?;
        let output = child.stdout.take().context("the program has no standard output")?;
        Ok(Self { child, orders, answers: BufReader::new(output).lines() })
    }

    /// The operating system's id of the process.
    pub(crate) fn id(&self) -> Result<u32> {
        self.child.id().context("the program ended")
    }

    /// Gives an order and waits for its answer.
    pub(crate) async fn order(&mut self, order: &str) -> Result<String> {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.context("giving an order")?;
        self.answer().await
    }

    /// Waits for the next line.
    pub(crate) async fn answer(&mut self) -> Result<String> {
        let line = tokio::time::timeout(PATIENCE, self.answers.next_line()).await??;
        line.context("the program ended; its standard error says why")
    }
}
