//! Free loopback ports that stay free.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail};

/// Below the range from which Linux picks the ports of outgoing connections (32768 and up), so that no client takes a
/// port while the server that owns it restarts.
const FIRST: u16 = 20_000;
const COUNT: u32 = 12_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A loopback address that nothing listens on. No two calls in one process give the same port (until 12,000 were
/// given), and two processes start at different places.
///
/// # Errors
/// When no port of the range is free.
pub fn free() -> Result<SocketAddr> {
    // A prime step spreads neighbouring process ids over the range.
    let start = std::process::id().wrapping_mul(7919);
    for _ in 0..COUNT {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = FIRST + u16::try_from(offset).context("a port has 16 bits")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free loopback port from {FIRST} on")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let (first, second) = (free().unwrap(), free().unwrap());
        assert_ne!(first, second);
        assert!(first.ip().is_loopback());
    }
}
