//! Config files on disk, for native programs.
#![cfg(not(target_arch = "wasm32"))]

use crate::config::{LARGEST, LoadError, Loader, unreadable_text};
use std::fs;
use std::path::{Path, PathBuf};

/// Reads configs from the file system, and the environment.
#[derive(Clone, Debug, Default)]
pub struct ConfigFiles {
    /// Where packages lie, as told: name and folder.
    packages: Vec<(String, PathBuf)>,
}

/// Names under which the configs of a package are known, beside its own: pip's name for it.
const OTHER_NAMES: [(&str, &str); 2] = [("mmseg", "mmsegmentation"), ("mmaction", "mmaction2")];

impl ConfigFiles {
    /// A loader that knows no packages but those of the environment.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says where the configs of `name::path` bases lie: the folder of an unpacked wheel, of the package within it, of a
    /// checkout, or of the configs themselves.
    pub fn with_package(mut self, name: impl Into<String>, folder: impl Into<PathBuf>) -> Self {
        self.packages.push((name.into(), folder.into()));
        self
    }

    /// Reads `NAME=DIR`, as the command line has it.
    pub fn with_package_argument(self, argument: &str) -> Result<Self, String> {
        match argument.split_once('=') {
            Some((name, folder)) if !name.is_empty() && !folder.is_empty() => {
                if !Path::new(folder).is_dir() {
                    return Err(format!("`{folder}` of `--package {argument}` is no folder"));
                }
                Ok(self.with_package(name, folder))
            }
            _ => Err(format!(
                "`--package {argument}`: write NAME=DIR, for example mmpretrain=/path/to/mmpretrain"
            )),
        }
    }

    /// Folders of packages installed in an active virtual environment.
    fn site_packages() -> Vec<PathBuf> {
        let Some(root) = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from) else {
            return Vec::new();
        };
        let mut folders = vec![root.join("Lib").join("site-packages")];
        for entry in fs::read_dir(root.join("lib"))
            .into_iter()
            .flatten()
            .flatten()
        {
            folders.push(entry.path().join("site-packages"));
        }
        folders
    }
}

impl Loader for ConfigFiles {
    fn read(&self, path: &str) -> Result<String, LoadError> {
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => LoadError::NotFound,
            _ => LoadError::Other(error.to_string()),
        };
        let meta = fs::metadata(path).map_err(failed)?;
        // A pipe or device may never end.
        if !meta.is_file() {
            return Err(if meta.is_dir() {
                LoadError::Other("it is a folder".into())
            } else {
                LoadError::Other("it is no regular file".into())
            });
        }
        if meta.len() > LARGEST as u64 {
            return Err(LoadError::TooLarge);
        }
        let bytes = fs::read(path).map_err(failed)?;
        String::from_utf8(bytes).map_err(|error| match unreadable_text(error.as_bytes()) {
            Some(found) => LoadError::Unreadable(found),
            None => LoadError::Other("it ends within a character of UTF-8".into()),
        })
    }

    fn list(&self, folder: &str) -> Vec<String> {
        let folder = if folder.is_empty() { "." } else { folder };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .take(50_000)
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                // Links to folders are not followed, so that a search ends.
                let is_folder = entry.file_type().ok()?.is_dir();
                Some(if is_folder { name + "/" } else { name })
            })
            .collect();
        names.sort();
        names
    }

    fn package(&self, name: &str) -> Vec<String> {
        let pip_name = OTHER_NAMES
            .iter()
            .find(|(n, _)| *n == name)
            .map_or(name, |(_, p)| p);
        let told = self
            .packages
            .iter()
            .filter(|(n, _)| n == name || n == pip_name);
        let mut folders: Vec<PathBuf> = told.map(|(_, folder)| folder.clone()).collect();
        // NAME=DIR entries, separated as PATH is.
        if let Some(list) = std::env::var_os("SMALTI_PACKAGES") {
            for entry in std::env::split_paths(&list) {
                let entry = entry.to_string_lossy().into_owned();
                match entry.split_once('=') {
                    Some((n, folder)) if n == name => folders.push(folder.into()),
                    Some(_) => {}
                    None => folders.push(Path::new(&entry).join(name)),
                }
            }
        }
        folders.extend(
            Self::site_packages()
                .into_iter()
                .map(|site| site.join(name)),
        );
        folders.retain(|f| f.is_dir());
        folders
            .into_iter()
            .filter_map(|f| Some(slashes(f.to_str()?)))
            .collect()
    }

    fn env(&self, name: &str) -> Result<Option<String>, String> {
        use std::env::VarError;
        match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(value)) => {
                let bytes = value.as_encoded_bytes();
                let at = std::str::from_utf8(bytes).map_or_else(|e| e.valid_up_to(), str::len);
                let byte = bytes.get(at).copied().unwrap_or_default();
                Err(format!(
                    "its value is not UTF-8 (byte 0x{byte:02X} at offset {at})"
                ))
            }
        }
    }

    fn absolute(&self, path: &str) -> String {
        let absolute = std::path::absolute(path);
        absolute
            .ok()
            .and_then(|p| Some(slashes(p.to_str()?)))
            .unwrap_or_else(|| path.to_owned())
    }
}

/// Paths of configs have `/` on every system.
fn slashes(path: &str) -> String {
    if cfg!(windows) {
        path.replace('\\', "/")
    } else {
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn loads_a_chain_from_disk_and_names_the_nearest_file() {
        let root = std::env::temp_dir().join(format!("smalti-config-files-{}", std::process::id()));
        let pkg = root.join("site/mmfoo/.mim/configs/_base_");
        fs::create_dir_all(&pkg).unwrap();
        fs::create_dir_all(root.join("_base_")).unwrap();
        fs::write(
            root.join("_base_/model.py"),
            "model = dict(type='A', depth=1)\n",
        )
        .unwrap();
        fs::write(pkg.join("run.py"), "hook = dict(type='H')\n").unwrap();
        let child = "_base_ = ['./_base_/model.py', 'mmfoo::_base_/run.py']\nmodel = dict(depth=2)\nhere = '{{fileDirname}}'\n";
        fs::write(root.join("a.py"), child).unwrap();
        fs::write(root.join("b.py"), "_base_ = '_base_/modle.py'\n").unwrap();
        let files = ConfigFiles::new().with_package("mmfoo", root.join("site"));
        let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
        let config = Config::load(&path("a.py"), &files).unwrap();
        assert_eq!(config.at("model.depth").unwrap().as_int(), Some(2));
        assert_eq!(config.at("hook._scope_").unwrap().as_str(), Some("mmfoo"));
        assert!(
            config
                .at("here")
                .unwrap()
                .as_str()
                .unwrap()
                .ends_with(root.file_name().unwrap().to_str().unwrap())
        );
        let error = Config::load(&path("b.py"), &files).unwrap_err().to_string();
        assert!(error.contains("`./_base_/model.py`"), "{error}");
        assert!(Config::load(&path("_base_"), &files).is_err());
        let gbk = b"# \xd6\xd0\xce\xc4\nlr = 1\n";
        fs::write(root.join("gbk.py"), gbk).unwrap();
        let utf16: Vec<u8> = "\u{FEFF}a = 1"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        fs::write(root.join("utf16.py"), utf16).unwrap();
        fs::write(root.join("c.py"), "x = 1\n_base_ = './gbk.py'\n").unwrap();
        for (name, parts) in [
            (
                "gbk.py",
                [
                    "byte 0xD6 at offset 2, in line 1; it looks like GBK",
                    "iconv -f GBK",
                ],
            ),
            (
                "utf16.py",
                ["it is UTF-16LE, not UTF-8", "iconv -f UTF-16LE"],
            ),
            ("c.py", ["c.py:2:10", "it looks like GBK"]),
        ] {
            let error = Config::load(&path(name), &files).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
        fs::remove_dir_all(&root).unwrap();
    }
}
