//! The machine that figures come from: they are quoted with it.

/// `2 processors, 24 GB of memory, linux x86_64`
pub(crate) fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let kibibytes: u64 = text.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok()?;
        Some(format!(", {} GB of memory", kibibytes * 1024 / 1_000_000_000))
    });
    let (system, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("{processors} processors{}, {system} {architecture}", memory.unwrap_or_default())
}
