//! Completes the commands that texts advise, so that they are about the cluster the text is about.
//!
//! Never changes a command that says already which cluster it means.

use crate::folder::Home;
use pgherd_core::names::ClusterName;
use std::path::Path;

/// The name of a cluster when none is given.
pub const USUAL_NAME: &str = "local";
const COMMAND: &str = "pgherd local ";

/// `text`, whose commands name the cluster in `folder` if it is not the usual one.
pub fn addressed(text: &str, folder: &Path) -> String {
    let usual = Home::usual().ok().and_then(|home| {
        let usual = ClusterName::parse(USUAL_NAME).ok()?;
        Some(home.cluster(&usual).ok()?.root().parent()?.to_owned())
    });
    let Some((name, home)) = folder.file_name().zip(folder.parent()) else {
        return text.to_owned();
    };
    let dir = (Some(home) != usual.as_deref()).then(|| quoted(&home.display().to_string()));
    complete(text, &name.to_string_lossy(), dir.as_deref())
}

fn complete(text: &str, name: &str, dir: Option<&str>) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(COMMAND) {
        let (before, command) = rest.split_at(at + COMMAND.len());
        let end = command.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(command.len());
        let (verb, after) = command.split_at(end);
        done.push_str(before);
        done.push_str(verb);
        if name != USUAL_NAME && !after.starts_with(" --name ") && verb != "list" {
            done.push_str(" --name ");
            done.push_str(name);
        }
        if let Some(dir) = dir.filter(|_| !after.contains(" --dir ")) {
            done.push_str(" --dir ");
            done.push_str(dir);
        }
        rest = after;
    }
    done + rest
}

/// As a shell takes it for one word.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%,:".contains(c);
    if path.chars().all(plain) {
        return path.to_owned();
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_about_the_same_cluster() {
        let text =
            "stopped (pgherd local start 1), or `pgherd local up --name shop`; pgherd local list";
        expect_test::expect![[r"
            stopped (pgherd local start 1), or `pgherd local up --name shop`; pgherd local list
            stopped (pgherd local start --name shop 1), or `pgherd local up --name shop`; pgherd local list
            stopped (pgherd local start --name shop --dir '/a b' 1), or `pgherd local up --dir '/a b' --name shop`; pgherd local list --dir '/a b'"]]
        .assert_eq(
            &[
                complete(text, "local", None),
                complete(text, "shop", None),
                complete(text, "shop", Some(&quoted("/a b"))),
            ]
            .join("\n"),
        );
        assert_eq!(addressed("nothing", Path::new("/srv/shop")), "nothing");
        let addressed = addressed("pgherd local down", Path::new("/nowhere/shop"));
        assert_eq!(addressed, "pgherd local down --name shop --dir /nowhere");
    }
}
