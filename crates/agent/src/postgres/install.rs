//! Finds a PostgreSQL installation, and says what it can do.
//!
//! Never settles for half of one: a server without its tools fails at the first failover.

use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const OLDEST: u32 = 14;
pub const NEWEST: u32 = 18;

/// Names the folder with the programs, ahead of every search.
pub const BINDIR_VARIABLE: &str = "PGHERD_PG_BINDIR";
const DEBIAN: &str = "/usr/lib/postgresql";
const TOOLS: [&str; 6] =
    ["postgres", "initdb", "pg_basebackup", "pg_rewind", "pg_controldata", "pg_waldump"];

/// One PostgreSQL with all its tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    pub bindir: PathBuf,
    pub version: Version,
    pub tls: Tls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

/// Whether the server was built with OpenSSL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Tls {
    #[default]
    Available,
    Missing,
}

#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error(
        "no PostgreSQL {OLDEST} to {NEWEST} was found in {looked_in}: install one (Debian: apt-get install postgresql-15) or set {BINDIR_VARIABLE} to the folder that holds its programs"
    )]
    FindInstallation { looked_in: String },
    #[error(
        "{bindir:?} has no {tool}: install the whole server (Debian: apt-get install postgresql-15) or name another folder in {BINDIR_VARIABLE}"
    )]
    FindTool { bindir: PathBuf, tool: &'static str },
    #[error(
        "{bindir:?} holds PostgreSQL {major}, and only {OLDEST} to {NEWEST} are supported: install one of these (Debian: apt-get install postgresql-15) or name another folder in {BINDIR_VARIABLE}"
    )]
    AcceptVersion { bindir: PathBuf, major: u32 },
    #[error("running {program:?} to learn its version")]
    RunServer { program: PathBuf, source: io::Error },
    #[error("{program:?} did not say its version but {said:?}: is it PostgreSQL?")]
    ParseVersion { program: PathBuf, said: String },
}

impl Installation {
    /// The path of one of its programs.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.bindir.join(name)
    }
}

/// Finds the PostgreSQL to run: the folder given, or the one in [`BINDIR_VARIABLE`], or the newest
/// of Debian's, or the one in PATH.
pub fn find(bindir: Option<&Path>) -> Result<Installation, InstallError> {
    let named = bindir.map(Path::to_owned).or_else(|| {
        std::env::var_os(BINDIR_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from)
    });
    match named {
        Some(bindir) => examine(&bindir),
        None => search(Path::new(DEBIAN), std::env::var_os("PATH").as_deref()),
    }
}

fn search(debian: &Path, path: Option<&OsStr>) -> Result<Installation, InstallError> {
    let majors = (OLDEST..=NEWEST).rev().map(|major| debian.join(major.to_string()).join("bin"));
    let in_path = path.map(|path| std::env::split_paths(path).collect::<Vec<_>>());
    let mut refusal = None;
    for bindir in majors.chain(in_path.into_iter().flatten()) {
        if !bindir.join("postgres").is_file() {
            continue;
        }
        // A newer but incomplete one, as client packages leave it, must not hide a whole one.
        match examine(&bindir) {
            Ok(installation) => return Ok(installation),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    let looked_in = format!("{}/*/bin and PATH", debian.display());
    Err(refusal.unwrap_or(InstallError::FindInstallation { looked_in }))
}

fn examine(bindir: &Path) -> Result<Installation, InstallError> {
    for tool in TOOLS {
        if !bindir.join(tool).is_file() {
            return Err(InstallError::FindTool { bindir: bindir.to_owned(), tool });
        }
    }
    let program = bindir.join("postgres");
    let said = ask(&program, "--version")?;
    let version = parse_version(&said)
        .ok_or(InstallError::ParseVersion { program: program.clone(), said })?;
    if !(OLDEST..=NEWEST).contains(&version.major) {
        return Err(InstallError::AcceptVersion {
            bindir: bindir.to_owned(),
            major: version.major,
        });
    }
    let tls = parse_tls(&ask(&program, "--describe-config")?);
    Ok(Installation { bindir: bindir.to_owned(), version, tls })
}

fn ask(program: &Path, question: &str) -> Result<String, InstallError> {
    let answer = Command::new(program)
        .arg(question)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|source| InstallError::RunServer { program: program.to_owned(), source })?;
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`; a release candidate has minor 0.
fn parse_version(said: &str) -> Option<Version> {
    let number = said.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    let digits = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text.get(..end).and_then(|digits| digits.parse().ok())
    };
    let major = digits(number)?;
    let minor = number.split_once('.').and_then(|(_, minor)| digits(minor)).unwrap_or(0);
    Some(Version { major, minor })
}

/// A server built without OpenSSL has "none" for its built-in list of ciphers.
fn parse_tls(described: &str) -> Tls {
    let ciphers = described
        .lines()
        .find(|line| line.starts_with("ssl_ciphers\t"))
        .and_then(|line| line.split('\t').nth(4));
    match ciphers {
        Some("none") | None => Tls::Missing,
        Some(_) => Tls::Available,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn pretend(bindir: &Path, version: &str, without: &str) {
        std::fs::create_dir_all(bindir).unwrap();
        for tool in TOOLS.iter().filter(|tool| **tool != without) {
            let program = bindir.join(tool);
            std::fs::write(
                &program,
                format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n"),
            )
            .unwrap();
            std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn versions_are_read_from_releases_and_candidates() {
        let read = |said: &str| parse_version(said).map(|v| (v.major, v.minor));
        assert_eq!(read("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some((15, 18)));
        assert_eq!(read("postgres (PostgreSQL) 18.4"), Some((18, 4)));
        assert_eq!(read("postgres (PostgreSQL) 18rc1"), Some((18, 0)));
        assert_eq!(read("postgres (EnterpriseDB) x"), None);
    }

    #[test]
    fn the_newest_whole_installation_wins() {
        let folder = tempfile::tempdir().unwrap();
        pretend(&folder.path().join("14/bin"), "14.1", "");
        pretend(&folder.path().join("16/bin"), "16.2", "");
        pretend(&folder.path().join("17/bin"), "17.2", "pg_rewind");
        let found = search(folder.path(), None).unwrap();
        assert_eq!(found.version, Version { major: 16, minor: 2 });
    }

    #[test]
    fn path_is_searched_last() {
        let folder = tempfile::tempdir().unwrap();
        let bindir = folder.path().join("opt");
        pretend(&bindir, "15.3", "");
        let found = search(&folder.path().join("none"), Some(bindir.as_os_str())).unwrap();
        assert_eq!(found.bindir, bindir);
    }

    #[test]
    fn refusals_say_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let said = |version: &str, without: &str| {
            let bindir = folder.path().join(format!("{version}{without}"));
            pretend(&bindir, version, without);
            let refusal = examine(&bindir).unwrap_err().to_string();
            refusal.replace(folder.path().to_str().unwrap(), "")
        };
        expect_test::expect![[r#"
            "/13.5" holds PostgreSQL 13, and only 14 to 18 are supported: install one of these (Debian: apt-get install postgresql-15) or name another folder in PGHERD_PG_BINDIR
            "/19.1" holds PostgreSQL 19, and only 14 to 18 are supported: install one of these (Debian: apt-get install postgresql-15) or name another folder in PGHERD_PG_BINDIR
            "/15.1pg_rewind" has no pg_rewind: install the whole server (Debian: apt-get install postgresql-15) or name another folder in PGHERD_PG_BINDIR
            no PostgreSQL 14 to 18 was found in /none/*/bin and PATH: install one (Debian: apt-get install postgresql-15) or set PGHERD_PG_BINDIR to the folder that holds its programs"#]]
        .assert_eq(
            &[
                said("13.5", ""),
                said("19.1", ""),
                said("15.1", "pg_rewind"),
                search(Path::new("/none"), None).unwrap_err().to_string(),
            ]
            .join("\n"),
        );
    }

    #[test]
    fn a_server_without_openssl_is_recognised() {
        let line = |ciphers: &str| {
            format!("port\tx\nssl_ciphers\tsighup\tA / B\tSTRING\t{ciphers}\t\t\tSets.\t\n")
        };
        assert_eq!(parse_tls(&line("HIGH:MEDIUM:+3DES:!aNULL")), Tls::Available);
        assert_eq!(parse_tls(&line("none")), Tls::Missing);
    }
}
