//! The door: everything is in the library. The allocator is set here, for the whole process.

use tikv_jemallocator::Jemalloc;

/// Work moves from thread to thread, so what one allocates another frees. In glibc's arenas such memory piles up for as
/// long as there is work; this allocator gives it back.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> std::process::ExitCode {
    windlass::main()
}
