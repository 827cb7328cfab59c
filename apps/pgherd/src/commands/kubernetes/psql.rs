//! `pgherd psql`: becomes kubectl, which runs psql in a pod, as the superuser there.
//!
//! Never handles a password: inside the pod none is needed.

use super::place::{Place, refused};
use pgherd_kubernetes::console::View;
use pgherd_local::failure::{Failure, Kind};
use std::io::{IsTerminal, stdin};
use std::os::unix::process::CommandExt;
use std::process::Command;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    Primary,
    Replica,
}

/// Open psql on the primary, a standby, or one instance
#[derive(clap::Args)]
#[command(after_help = "\
It runs kubectl ($KUBECTL, or the one in the PATH), and takes the right to create pods/exec.

Examples:
  pgherd psql app-db
  pgherd psql app-db --role replica -- -c 'select pg_is_in_recovery()'
  pgherd psql app-db 2")]
pub(crate) struct Psql {
    #[command(flatten)]
    pub(super) place: Place,
    /// This instance, whatever it is (default: by role)
    #[arg(value_name = "INSTANCE")]
    instance: Option<String>,
    /// What the instance shall be
    #[arg(long, value_enum, default_value = "primary", conflicts_with = "instance")]
    role: Role,
    /// Arguments for psql
    #[arg(last = true, value_name = "PSQL")]
    arguments: Vec<String>,
}

impl Psql {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (instance, role) = (self.instance.clone(), self.role);
        let (pod, namespace) = self.place.with(|reached| async move {
            let view = reached.look().await?;
            let pod = match instance {
                Some(given) => view.find(&given).map_err(refused)?.to_string(),
                None => by_role(&view, role)?,
            };
            Ok((pod, reached.namespace))
        })?;
        let access = &self.place.access;
        let program = std::env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into());
        let mut command = Command::new(&program);
        command.args(access.context.iter().flat_map(|name| ["--context", name.as_str()]));
        if let Some(file) = &access.kubeconfig {
            command.arg("--kubeconfig").arg(file);
        }
        command.args(access.user.iter().flat_map(|user| ["--as", user.as_str()]));
        let terminal = if stdin().is_terminal() { "-it" } else { "-i" };
        command.args(["exec", terminal, "-n", &namespace, &pod, "-c", "postgres", "--"]);
        let error = command.args(["psql", "-U", "postgres"]).args(&self.arguments).exec();
        Err(Failure::new(Kind::Failed, format!("{} cannot be run", program.display()))
            .because(error.to_string())
            .fix("install kubectl, or say where it is: KUBECTL=/path/to/kubectl"))
    }
}

fn by_role(view: &View, role: Role) -> Result<String, Failure> {
    let primary = view.primary();
    let found = match role {
        Role::Primary => primary,
        Role::Replica => view
            .instances()
            .into_iter()
            .find(|name| view.is_ready(name) && Some(name) != primary.as_ref()),
    };
    let word = match role {
        Role::Primary => "primary",
        Role::Replica => "replica that is ready",
    };
    found.map(|name| name.to_string()).ok_or_else(|| {
        Failure::new(Kind::Refused, format!("cluster {} has no {word}", view.name))
            .fix(format!("name an instance, or see {}", view.command("explain")))
    })
}
