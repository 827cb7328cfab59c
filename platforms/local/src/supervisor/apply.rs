//! Takes a manifest: checks it against what there is, and makes it what is wanted.
//!
//! Never changes anything for a manifest it refuses.

use super::requests::about;
use super::{Leave, Supervisor};
use crate::built_in::{Backups, USUAL_INSTANCES, built_in, is_built_in};
use crate::control::{Done, Effect};
use crate::failure::{Failure, Kind};
use crate::manifest::{self, Manifest};
use crate::ports;
use pgherd_agent::durable::{self, Access};
use pgherd_agent::postgres::install::Tls;
use pgherd_core::names::InstanceName;
use pgherd_core::wishes::Shall;

impl Supervisor {
    pub(super) async fn apply(
        &mut self,
        text: Option<String>,
        instances: Option<u32>,
    ) -> Result<Done, Failure> {
        let is_new = text.is_some();
        let (text, count) = self.wanted(text, instances)?;
        let read = if is_new { manifest::understand } else { manifest::kept };
        let next = read(&text, count)?.with_key_files()?;
        next.refuse_other_name(self.folder.name())?;
        let warnings = self.warnings(&next);
        let rested = self.shall() == Shall::Rest;
        let mut wishes = self.wishes.clone();
        wishes.count = count;
        let holder = self.record.as_ref().map(|record| &record.holder.instance);
        wishes.scale(self.folder.name(), next.checked.instances, holder);
        if rested {
            wishes.start_all();
        }
        if self.configuration_changes(&next) {
            wishes.reload();
        }
        if rested || self.is_down() {
            self.refuse_taken_ports(wishes.instances.keys())?;
        }
        let superuser = next.checked.postgres.superuser;
        let owner = next.checked.postgres.initdb.owner.clone();
        let unchanged = wishes == self.wishes && self.manifest.as_ref() == Some(&next) && !rested;
        self.make_repository(&next)?;
        self.keep_manifest(&text, next)?;
        let written = self.credentials.write_passfile(&owner, superuser);
        written.map_err(|error| Failure::from_error(Kind::Failed, &error))?;
        self.wishes = wishes;
        self.leave = Leave::No;
        self.register(self.registration.with_shall(Shall::Run))?;
        self.look_at_processes();
        self.instances.values_mut().for_each(super::instance::Instance::forgive);
        self.write_configs();
        self.publish()?;
        self.push_network().await?;
        let effect = if unchanged { Effect::Unchanged } else { Effect::Changed };
        Ok(Done { effect, warnings, ..about(self.wishes.belonging()) })
    }

    /// The manifest that counts from now on, and the number of instances in its stead.
    fn wanted(
        &self,
        given: Option<String>,
        instances: Option<u32>,
    ) -> Result<(String, Option<u32>), Failure> {
        if let Some(given) = given {
            return Ok((given, instances));
        }
        let kept = durable::read(&self.folder.manifest())
            .map_err(|error| Failure::from_error(Kind::Failed, &error))?;
        let kept = kept.map(|content| String::from_utf8_lossy(&content).into_owned());
        match (kept, instances) {
            (None, count) => {
                let count = count.unwrap_or(USUAL_INSTANCES);
                Ok((built_in(&self.folder, count, Backups::Kept), None))
            }
            // Ours is written anew, because what a commit waits for depends on the number, too.
            (Some(kept), Some(count)) if is_built_in(&kept) && count > 0 => {
                Ok((built_in(&self.folder, count, Backups::of(&kept)), None))
            }
            (Some(kept), count) => Ok((kept, count.or(self.wishes.count))),
        }
    }

    fn warnings(&self, manifest: &Manifest) -> Vec<String> {
        let mut warnings = manifest.warnings.clone();
        if let Some(secret) = &manifest.checked.owner_secret {
            let own = self.folder.secrets().join("app");
            warnings.push(format!(
                "there are no Secrets here: {secret} is not read, the password is in {}",
                own.display()
            ));
        }
        let was = self.specification.borrow().as_ref().map(|last| last.postgres.initdb.clone());
        if self.wishes.exists && was.is_some_and(|was| was != manifest.checked.postgres.initdb) {
            warnings.push("bootstrap.initdb has no effect on a cluster that exists".to_owned());
        }
        if self.tls == Tls::Missing {
            warnings.push(format!(
                "the PostgreSQL in {} was built without OpenSSL: connections to it are not \
                 encrypted, and stay on this machine",
                self.registration.bindir.display()
            ));
        }
        warnings
    }

    fn configuration_changes(&self, manifest: &Manifest) -> bool {
        let last = self.specification.borrow();
        last.as_ref().is_some_and(|last| {
            let (was, is) = (&last.postgres, &manifest.checked.postgres);
            was.parameters != is.parameters
                || was.hba != is.hba
                || was.ident != is.ident
                || was.superuser != is.superuser
                || was.archive.is_some() != is.archive.is_some()
        })
    }

    pub(super) fn refuse_taken_ports<'a>(
        &self,
        instances: impl Iterator<Item = &'a InstanceName>,
    ) -> Result<(), Failure> {
        for instance in instances {
            let port = self.registration.ports.postgres(instance);
            let runs = self.instances.get(instance).and_then(|it| it.processes().ok());
            if runs.is_none_or(|processes| processes.is_empty()) && !ports::is_silent(port) {
                let error = ports::PortsError::Taken { port, instance: instance.clone() };
                return Err(Failure::from_error(Kind::Refused, &error));
            }
        }
        Ok(())
    }

    /// The folder that is a new cluster's own, once. Whoever misses it later has lost what was in it.
    fn make_repository(&self, next: &Manifest) -> Result<(), Failure> {
        let archive = next.checked.postgres.archive.as_ref();
        let is_own = archive.is_some_and(|archive| self.folder.keeps(&archive.destination));
        if self.wishes.exists || !is_own {
            return Ok(());
        }
        let made = durable::create_folder(&self.folder.repository());
        made.map_err(|error| Failure::from_error(Kind::Failed, &error))
    }

    fn keep_manifest(&mut self, text: &str, manifest: Manifest) -> Result<(), Failure> {
        if self.manifest.as_ref() == Some(&manifest) {
            return Ok(());
        }
        let kept = durable::write(&self.folder.manifest(), text.as_bytes(), Access::PRIVATE);
        kept.map_err(|error| Failure::from_error(Kind::Failed, &error))?;
        self.manifest = Some(manifest);
        Ok(())
    }
}
