//! Starts programs that stay when the command has ended, and finds them again.
//!
//! Never takes another process for one of ours: an id is only believed with its time of start.

use super::layout::Layout;
use crate::wait;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const DEAD_WITHIN: Duration = Duration::from_secs(20);
const BEGUN_WITHIN: Duration = Duration::from_secs(10);

/// Becomes the program of `$2` and what follows, in a session of its own, having written into the file
/// `$1` which process that is. What the caller had open stays the caller's: locks and pipes end with
/// it.
const BECOME: &str = r#"
for open in /proc/$$/fd/*; do
  number=${open##*/}
  if [ "$number" -gt 2 ]; then eval "exec $number>&-"; fi
done
stat=$(</proc/$$/stat)
fields=(${stat##*") "})
note=$1
shift
printf '%s %s' "$$" "${fields[19]}" >"$note.new" && mv "$note.new" "$note" && exec setsid "$@"
"#;

/// Starts `command` in the background under this name. It is noted before it does anything, by
/// itself: whoever started it may be killed at any moment.
pub(super) fn start(layout: &Layout, name: &str, command: &Command) -> Result<()> {
    let path = layout.log(&format!("{name}.log"));
    let log = File::options().create(true).append(true).open(&path);
    let log = log.with_context(|| format!("opening {}", path.display()))?;
    let mut itself = Command::new("bash");
    itself.args(["-c", BECOME, "bash"]).arg(layout.process(name));
    itself.arg(command.get_program()).args(command.get_args());
    for (variable, value) in command.get_envs() {
        match value {
            Some(value) => itself.env(variable, value),
            None => itself.env_remove(variable),
        };
    }
    // Whoever called us must not wait for the end of what they hear us through.
    itself.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut child = itself.spawn().with_context(|| format!("starting {name}"))?;
    wait::until(&format!("{name} to begin"), BEGUN_WITHIN, || {
        if let Some(ended) = child.try_wait()? {
            bail!("{name} ended at once with {ended}: see {}", path.display());
        }
        Ok(find(layout, name)?.is_some())
    })
}

/// Its process, if it runs.
pub(super) fn find(layout: &Layout, name: &str) -> Result<Option<Pid>> {
    let path = layout.process(name);
    if !path.exists() {
        return Ok(None);
    }
    let noted = fs::read_to_string(&path)?;
    let noted = noted.split_once(' ').context("an odd note of a process")?;
    let id: u32 = noted.0.parse()?;
    if started(id).is_none_or(|started| started != noted.1) {
        return Ok(None);
    }
    Ok(Pid::from_raw(i32::try_from(id)?))
}

/// Kills it, without waiting for its end.
pub(super) fn signal(layout: &Layout, name: &str) -> Result<()> {
    if let Some(process) = find(layout, name)? {
        kill_process(process, Signal::KILL)?;
    }
    Ok(())
}

/// Kills it, and waits until it is gone.
pub(super) fn kill(layout: &Layout, name: &str) -> Result<()> {
    signal(layout, name)?;
    wait::until(&format!("the end of {name}"), DEAD_WITHIN, || Ok(find(layout, name)?.is_none()))
}

/// When the process was started, in the kernel's words; none if it is dead.
fn started(id: u32) -> Option<String> {
    let stat = fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    // Whoever is only waiting to be reaped has ended.
    (state != "Z").then(|| fields.nth(18).map(str::to_owned))?
}
