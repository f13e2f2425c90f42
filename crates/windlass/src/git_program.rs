//! What the `git` program is given of this process's environment, for the repositories that ask for it. Nothing else of
//! it reaches the program.

use std::ffi::OsString;

use windlass_git::{ClientPool, ProgramEnvironment};

/// The variables that name proxies. Programs differ in which case they read, so either is taken and this one is given.
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// Connections to Git servers that may use the program.
pub(crate) fn clients() -> ClientPool {
    ClientPool::with_program(environment(process_environment))
}

fn environment(read: impl Fn(&str) -> Option<OsString>) -> ProgramEnvironment {
    let proxy =
        |name: &str| Some((name.to_owned(), read(name).or_else(|| read(&name.to_ascii_uppercase()))?));
    ProgramEnvironment {
        path: read("PATH").unwrap_or_default(),
        proxies: PROXIES.iter().filter_map(|name| proxy(name)).collect(),
        ..ProgramEnvironment::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "the binary reads the environment, here for the git program")]
fn process_environment(variable: &str) -> Option<OsString> {
    std::env::var_os(variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_and_the_proxies_are_given_and_nothing_else() {
        let read = |name: &str| match name {
            "PATH" => Some("/bin".into()),
            "HTTPS_PROXY" => Some("http://proxy:1".into()),
            "no_proxy" => Some("local".into()),
            "NO_PROXY" => Some("other".into()),
            _ => None,
        };
        let environment = environment(read);
        assert_eq!(environment.path, "/bin");
        let proxies: Vec<(&str, &str)> = environment
            .proxies
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(proxies, [("https_proxy", "http://proxy:1"), ("no_proxy", "local")]);
        assert!(!environment.local_repositories);
    }
}
