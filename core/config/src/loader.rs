//! How configs reach files: a trait that a native program, a browser and a test each fulfil.

use super::unreadable::Unreadable;
use std::collections::BTreeMap;
use std::fmt;

/// Why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// There is no such file.
    NotFound,
    /// The file is larger than a config may be.
    TooLarge,
    /// It is no text, or none in UTF-8.
    Unreadable(Unreadable),
    /// Anything else, in words.
    Other(String),
}

impl LoadError {
    /// What to do about it, where that can be said.
    pub fn help(&self) -> Option<&str> {
        match self {
            LoadError::Unreadable(found) => Some(&found.help),
            _ => None,
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::NotFound => f.write_str("there is no such file"),
            LoadError::TooLarge => write!(f, "it is larger than {LARGEST} bytes"),
            LoadError::Unreadable(found) => f.write_str(&found.what),
            LoadError::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for LoadError {}

/// Largest config file, in bytes.
pub const LARGEST: usize = 8 << 20;

/// Reads config files. Paths have `/` between their parts.
pub trait Loader {
    /// The text of a file.
    fn read(&self, path: &str) -> Result<String, LoadError>;

    /// Names in a folder, folders with a `/` at the end; used only to suggest a file for a wrong `_base_`.
    fn list(&self, folder: &str) -> Vec<String> {
        let _ = folder;
        Vec::new()
    }

    /// Folders in which the package of `name::path` bases may lie, best first. Within each, `.mim/configs/path`,
    /// `name/.mim/configs/path`, `configs/path` and `path` are tried.
    fn package(&self, name: &str) -> Vec<String> {
        let _ = name;
        Vec::new()
    }

    /// An environment variable, for `{{$NAME:default}}`. A browser has none.
    ///
    /// # Errors
    /// It is set, but why its value is no text.
    fn env(&self, name: &str) -> Result<Option<String>, String> {
        let _ = name;
        Ok(None)
    }

    /// The absolute form of a path, for `{{fileDirname}}`.
    fn absolute(&self, path: &str) -> String {
        path.to_owned()
    }
}

/// Files held in memory: for a browser, and for tests.
#[derive(Clone, Debug, Default)]
pub struct MapLoader {
    /// Path to text.
    pub files: BTreeMap<String, String>,
    /// Package name to folder.
    pub packages: BTreeMap<String, String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
}

impl MapLoader {
    /// A loader of these files.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let own = |(path, text): (&str, &str)| (path.to_owned(), text.to_owned());
        Self {
            files: files.into_iter().map(own).collect(),
            ..Self::default()
        }
    }
}

impl Loader for MapLoader {
    fn read(&self, path: &str) -> Result<String, LoadError> {
        let text = self.files.get(path).ok_or(LoadError::NotFound)?;
        if text.len() > LARGEST {
            return Err(LoadError::TooLarge);
        }
        Ok(text.clone())
    }

    fn list(&self, folder: &str) -> Vec<String> {
        let prefix = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        let mut names: Vec<String> = Vec::new();
        for path in self.files.keys() {
            let Some(rest) = path.strip_prefix(&prefix) else {
                continue;
            };
            let name = match rest.split_once('/') {
                Some((folder, _)) => format!("{folder}/"),
                None => rest.to_owned(),
            };
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        names
    }

    fn package(&self, name: &str) -> Vec<String> {
        self.packages.get(name).cloned().into_iter().collect()
    }

    fn env(&self, name: &str) -> Result<Option<String>, String> {
        Ok(self.env.get(name).cloned())
    }
}

/// The folder of a path, without a `/` at its end.
pub(crate) fn folder(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) => "/",
        Some(i) => &path[..i],
        None => "",
    }
}

/// `path` seen from `folder`, without `.` and `..` where they can be resolved.
pub(crate) fn join(folder: &str, path: &str) -> String {
    let joined = if path.starts_with('/') || folder.is_empty() {
        path.to_owned()
    } else {
        format!("{folder}/{path}")
    };
    let absolute = joined.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    let text = parts.join("/");
    if absolute { format!("/{text}") } else { text }
}

/// How a file in `folder` would name `path`: `../_base_/x.py`.
pub(crate) fn relative(folder: &str, path: &str) -> String {
    let from: Vec<&str> = folder.split('/').filter(|p| !p.is_empty()).collect();
    let to: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    if from[same..].contains(&"..") {
        return path.to_owned();
    }
    let up = from.len() - same;
    let start = if up == 0 {
        "./".to_owned()
    } else {
        "../".repeat(up)
    };
    start + &to[same..].join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_and_shown_relative() {
        assert_eq!(join("a/b", "../c/./d.py"), "a/c/d.py");
        assert_eq!(join("", "../x"), "../x");
        assert_eq!(join("..", "../x"), "../../x");
        assert_eq!(join("/a", "../../x"), "/x");
        assert_eq!(join("a", "/x"), "/x");
        assert_eq!(relative("a/b", "a/c/d.py"), "../c/d.py");
        assert_eq!(relative("a/b", "a/b/d.py"), "./d.py");
        assert_eq!(
            (folder("a/b.py"), folder("b.py"), folder("/b.py")),
            ("a", "", "/")
        );
    }

    #[test]
    fn a_map_lists_like_a_folder() {
        let loader = MapLoader::new([
            ("a/x.py", ""),
            ("a/b/y.py", ""),
            ("a/b/z.py", ""),
            ("c.py", ""),
        ]);
        assert_eq!(loader.list("a"), ["b/", "x.py"]);
        assert_eq!(loader.list(""), ["a/", "c.py"]);
        assert_eq!(loader.read("d.py"), Err(LoadError::NotFound));
    }
}
