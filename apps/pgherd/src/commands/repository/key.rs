//! `pgherd repository key`: makes a key for a repository that is to be encrypted.
//!
//! Never prints a key, never writes over a file that is there, and never leaves half of one.

use super::super::output::{Output, remark, say_either};
use jiff::Timestamp;
use pgherd_agent::durable::{self, Access};
use pgherd_backup::encryption::{KeyId, NewKey};
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::key_file;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Make a key, in a file that only its owner can read
#[derive(clap::Args)]
#[command(after_help = "\
Keep a copy of the file where neither the cluster nor the store is: without it nothing that was encrypted
can be read again, by anybody. The annotation pgherd.dev/repositoryKey of a Cluster names it: the path
in local mode, the Secret and its entry on Kubernetes.

Examples:
  pgherd repository key /etc/pgherd/repository.key
  pgherd repository key /etc/pgherd/repository.key --rotate
  kubectl create secret generic repository --from-file=key=/etc/pgherd/repository.key")]
pub(super) struct Key {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Put a new key before those in the file, which still open what they encrypted
    #[arg(long)]
    rotate: bool,
    /// How to write the result
    #[arg(long, short, value_name = "FORM", default_value = "text")]
    pub(super) output: Output,
}

impl Key {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let path = &self.file;
        let new = NewKey::draw().map_err(|error| Failure::from_error(Kind::Failed, &error))?;
        let line = entry(&new);
        if self.rotate {
            let before = key_file::read(path)?;
            let all = [line.as_bytes(), &before].concat();
            // More keys than can be read are told before anything is written.
            pgherd_agent::archive::check_key(&all).map_err(|error| self.refused(&error))?;
            // Whose it was, when root does this for somebody.
            let owner = path.metadata().map_err(|error| self.refused(&error))?;
            let access = Access::PRIVATE.owned_by(owner.uid(), owner.gid());
            durable::write(path, &all, access).map_err(|error| self.refused(&error))?;
        } else {
            make(path, line.as_bytes()).map_err(|error| self.refused(&error))?;
        }
        self.tell(new.id)
    }

    fn tell(&self, id: KeyId) -> Result<(), Failure> {
        let path = self.file.display();
        let sentence = if self.rotate {
            format!(
                "key {id} is the first one in {path}: the others still open what they encrypted"
            )
        } else {
            format!("key {id} is in {path}")
        };
        let document = serde_json::json!({ "key": id.to_string(), "file": self.file });
        say_either(self.output, &sentence, &document)?;
        remark(
            "keep a copy of it elsewhere: without it nothing that it encrypts can be read again",
        );
        Ok(())
    }

    fn refused(&self, error: &(impl std::error::Error + 'static)) -> Failure {
        let what = format!("no key was written to {}", self.file.display());
        let failure = Failure::new(Kind::Refused, what).because(error.to_string());
        if self.file.exists() && !self.rotate {
            failure.fix("name a file that is not there, or put a new key before it with --rotate")
        } else {
            failure
        }
    }
}

/// With what tells people which key it is.
fn entry(new: &NewKey) -> String {
    let made = Timestamp::now().strftime("%Y-%m-%d");
    format!("# {} made {made} by pgherd\n{}\n", new.id, *new.line)
}

/// Writes a file that was not there, durably.
fn make(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a key would be taken for one that was damaged later.
        let _left = std::fs::remove_file(path).is_err();
        return Err(error);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_backup::encryption::Keyring;

    #[test]
    fn a_key_is_made_once_and_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("repository.key");
        let run = |rotate: bool| Key { file: file.clone(), rotate, output: Output::Json }.run();
        let ids = || Keyring::parse(&std::fs::read(&file).unwrap()).unwrap().ids();
        assert!(run(true).is_err());
        run(false).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o600);
        let first = ids();
        let refused = run(false).unwrap_err();
        assert!(refused.fix.unwrap().contains("--rotate"));
        assert_eq!(ids(), first);
        run(true).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o600);
        assert_eq!((ids().len(), ids().last()), (2, first.last()));
    }
}
