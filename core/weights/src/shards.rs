//! A checkpoint in several files, and the index that says which tensor is in which: `model.safetensors.index.json` or
//! `pytorch_model.bin.index.json`, as Hugging Face writes them.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use super::error::{CheckpointError, MAX_NAME, shortened};
use super::header::{MAX_HEADER, Named};
use super::meta::Meta;
use super::pickle::Budget;
use super::state::{MAX_TENSORS, StateDict, unwrap};
use super::storage::Storages;
use super::{Checkpoint, Format};

/// At most so many files.
const MAX_SHARDS: usize = 256;
/// Longest name of a file, in bytes: what file systems take.
const MAX_FILE_NAME: usize = 255;
/// Names that a message lists.
const SHOWN: usize = 10;

/// Which files hold a checkpoint, and which tensor is in which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardIndex {
    files: Vec<String>,
    /// Keys as the files have them, and the number of the file.
    tensors: Vec<(String, usize)>,
}

#[derive(Deserialize)]
struct Json {
    weight_map: Named<String>,
}

impl ShardIndex {
    /// Reads an index; `None` if these bytes are something else.
    ///
    /// # Errors
    /// `Malformed`, and `TooLarge` for more than 256 files or 100,000 tensors.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, CheckpointError> {
        if !is_index(bytes) {
            return Ok(None);
        }
        let bad = |why: String| CheckpointError::malformed("index of a checkpoint's files", 0, why);
        if bytes.len() > MAX_HEADER {
            return Err(CheckpointError::TooLarge {
                what: format!("an index of a checkpoint's files of {} bytes", bytes.len()),
                limit: MAX_HEADER as u64,
            });
        }
        let json: Json = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if json.weight_map.0.len() > MAX_TENSORS {
            return Err(CheckpointError::too_many_tensors());
        }
        let (mut files, mut tensors) = (Vec::new(), Vec::new());
        let mut numbers = HashMap::new();
        for (key, file) in json.weight_map.0 {
            let number = match numbers.get(&file) {
                Some(&number) => number,
                None if !is_plain(&file) => {
                    let file = shortened(&file, MAX_NAME);
                    return Err(bad(format!(
                        "`{file}` is no name of a file in the same folder"
                    )));
                }
                None if files.len() >= MAX_SHARDS => {
                    return Err(CheckpointError::TooLarge {
                        what: "an index of a checkpoint with more files than are read".to_owned(),
                        limit: MAX_SHARDS as u64,
                    });
                }
                None => {
                    files.push(file.clone());
                    numbers.insert(file, files.len() - 1);
                    files.len() - 1
                }
            };
            tensors.push((key, number));
        }
        if tensors.is_empty() {
            return Err(CheckpointError::NoTensors {
                found: "an index of no tensors".to_owned(),
            });
        }
        Ok(Some(Self { files, tensors }))
    }

    /// What the index is without its files.
    pub(crate) fn alone(&self) -> CheckpointError {
        let names = self.files.iter().take(SHOWN);
        let names: Vec<_> = names
            .map(|name| format!("`{}`", shortened(name, 100)))
            .collect();
        let s = if self.files.len() == 1 { "" } else { "s" };
        let more = if self.files.len() > SHOWN {
            ", ..."
        } else {
            ""
        };
        CheckpointError::Unsupported {
            what: format!(
                "an index of {} other file{s} ({}{more}) alone",
                self.files.len(),
                names.join(", ")
            ),
            help: "give its path, with those files in the same folder, or one of them",
        }
    }

    /// Names of the files, which lie beside the index: never with a folder in them.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// Reads the content of all [`files`](Self::files), in their order, as one checkpoint. A tensor that its file lacks is unreadable; one
    /// that two files have is taken from the one that the index says.
    ///
    /// # Errors
    /// As [`Checkpoint::read_section`], with the file's name.
    pub fn join<B: AsRef<[u8]> + Send + Sync + 'static>(
        &self,
        contents: Vec<B>,
        section: Option<&str>,
    ) -> Result<Checkpoint, CheckpointError> {
        let keys = self.tensors.iter().map(|(key, file)| (unwrap(key), *file));
        let place: HashMap<String, usize> = keys.collect();
        let mut joined = Checkpoint {
            format: Format::Safetensors,
            storages: Arc::new(Storages::new([])),
            state: StateDict::default(),
            meta: Meta::default(),
        };
        // One budget for all, so that many small files cost no more than one.
        let budget = Budget::new();
        for (number, (name, content)) in self.files.iter().zip(contents).enumerate() {
            let part = Checkpoint::read_within(content, section, &budget).map_err(|error| {
                CheckpointError::InFile {
                    name: shortened(name, MAX_NAME).into_owned(),
                    error: Box::new(error),
                }
            })?;
            joined.take_over(part, number == 0, |key| {
                place.get(key).is_none_or(|&file| file == number)
            })?;
        }
        for (key, file) in &self.tensors {
            if joined.state.entry(&unwrap(key)).is_none() {
                let file = shortened(&self.files[*file], MAX_NAME);
                let why = format!("the index says that it is in `{file}`, which does not have it");
                joined.state.insert(key.clone(), Err(why))?;
            }
        }
        let files = ("files".to_owned(), self.files.len().to_string());
        joined.meta.facts.push(files);
        Ok(joined)
    }
}

impl Checkpoint {
    /// Adds those tensors of another file that are `wanted`; the first file also says what is to be said beside its tensors.
    fn take_over(
        &mut self,
        part: Self,
        is_first: bool,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), CheckpointError> {
        if is_first {
            self.format = part.format;
            self.meta = part.meta;
            self.state.section = part.state.section;
            self.state.not_tensors = part.state.not_tensors;
        }
        self.state.unwrapped += part.state.unwrapped;
        self.state.ema_shadows += part.state.ema_shadows;
        let own = Arc::get_mut(&mut self.storages).expect("nobody has what is still read");
        let others = Arc::into_inner(part.storages).expect("nobody has what was just read");
        let shift = own.append(others);
        for mut entry in part.state.entries {
            if let Ok(tensor) = &mut entry.tensor {
                tensor.storage += shift;
            }
            if wanted(&entry.key) {
                self.state.put(entry)?;
            }
        }
        Ok(())
    }
}

/// A JSON object with a `weight_map`. A safetensors file may begin with the same byte, but has a zero among the first eight.
fn is_index(bytes: &[u8]) -> bool {
    let bytes = &bytes[..bytes.len().min(MAX_HEADER)];
    let (head, name) = (&bytes[..bytes.len().min(1024)], b"\"weight_map\"");
    head.trim_ascii_start().starts_with(b"{")
        && !head.iter().take(8).any(|&byte| byte == 0)
        && bytes.windows(name.len()).any(|window| window == name)
}

/// Whether this names a file in the same folder, on every system.
fn is_plain(name: &str) -> bool {
    let odd = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':');
    !matches!(name, "" | "." | "..") && name.len() <= MAX_FILE_NAME && !name.contains(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(map: &str) -> Result<Option<ShardIndex>, String> {
        let json = format!(r#"{{"metadata":{{"total_size":1}},"weight_map":{{{map}}}}}"#);
        ShardIndex::read(json.as_bytes()).map_err(|error| error.to_string())
    }

    /// A safetensors file with these tensors of one byte, which is the number given.
    fn file(tensors: &[(&str, u8)]) -> Vec<u8> {
        let items = tensors.iter().enumerate().map(|(at, (name, _))| {
            format!(
                r#""{name}":{{"dtype":"U8","shape":[1],"data_offsets":[{at},{}]}}"#,
                at + 1
            )
        });
        let header = format!("{{{}}}", items.collect::<Vec<_>>().join(","));
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.extend(tensors.iter().map(|(_, value)| value));
        file
    }

    #[test]
    fn tensors_are_taken_from_the_file_that_the_index_says() {
        let index = index(r#""a":"1.st","module.b":"2.st","both":"2.st","gone":"1.st""#);
        let index = index.unwrap().unwrap();
        assert_eq!(index.files(), ["1.st", "2.st"]);
        let contents = vec![
            file(&[("a", 1), ("both", 2), ("more", 3)]),
            file(&[("module.b", 4), ("both", 5)]),
        ];
        let c = index.join(contents.clone(), None).unwrap();
        assert_eq!(
            c.keys().collect::<Vec<_>>(),
            ["a", "more", "b", "both", "gone"]
        );
        let value = |key: &str| c.f32(key).unwrap()[0];
        assert_eq!(["a", "more", "b", "both"].map(value), [1.0, 3.0, 4.0, 5.0]);
        let why = "the index says that it is in `1.st`, which does not have it";
        assert_eq!(c.unreadable().collect::<Vec<_>>(), [("gone", why)]);
        assert_eq!(c.state().unwrapped, 1);
        assert_eq!(c.meta().facts, [("files".to_owned(), "2".to_owned())]);
        let storages = ["a", "more", "b", "both"].map(|key| c.get(key).unwrap().storage());
        assert_eq!(storages, [0, 2, 3, 4]);

        let broken = vec![contents[0].clone(), contents[1][..20].to_vec()];
        let error = index.join(broken, None).unwrap_err().to_string();
        assert!(
            error.starts_with("in `2.st`: damaged safetensors file"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_index_and_indices_that_are_refused() {
        for other in [
            &b""[..],
            b"{}",
            b"[\"weight_map\"]",
            &file(&[("\"weight_map\"", 1)]),
        ] {
            assert_eq!(ShardIndex::read(other), Ok(None));
        }
        for name in [
            "../a",
            "a/b",
            "/etc/passwd",
            r"..\\a",
            "..",
            ".",
            "",
            "C:a",
            r"a\u0000",
        ] {
            let error = index(&format!(r#""a":"{name}""#)).unwrap_err();
            assert!(
                error.contains("no name of a file in the same folder"),
                "{error}"
            );
        }
        for map in [r#""a":1"#, r#""a":"x","a":"y""#, ""] {
            assert!(index(map).is_err(), "{map}");
        }
        let files = |count| {
            let items = (0..count).map(|i| format!(r#""{i}":"{i}.st""#));
            index(&items.collect::<Vec<_>>().join(","))
        };
        assert!(files(MAX_SHARDS).is_ok());
        assert!(
            files(MAX_SHARDS + 1)
                .unwrap_err()
                .starts_with("refused: an index")
        );
        // Without its files an index is no checkpoint, but is told.
        let alone = br#"{"weight_map":{"a":"1.st"}}"#;
        let error = Checkpoint::read(alone).unwrap_err().to_string();
        assert!(
            error.contains("an index of 1 other file (`1.st`) alone"),
            "{error}"
        );
    }
}
