//! Guesses which known word a mistyped one was meant to be. Never guesses wildly.

/// Words of other tools, and what they are called here.
const SYNONYMS: &[(&str, &str)] = &[
    ("replicas", "instances"),
    ("image", "imageName"),
    ("version", "imageName"),
    ("hba", "pg_hba"),
    ("ident", "pg_ident"),
];

/// The known word that is nearest to `given`, if one is near enough to be meant.
pub(crate) fn closest<'k>(
    given: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let known: Vec<&str> = known.into_iter().collect();
    let ours = SYNONYMS.iter().find(|(other, ours)| *other == given && known.contains(ours));
    if let Some((_, ours)) = ours {
        return Some(ours);
    }
    let given = folded(given);
    let allowed = (given.len() / 4).clamp(1, 3);
    let near = known
        .iter()
        .map(|word| (distance(&given, &folded(word)), *word))
        .filter(|(distance, word)| *distance <= allowed && *distance < word.len())
        .min()
        .map(|(_, word)| word);
    let long = given.len() >= 5;
    near.or_else(|| known.into_iter().find(|word| long && folded(word).ends_with(&given)))
}

/// Case, `-` and `_` are what people mix up most; a word that differs only in them is meant.
fn folded(word: &str) -> Vec<char> {
    word.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// How many letters have to be added, removed, replaced or swapped with the next one to get from
/// one word to the other.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, have) in from.iter().enumerate() {
        let mut here = vec![row + 1];
        for (column, want) in to.iter().enumerate() {
            let at =
                |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX);
            let replaced = at(&above, column) + usize::from(have != want);
            let removed = at(&above, column + 1) + 1;
            let added = at(&here, column) + 1;
            let swaps = row > 0
                && column > 0
                && from.get(row - 1) == Some(want)
                && to.get(column - 1) == Some(have);
            let swapped = if swaps { at(&before, column - 1) + 1 } else { usize::MAX };
            here.push(replaced.min(removed).min(added).min(swapped));
        }
        before = std::mem::replace(&mut above, here);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_guessed_and_far_ones_are_not() {
        let known = ["instances", "imageName", "pg_hba", "pg_ident", "size"];
        for (given, guess) in [
            ("instnces", Some("instances")),
            ("Instances", Some("instances")),
            ("pgHba", Some("pg_hba")),
            ("pg-ident", Some("pg_ident")),
            ("sizes", Some("size")),
            ("isntances", Some("instances")),
            ("replicas", Some("instances")),
            ("padding", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(closest(given, known), guess, "{given:?}");
        }
    }

    #[test]
    fn the_distance_counts_edits() {
        let of = |from: &str, to: &str| distance(&folded(from), &folded(to));
        assert_eq!(
            [
                of("kitten", "sitting"),
                of("abc", ""),
                of("", "ab"),
                of("abc", "abc"),
                of("ab", "ba")
            ],
            [3, 3, 2, 0, 1]
        );
    }
}
