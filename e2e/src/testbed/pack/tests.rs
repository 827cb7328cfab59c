//! Packs a real program, and reads the archive as others do.

use super::*;
use expect_test::expect;
use std::fs::read;

const PROGRAM: &str = "/bin/true";

fn packed(place: &Path, weight: Weight) -> (PathBuf, Packed) {
    let archive = place.join("image.tar");
    let labels = [("org.opencontainers.image.version".to_owned(), "1".to_owned())].into();
    let name = "registry.example/pgherd:1";
    let packed = program(Path::new(PROGRAM), &archive, name, labels, weight).unwrap();
    (archive, packed)
}

fn said(mut command: Command, words: &[&str], file: &Path) -> String {
    command.env("TZ", "UTC").args(words).arg(file);
    run::succeed(command, WITHIN).unwrap()
}

/// Follows a reference, and proves that it refers to these bytes.
fn follow(whole: &Path, described: &Value) -> PathBuf {
    let file = whole.join(path_of(described).unwrap());
    let found = format!("sha256:{}", digest(&file).unwrap());
    assert_eq!(described["digest"], found);
    assert_eq!(described["size"], fs::metadata(&file).unwrap().len());
    file
}

fn parse(file: &Path) -> Value {
    serde_json::from_slice(&read(file).unwrap()).unwrap()
}

#[test]
fn the_same_program_gives_the_same_bytes() {
    for weight in [Weight::Plain, Weight::Compressed] {
        let places = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, other] = places.each_ref().map(|place| packed(place.path(), weight));
        assert_eq!(one.1, other.1);
        assert_eq!(read(one.0).unwrap(), read(other.0).unwrap());
    }
}

#[test]
fn what_refers_to_what_is_right() {
    let place = tempfile::tempdir().unwrap();
    let (archive, packed) = packed(place.path(), Weight::Compressed);
    let whole = place.path().join("whole");
    fs::create_dir(&whole).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("--directory").arg(&whole);
    said(tar, &["--extract", "--file"], &archive);

    let index = parse(&whole.join("index.json"));
    assert_eq!(index["manifests"][0]["digest"], packed.digest);
    expect![[r#"{"io.containerd.image.name":"registry.example/pgherd:1","org.opencontainers.image.ref.name":"1"}"#]]
        .assert_eq(&index["manifests"][0]["annotations"].to_string());
    let manifest = parse(&follow(&whole, &index["manifests"][0]));
    let config = parse(&follow(&whole, &manifest["config"]));
    expect![[r#"{"Entrypoint":["/pgherd"],"Env":["PATH=/"],"Labels":{"org.opencontainers.image.version":"1"},"User":"10001"}"#]]
        .assert_eq(&config["config"].to_string());

    let of_docker = parse(&whole.join("manifest.json"));
    assert_eq!(of_docker[0]["RepoTags"][0], "registry.example/pgherd:1");
    assert_eq!(of_docker[0]["Config"], path_of(&manifest["config"]).unwrap());
    assert_eq!(of_docker[0]["Layers"][0], path_of(&manifest["layers"][0]).unwrap());

    let layer = follow(&whole, &manifest["layers"][0]);
    let plain = place.path().join("layer.tar");
    fs::write(&plain, {
        let mut gzip = Command::new("gzip");
        gzip.args(["--decompress", "--stdout"]).arg(&layer);
        gzip.output().unwrap().stdout
    })
    .unwrap();
    assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", digest(&plain).unwrap()));
    assert_eq!(packed.unpacked, fs::metadata(&plain).unwrap().len());
    let listed =
        said(Command::new("tar"), &["--list", "--verbose", "--numeric-owner", "--file"], &plain);
    let columns = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        format!("{} {} {} {}\n", words[0], words[1], words[3], words[5])
    };
    expect![[r#"
        drwxr-xr-x 0/0 1970-01-01 ./
        -rwxr-xr-x 0/0 1970-01-01 ./pgherd
        drwxrwxrwt 0/0 1970-01-01 ./tmp/
    "#]]
    .assert_eq(&listed.lines().map(columns).collect::<String>());
}

#[test]
fn a_layer_of_another_image_stays_what_it_is() {
    let place = tempfile::tempdir().unwrap();
    let (base, _) = packed(place.path(), Weight::Plain);
    let above = place.path().join("above");
    fs::create_dir(&above).unwrap();
    fs::write(above.join("file"), "of the second layer").unwrap();
    let image = Image {
        name: "localhost/two:1",
        start: Start::Always("/pgherd"),
        user: "1",
        path: "/",
        labels: BTreeMap::new(),
    };
    let archive = place.path().join("two.tar");
    pack(&[Layer::Base(&base), Layer::Folder(&above)], &archive, &image, Weight::Plain).unwrap();
    assert_eq!(lowest(&archive).unwrap(), lowest(&base).unwrap());
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let archive = Path::new("/nowhere/image.tar");
    let refused = program(Path::new(PROGRAM), archive, "a:1", BTreeMap::new(), Weight::Plain);
    expect!["there is no folder /nowhere: create it, or name another file"]
        .assert_eq(&refused.unwrap_err().to_string());
}
