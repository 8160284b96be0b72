//! Paths of data sets, put together as mmengine does: text with `/`, not the system's own form, so that they mean the same everywhere.

/// `os.path.join`.
pub(crate) fn join(folder: &str, path: &str) -> String {
    if folder.is_empty() || path.starts_with('/') || has_drive(path) {
        return path.to_owned();
    }
    let slash = if folder.ends_with(['/', '\\']) {
        ""
    } else {
        "/"
    };
    format!("{folder}{slash}{path}")
}

/// Whether a path does not continue `data_root` (mmengine's `is_abs`).
pub(super) fn is_absolute(path: &str) -> bool {
    let schemes = ["/", "http://", "https://", "s3://"];
    schemes.iter().any(|s| path.starts_with(s)) || has_drive(path)
}

/// `data_root` and a path below it (mmengine's `BaseDataset._join_prefix`).
pub(super) fn below(root: &str, path: &str) -> String {
    if root.is_empty() || is_absolute(path) {
        path.to_owned()
    } else {
        join(root, path)
    }
}

fn has_drive(path: &str) -> bool {
    let mut chars = path.chars();
    let letter = chars.next().is_some_and(|c| c.is_ascii_alphabetic());
    letter && chars.next() == Some(':') && matches!(chars.next(), Some('/' | '\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_as_python_does() {
        assert_eq!(join("a/b", "c.jpg"), "a/b/c.jpg");
        assert_eq!(join("a/b/", "c.jpg"), "a/b/c.jpg");
        assert_eq!(join("", "c.jpg"), "c.jpg");
        assert_eq!(join("a", "/c.jpg"), "/c.jpg");
        assert_eq!(below("data/coco", ""), "data/coco/");
        assert_eq!(below("", "train/"), "train/");
        assert_eq!(below("data", "s3://x/y"), "s3://x/y");
        assert_eq!(below("data", "C:\\x"), "C:\\x");
    }
}
