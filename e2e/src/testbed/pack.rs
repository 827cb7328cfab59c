//! Packs folders as an image: an archive that containerd, Docker, Podman and skopeo read.
//!
//! Never writes down when or by whom it was packed: the same content gives the same bytes.

use crate::run;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const WITHIN: Duration = Duration::from_mins(15);
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Who runs our own programs: nobody that a host knows.
const NOBODY: &str = "10001";

/// What an image says of itself.
#[derive(Debug, Clone)]
pub struct Image<'a> {
    pub name: &'a str,
    pub start: Start<'a>,
    pub user: &'a str,
    /// Where programs are found.
    pub path: &'a str,
    pub labels: BTreeMap<String, String>,
}

/// Which program a container of it runs.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// This one; what people add are its arguments.
    Always(&'a str),
    /// This one, unless people name another.
    Usually(&'a str),
}

/// One layer, and where it comes from.
#[derive(Debug, Clone, Copy)]
pub enum Layer<'a> {
    /// A folder, all of it root's.
    Folder(&'a Path),
    /// A folder whose files stay their owners'.
    Owned(&'a Path),
    /// The lowest layer of an image that is packed already.
    Base(&'a Path),
}

/// How layers lie in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// As they are: for nodes beside us.
    Plain,
    /// Compressed: for registries, which would do it otherwise and so give it another digest.
    Compressed,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// By which registries know the image.
    pub digest: String,
    /// How much the archive takes.
    pub archive: u64,
    /// How much its layers take on a node.
    pub unpacked: u64,
}

/// Packs a static program as an image that has nothing else in it.
pub fn program(
    program: &Path,
    archive: &Path,
    name: &str,
    labels: BTreeMap<String, String>,
    weight: Weight,
) -> Result<Packed> {
    let root = tempfile::tempdir_in(folder_of(archive)?)?;
    let own = root.path().join("pgherd");
    // Where proofs keep their book.
    fs::create_dir(root.path().join("tmp"))?;
    fs::set_permissions(root.path().join("tmp"), fs::Permissions::from_mode(0o1777))?;
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(&own).arg(program);
    run::succeed(strip, WITHIN)?;
    for path in [root.path(), &own] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    let image = Image { name, start: Start::Always("/pgherd"), user: NOBODY, path: "/", labels };
    pack(&[Layer::Folder(root.path())], archive, &image, weight)
}

/// Packs layers, the lowest first.
pub fn pack(
    layers: &[Layer<'_>],
    archive: &Path,
    image: &Image<'_>,
    weight: Weight,
) -> Result<Packed> {
    let place = tempfile::tempdir_in(folder_of(archive)?)?;
    let whole = place.path().join("whole");
    let blobs = Blobs(whole.join("blobs/sha256"));
    fs::create_dir_all(&blobs.0)?;
    let (mut ids, mut described, mut unpacked) = (Vec::new(), Vec::new(), 0);
    for layer in layers {
        let plain = write(*layer, place.path())?;
        unpacked += fs::metadata(&plain)?.len();
        ids.push(format!("sha256:{}", digest(&plain)?));
        described.push(match weight {
            Weight::Plain => blobs.take(&plain, LAYER)?,
            Weight::Compressed => blobs.take(&compress(&plain)?, &format!("{LAYER}+gzip"))?,
        });
    }
    let config = blobs.write(&config(image, &ids), CONFIG)?;
    // What Docker reads, beside what all others do.
    let of_docker = json!([{
        "Config": path_of(&config)?,
        "RepoTags": [image.name],
        "Layers": described.iter().map(path_of).collect::<Result<Vec<_>>>()?,
    }]);
    let manifest = blobs.write(
        &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": described}),
        MANIFEST,
    )?;
    fs::write(whole.join("index.json"), index(image, &manifest).to_string())?;
    fs::write(whole.join("manifest.json"), of_docker.to_string())?;
    fs::write(whole.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
    let unfinished = place.path().join("image");
    let mut tar = tar(&unfinished, &whole);
    tar.args(["--owner=0", "--group=0", "--mode=u=rwX,go=rX"]);
    tar.args(["blobs", "index.json", "manifest.json", "oci-layout"]);
    run::succeed(tar, WITHIN)?;
    fs::rename(&unfinished, archive)?;
    let digest = manifest.get("digest").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Packed { digest, archive: fs::metadata(archive)?.len(), unpacked })
}

fn config(image: &Image<'_>, ids: &[String]) -> Value {
    let (start, program) = match image.start {
        Start::Always(program) => ("Entrypoint", program),
        Start::Usually(program) => ("Cmd", program),
    };
    let history: Vec<_> = ids.iter().map(|_| json!({"created": "1970-01-01T00:00:00Z"})).collect();
    json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {
            start: [program],
            "User": image.user,
            "Env": [format!("PATH={}", image.path)],
            "Labels": image.labels,
        },
        "rootfs": {"type": "layers", "diff_ids": ids},
        "history": history,
    })
}

/// Where to begin to read, and under which name.
fn index(image: &Image<'_>, manifest: &Value) -> Value {
    let tag = image.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    let mut manifest = manifest.clone();
    if let Some(fields) = manifest.as_object_mut() {
        let names = json!({
            "io.containerd.image.name": image.name,
            "org.opencontainers.image.ref.name": tag,
        });
        fields.insert("annotations".to_owned(), names);
    }
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]})
}

/// The files of an image, each under its digest.
struct Blobs(PathBuf);

impl Blobs {
    /// Takes a file, and says how others refer to it.
    fn take(&self, file: &Path, kind: &str) -> Result<Value> {
        let (digest, size) = (digest(file)?, fs::metadata(file)?.len());
        fs::rename(file, self.0.join(&digest))?;
        Ok(json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": size}))
    }

    fn write(&self, value: &Value, kind: &str) -> Result<Value> {
        let file = self.0.join("unfinished");
        fs::write(&file, value.to_string())?;
        self.take(&file, kind)
    }
}

/// Where a file lies in the archive, from how others refer to it.
fn path_of(described: &Value) -> Result<String> {
    let digest = described.get("digest").and_then(Value::as_str);
    let hash = digest.and_then(|digest| digest.strip_prefix("sha256:"));
    Ok(format!("blobs/sha256/{}", hash.context("a file of the image has no digest")?))
}

/// Writes the layer as an archive of its own, in the place.
fn write(layer: Layer<'_>, place: &Path) -> Result<PathBuf> {
    let file = place.join("layer.tar");
    let command = match layer {
        Layer::Folder(root) => {
            let mut tar = tar(&file, root);
            tar.args(["--owner=0", "--group=0", "."]);
            tar
        }
        Layer::Owned(root) => {
            let mut tar = tar(&file, root);
            tar.arg(".");
            tar
        }
        Layer::Base(archive) => {
            let name = lowest(archive)?;
            let mut tar = Command::new("tar");
            tar.arg("--extract").arg("--file").arg(archive).arg("--directory").arg(place);
            tar.arg(&name);
            run::succeed(tar, WITHIN)?;
            fs::rename(place.join(name), &file)?;
            return Ok(file);
        }
    };
    run::succeed(command, WITHIN)?;
    Ok(file)
}

/// tar in one order, without times and names.
fn tar(file: &Path, folder: &Path) -> Command {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--format=gnu", "--numeric-owner", "--sort=name", "--mtime=@0"]);
    tar.arg("--file").arg(file).arg("--directory").arg(folder);
    tar
}

/// The name of the lowest layer in an archive.
fn lowest(archive: &Path) -> Result<String> {
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--to-stdout", "--file"]).arg(archive).arg("manifest.json");
    let said = run::succeed(tar, WITHIN)?;
    let manifest: Value = serde_json::from_str(&said)?;
    let layer = manifest.pointer("/0/Layers/0").and_then(Value::as_str).map(str::to_owned);
    layer.with_context(|| format!("{} names no layer", archive.display()))
}

fn compress(file: &Path) -> Result<PathBuf> {
    let mut gzip = Command::new("gzip");
    gzip.args(["--no-name", "--best", "--force"]).arg(file);
    run::succeed(gzip, WITHIN)?;
    Ok(file.with_extension("tar.gz"))
}

fn digest(file: &Path) -> Result<String> {
    let mut command = Command::new("sha256sum");
    command.arg(file);
    let said = run::succeed(command, WITHIN)?;
    said.split_whitespace().next().map(str::to_owned).context("sha256sum said nothing")
}

/// Where the archive will lie: what is unfinished lies there, too, and is moved.
fn folder_of(archive: &Path) -> Result<PathBuf> {
    let archive = std::path::absolute(archive)?;
    let folder = archive.parent().context("an archive needs the name of a file")?.to_path_buf();
    if !folder.is_dir() {
        bail!("there is no folder {}: create it, or name another file", folder.display());
    }
    Ok(folder)
}

#[cfg(test)]
mod tests;
