//! The environment that keeps the machine's configuration, its users and its credentials out. It is built from nothing:
//! a variable that is not here does not reach the program.

use std::ffi::OsString;
use std::path::Path;

/// Settings that outrank every file (git-config, `GIT_CONFIG_COUNT`).
const SETTINGS: &[(&str, &str)] = &[
    // No program of the repository's or the machine's runs.
    ("core.hooksPath", "/dev/null"),
    ("core.attributesFile", "/dev/null"),
    ("credential.helper", ""),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("push.gpgSign", "false"),
    // One pack, which is then read as any pack is; the folder goes at once, so nothing is synced.
    ("fetch.unpackLimit", "1"),
    ("transfer.unpackLimit", "1"),
    ("fetch.writeCommitGraph", "false"),
    ("core.fsync", "none"),
    ("pack.threads", "1"),
    // Nothing but what is asked for.
    ("fetch.recurseSubmodules", "no"),
    ("push.recurseSubmodules", "no"),
    ("push.followTags", "false"),
    ("protocol.version", "2"),
    ("color.ui", "false"),
    // The program sends its credentials to wherever it was redirected: a moved repository is to be named by its new URL.
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "60"),
];

/// Variables and their values; `home` is private to the operation.
pub(super) fn environment(path: &OsString, home: &Path) -> Vec<(OsString, OsString)> {
    let fixed = [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ASKPASS", ""),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        ("GIT_NO_LAZY_FETCH", "1"),
        ("LC_ALL", "C"),
    ];
    let mut environment: Vec<(OsString, OsString)> =
        fixed.iter().map(|(name, value)| (name.into(), value.into())).collect();
    environment.push(("PATH".into(), path.clone()));
    for name in ["HOME", "XDG_CONFIG_HOME", "GIT_DIR"] {
        environment.push((name.into(), home.into()));
    }
    environment
}

/// The fixed settings and those of this operation, as variables.
pub(super) fn settings(own: &[(String, String)]) -> Vec<(OsString, OsString)> {
    let fixed = SETTINGS.iter().copied();
    let own = own.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut variables = Vec::new();
    for (at, (name, value)) in fixed.chain(own).enumerate() {
        variables.push((format!("GIT_CONFIG_KEY_{at}").into(), name.into()));
        variables.push((format!("GIT_CONFIG_VALUE_{at}").into(), value.into()));
    }
    variables.push(("GIT_CONFIG_COUNT".into(), (variables.len() / 2).to_string().into()));
    variables
}
