//! Names that MMDetection 3.3 and MMPretrain 1.2 register for the parts of a model: a name among them is not built here yet, any other
//! near to one is a typo.

const LIST: &str = include_str!("original.txt");

/// All names of a kind; a line of the list is a package, a kind, names.
pub(super) fn names(kind: &str) -> impl Iterator<Item = &'static str> {
    let lines = LIST
        .lines()
        .filter(move |line| line.split(' ').nth(1) == Some(kind));
    lines.flat_map(|line| line.split(' ').skip(2))
}
