//! Free loopback ports that stay free.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail};

use crate::traffic::lock;

/// Below the range from which Linux picks the ports of outgoing connections (32768 and up), so that no client takes a
/// port while the server that owns it restarts.
const FIRST: u16 = 20_000;
/// A process takes ports in blocks: enough for some hundred worlds, and a block needs one open file.
const BLOCK: u16 = 500;
const BLOCKS: u16 = 24;
/// Below the folder for temporary files: one file for each block, locked by the process that takes ports from it. The
/// lock dies with the process.
const LOCKS: &str = "windlass-test-ports";

static TAKEN: Mutex<Vec<Block>> = Mutex::new(Vec::new());

/// A block that belongs to this process.
struct Block {
    left: Range<u16>,
    _lock: File,
}

/// A loopback address that nothing listens on. It is given once, in this process and in any other that runs now.
///
/// # Errors
/// When no port of the range is free.
pub fn free() -> Result<SocketAddr> {
    let mut taken = lock(&TAKEN);
    loop {
        if let Some(block) = taken.last_mut() {
            for port in block.left.by_ref() {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                if TcpListener::bind(address).is_ok() {
                    return Ok(address);
                }
            }
        }
        taken.push(take_block()?);
    }
}

fn take_block() -> Result<Block> {
    let folder = tempfile::env::temp_dir().join(LOCKS);
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    // What an earlier process left behind may still talk to its ports, so that the next one begins elsewhere.
    let begin = std::process::id() % u32::from(BLOCKS);
    for number in (0..BLOCKS).cycle().skip(usize::try_from(begin)?).take(usize::from(BLOCKS)) {
        let path = folder.join(number.to_string());
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        // Locked by another process, or by this one.
        if file.try_lock().is_ok() {
            let first = FIRST + number * BLOCK;
            return Ok(Block { left: first..first + BLOCK, _lock: file });
        }
    }
    bail!("no free loopback port from {FIRST} on: remove what is left of {}", folder.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let mut given: Vec<SocketAddr> = (0..2 * BLOCK).map(|_| free().unwrap()).collect();
        assert!(given.iter().all(|address| address.ip().is_loopback()));
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), usize::from(2 * BLOCK));
    }
}
