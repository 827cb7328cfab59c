//! Names a place in a manifest, such as `spec.externalClusters[0].name`.
//!
//! Never says what is there.

use std::fmt;

/// A place in a manifest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FieldPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Step {
    Name(String),
    Item(usize),
}

impl FieldPath {
    /// The place that names joined by dots lead to.
    pub fn of(dotted: &str) -> Self {
        Self(dotted.split('.').map(|name| Step::Name(name.to_owned())).collect())
    }

    /// The field or entry `name` of what is here.
    pub fn name(&self, name: &str) -> Self {
        self.and(Step::Name(name.to_owned()))
    }

    /// The item with this index, from 0, of the list that is here.
    pub fn item(&self, index: usize) -> Self {
        self.and(Step::Item(index))
    }

    /// Whether this place is `other` or lies within it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The places on the way to this one, outermost first, this one last.
    pub fn way(&self) -> impl Iterator<Item = Self> + '_ {
        (1..=self.0.len()).filter_map(|length| self.0.get(..length)).map(|way| Self(way.to_vec()))
    }

    fn and(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Name(name) if !plain(name) => write!(f, "[{name:?}]")?,
                Step::Name(name) if position == 0 => f.write_str(name)?,
                Step::Name(name) => write!(f, ".{name}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_as_people_write_them() {
        let path = FieldPath::of("spec.externalClusters").item(0).name("name");
        assert_eq!(path.to_string(), "spec.externalClusters[0].name");
        let path = FieldPath::of("metadata.annotations").name("cnpg.io/hibernation");
        assert_eq!(path.to_string(), r#"metadata.annotations["cnpg.io/hibernation"]"#);
    }

    #[test]
    fn a_path_lies_within_those_on_its_way() {
        let path = FieldPath::of("spec.storage.size");
        let way: Vec<_> = path.way().map(|place| place.to_string()).collect();
        assert_eq!(way, ["spec", "spec.storage", "spec.storage.size"]);
        assert!(path.way().all(|place| path.is_within(&place)));
        assert!(!path.is_within(&FieldPath::of("spec.storage.s")));
    }
}
