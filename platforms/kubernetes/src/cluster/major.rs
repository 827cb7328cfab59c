//! Keeps an image of another major version of PostgreSQL away from data that exists.
//!
//! Never guesses a version: an image whose tag does not tell one is taken as it is.

use super::manifests::Blueprint;
use pgherd_api::cluster::status::ImageInfo;
use std::ops::Range;

const VERSIONS: Range<i64> = 10..100;

/// The image and the major version that the data belongs to, once there is data.
pub(super) fn of_data(blueprint: &Blueprint<'_>) -> Option<ImageInfo> {
    let known = noted(blueprint).cloned();
    let image = blueprint.image().to_owned();
    match (known, version(blueprint)) {
        (Some(known), _) => Some(ImageInfo { image, ..known }),
        (None, Some(major_version)) => {
            Some(ImageInfo { image, major_version, extensions: Vec::new() })
        }
        (None, None) => None,
    }
}

/// The blueprint with the image that can read the data; and why it is not the one that is written,
/// if it is not.
pub(super) fn hold(blueprint: Blueprint<'_>) -> (Blueprint<'_>, Option<String>) {
    let refusal = refusal(&blueprint);
    let held = noted(&blueprint).filter(|_| refusal.is_some());
    (Blueprint { held_image: held.map(|data| data.image.as_str()), ..blueprint }, refusal)
}

fn refusal(blueprint: &Blueprint<'_>) -> Option<String> {
    let data = noted(blueprint)?;
    let (has, image) = (data.major_version, &data.image);
    let wanted = version(blueprint).filter(|wanted| *wanted != has)?;
    let place = match blueprint.cluster.spec.image_catalog_ref {
        Some(_) => "spec.imageCatalogRef.major",
        None => "spec.imageName",
    };
    let why = if wanted < has {
        "an older one cannot read it"
    } else {
        "it is not upgraded to another one yet"
    };
    Some(format!(
        "{place} asks for PostgreSQL {wanted}, and the data belongs to {has}: {why}: write an image \
         of {has}; meanwhile {image} runs on"
    ))
}

fn noted<'a>(blueprint: &Blueprint<'a>) -> Option<&'a ImageInfo> {
    blueprint.cluster.status.as_ref()?.pg_data_image_info.as_ref()
}

/// A tag may begin with a number that is no version of PostgreSQL, such as a year.
fn version(blueprint: &Blueprint<'_>) -> Option<i64> {
    blueprint.major()?.parse().ok().filter(|major| VERSIONS.contains(major))
}

#[cfg(test)]
mod tests {
    use super::super::manifests::fixtures::Sample;
    use super::*;
    use expect_test::expect;

    fn told(image: &str, known: Option<(&str, i64)>) -> String {
        let mut sample = Sample::spec(&format!("imageName: {image}\nstorage: {{size: 1Gi}}"));
        if let Some((image, major_version)) = known {
            let image = image.to_owned();
            let info = ImageInfo { image, major_version, extensions: Vec::new() };
            sample.cluster.status.get_or_insert_default().pg_data_image_info = Some(info);
        }
        sample.made(|blueprint| {
            let (held, refusal) = hold(*blueprint);
            let data = of_data(&held).map(|it| format!("{} ({})", it.image, it.major_version));
            let data = data.unwrap_or_else(|| "unknown".to_owned());
            format!("{} for data of {data}: {}\n", held.image(), refusal.unwrap_or_default())
        })
    }

    #[test]
    fn another_major_version_never_meets_the_data() {
        let has = Some(("pg:16.2", 16));
        let told = [
            told("pg:16.2", None),
            told("pg:latest", None),
            told("pg:2026.1", None),
            told("pg:16.9", has),
            told("pg:latest", has),
            told("pg:15.7", has),
            told("pg:17.1", has),
        ];
        expect![[r#"
            pg:16.2 for data of pg:16.2 (16): 
            pg:latest for data of unknown: 
            pg:2026.1 for data of unknown: 
            pg:16.9 for data of pg:16.9 (16): 
            pg:latest for data of pg:latest (16): 
            pg:16.2 for data of pg:16.2 (16): spec.imageName asks for PostgreSQL 15, and the data belongs to 16: an older one cannot read it: write an image of 16; meanwhile pg:16.2 runs on
            pg:16.2 for data of pg:16.2 (16): spec.imageName asks for PostgreSQL 17, and the data belongs to 16: it is not upgraded to another one yet: write an image of 16; meanwhile pg:16.2 runs on
        "#]]
        .assert_eq(&told.concat());
    }
}
