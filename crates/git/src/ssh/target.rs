//! Where a repository is on an SSH server: reading `ssh://` URLs and Git's short form, and the command that serves it.
//! It checks texts and connects to nothing.

use url::Url;

use super::SshConfigError;
use crate::transport::Service;

/// What Git's own servers and every forge use.
const DEFAULT_USER: &str = "git";
const DEFAULT_PORT: u16 = 22;

/// User, host, port and path of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) user: String,
    /// Lower case; an IPv6 address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As the server's Git gets it: absolute, from `~`, or relative to the user's folder.
    path: String,
}

impl Target {
    /// Reads `ssh://[user@]host[:port]/path` or `[user@]host:path` (git-clone, "Git URLs").
    pub(crate) fn parse(text: &str) -> Result<Self, SshConfigError> {
        if text.contains(char::is_control) {
            return Err(SshConfigError::Location("it contains a control character"));
        }
        let target = if text.contains("://") { parse_url(text)? } else { parse_short(text)? };
        if target.path.trim_matches('/').is_empty() {
            return Err(SshConfigError::Location("it names no repository"));
        }
        // An option to the server's program otherwise; Git refuses it too.
        if target.path.starts_with('-') {
            return Err(SshConfigError::Location("the path must not start with a hyphen"));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
        if !target.host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == ':')
            || !target.host.chars().all(allowed)
        {
            return Err(SshConfigError::Location("the host's name is not valid"));
        }
        Ok(target)
    }

    /// The name under which `known_hosts` has the server (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
    pub(crate) fn known_name(&self) -> String {
        match self.port {
            DEFAULT_PORT => self.host.clone(),
            port => format!("[{}]:{port}", self.host),
        }
    }

    /// The location for people and logs.
    pub(crate) fn url(&self) -> Result<Url, SshConfigError> {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let mut url = Url::parse(&format!("ssh://{host}"))
            .map_err(|_| SshConfigError::Location("write ssh://user@host/path or user@host:path"))?;
        let broken = SshConfigError::Location("the user or the port is not valid");
        let port = Some(self.port).filter(|port| *port != DEFAULT_PORT);
        if url.set_username(&self.user).is_err() || url.set_port(port).is_err() {
            return Err(broken);
        }
        url.set_path(self.path.trim_end_matches('/'));
        Ok(url)
    }

    /// What the server is asked to run. The path is quoted for its shell.
    pub(crate) fn command(&self, service: Service) -> String {
        // `!` too, for C shells (git, quote.c).
        let path = self.path.replace('\'', r"'\''").replace('!', r"'\!'");
        format!("{} '{path}'", service.name())
    }
}

fn parse_url(text: &str) -> Result<Target, SshConfigError> {
    let url = Url::parse(text)
        .map_err(|_| SshConfigError::Location("write ssh://user@host/path or user@host:path"))?;
    if url.password().is_some() {
        return Err(SshConfigError::Location("it must not contain a password: a key is used"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(SshConfigError::Location("it must not contain a query or a fragment"));
    }
    let host = url.host_str().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let path = decoded(url.path())?;
    // `/~user/path` starts from that user's folder.
    let path = if path.starts_with("/~") { path[1..].to_owned() } else { path };
    Ok(Target {
        user: user(&decoded(url.username())?)?,
        host: host.to_ascii_lowercase(),
        port: url.port().unwrap_or(DEFAULT_PORT),
        path: path.trim_end_matches('/').to_owned(),
    })
}

fn parse_short(text: &str) -> Result<Target, SshConfigError> {
    let broken = || SshConfigError::Location("write ssh://user@host/path or user@host:path");
    let (front, _) = text.split_once(':').ok_or_else(broken)?;
    let (name, rest) = front.rfind('@').map_or(("", text), |at| (&text[..at], &text[at + 1..]));
    // In brackets: an IPv6 address, or a host with its port.
    let (host, path) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once("]:"),
        None => rest.split_once(':'),
    }
    .ok_or_else(broken)?;
    let (host, port) = match host.split_once(':') {
        Some((host, port)) if !port.contains(':') => {
            (host, port.parse().map_err(|_| SshConfigError::Location("the port is not a number"))?)
        }
        _ => (host, DEFAULT_PORT),
    };
    // `user:password@host:path` reads as a path on the host `user`.
    let is_password = name.is_empty() && path.split('/').next().is_some_and(|start| start.contains('@'));
    if is_password || name.contains(':') {
        return Err(SshConfigError::Location("it must not contain a password: a key is used"));
    }
    Ok(Target {
        user: user(name)?,
        host: host.to_ascii_lowercase(),
        port,
        path: path.trim_end_matches('/').to_owned(),
    })
}

fn user(name: &str) -> Result<String, SshConfigError> {
    if name.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(SshConfigError::Location("the user's name is not valid"));
    }
    Ok(if name.is_empty() { DEFAULT_USER } else { name }.to_owned())
}

/// Undoes percent-encoding, as Git does with URLs.
fn decoded(text: &str) -> Result<String, SshConfigError> {
    let broken = || SshConfigError::Location("a percent-encoded character is not valid");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let Some((digits, tail)) = rest.split_first_chunk::<2>() else { return Err(broken()) };
        let digits = std::str::from_utf8(digits).map_err(|_| broken())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| broken())?);
        rest = tail;
    }
    let text = String::from_utf8(bytes).map_err(|_| broken())?;
    if text.contains(char::is_control) { Err(broken()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, String) {
        let target = Target::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        (format!("{}@{}", target.user, target.known_name()), target.command(Service::UploadPack), {
            target.url().unwrap().to_string()
        })
    }

    #[test]
    fn both_forms_of_a_location_are_read_as_git_reads_them() {
        for (text, who, path, url) in [
            (
                "ssh://git@Example.com/org/r.git",
                "git@example.com",
                "/org/r.git",
                "ssh://git@example.com/org/r.git",
            ),
            (
                "ssh://example.com:2222/r.git/",
                "git@[example.com]:2222",
                "/r.git",
                "ssh://git@example.com:2222/r.git",
            ),
            ("ssh://bot@example.com:22/r", "bot@example.com", "/r", "ssh://bot@example.com/r"),
            ("ssh://example.com/~bot/r", "git@example.com", "~bot/r", "ssh://git@example.com/~bot/r"),
            ("ssh://[::1]:2222/r", "git@[::1]:2222", "/r", "ssh://git@[::1]:2222/r"),
            ("ssh://h/a%20b", "git@h", "/a b", "ssh://git@h/a%20b"),
            ("git@example.com:org/r.git", "git@example.com", "org/r.git", "ssh://git@example.com/org/r.git"),
            ("example.com:/srv/r", "git@example.com", "/srv/r", "ssh://git@example.com/srv/r"),
            ("me@example.com:~/r", "me@example.com", "~/r", "ssh://me@example.com/~/r"),
            ("git@h:a[1]", "git@h", "a[1]", "ssh://git@h/a[1]"),
            ("me@[::1]:r", "me@::1", "r", "ssh://me@[::1]/r"),
            ("[example.com:2222]:r", "git@[example.com]:2222", "r", "ssh://git@example.com:2222/r"),
        ] {
            let command = format!("git-upload-pack '{path}'");
            assert_eq!(parts(text), (who.to_owned(), command, url.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_path_cannot_leave_its_quotes() {
        let target = Target::parse("ssh://h/it's;touch $x!").unwrap();
        assert_eq!(target.command(Service::ReceivePack), r"git-receive-pack '/it'\''s;touch $x'\!''");
    }

    #[test]
    fn locations_that_cannot_work_are_refused_and_credentials_are_not_repeated() {
        for text in [
            "ssh://git:hunter2@h/r",
            "git:hunter2@h:r",
            "ssh://h",
            "ssh://h/",
            "ssh://h/r?x",
            "ssh://h/r#x",
            "ssh://-oProxyCommand=x/r",
            "-oProxyCommand=x:r",
            "h:-r",
            "ssh://h/%00",
            "ssh://h/%0a",
            "ssh://h/%zz",
            "ssh://h/a\nb",
            "h:",
            ":r",
            "[h:x]:r",
            "ssh://h:99999/r",
        ] {
            let error = Target::parse(text).expect_err(text).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
