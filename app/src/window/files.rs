//! What a file or folder that is opened or dropped is, by its name and its content.

use std::path::{Path, PathBuf};

use smalti::config::LARGEST;

use super::host::Host;
use super::training::log;

/// What was opened.
#[derive(Debug)]
pub enum Opened {
    /// A config.
    Text {
        /// Where it is.
        path: PathBuf,
        /// Its text.
        text: String,
    },
    /// Pictures.
    Pictures {
        /// The picture or folder that was opened.
        path: PathBuf,
        /// The pictures.
        pictures: Vec<PathBuf>,
    },
    /// Weights.
    Checkpoint(PathBuf),
    /// Annotations of a data set.
    Annotations(PathBuf),
    /// A run.
    Run {
        /// Its folder.
        folder: PathBuf,
        /// Its logs.
        logs: Vec<PathBuf>,
    },
    /// Nothing that can be opened, and why.
    Nothing(String),
}

const CONFIGS: [&str; 4] = ["py", "json", "yaml", "yml"];
const CHECKPOINTS: [&str; 7] = ["pth", "pt", "pkl", "safetensors", "bpk", "ckpt", "bin"];
/// Read to see what a file is.
const HEAD: usize = 4096;

/// What a path seems to be by its name alone: while it is dragged, nobody reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guess {
    /// A config.
    Config,
    /// A picture.
    Picture,
    /// Weights.
    Checkpoint,
    /// Annotations of one picture, in XML.
    Annotations,
    /// Any of several things.
    Json,
    /// No file.
    Folder,
    /// Its name does not say.
    Unknown,
}

/// Endings of pictures, and of frames.
const PICTURES: [&str; 9] = [
    "jpg", "jpeg", "png", "bmp", "gif", "webp", "tif", "tiff", "ppm",
];

/// Guesses by the name.
pub fn guess(path: &Path) -> Guess {
    match ending(path).as_str() {
        "json" => Guess::Json,
        "xml" => Guess::Annotations,
        "" => Guess::Folder,
        ending if CONFIGS.contains(&ending) => Guess::Config,
        ending if CHECKPOINTS.contains(&ending) => Guess::Checkpoint,
        ending if PICTURES.contains(&ending) => Guess::Picture,
        _ => Guess::Unknown,
    }
}

/// A path's last two parts, as people name files.
pub fn short(path: &Path) -> String {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
    name.unwrap_or_else(|| path.display().to_string())
}

/// A file's text, without a byte-order mark; what is no text is replaced.
pub fn text_of(bytes: Vec<u8>) -> String {
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
    match text.strip_prefix('\u{FEFF}') {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

/// Looks at a path, and reads it if it is a config.
pub fn open(host: &dyn Host, path: &Path) -> Opened {
    if host.is_folder(path) {
        return folder(host, path);
    }
    let Some(head) = host.head(path, HEAD) else {
        return Opened::Nothing(format!(
            "{} cannot be opened: there is no such file",
            path.display()
        ));
    };
    let ending = ending(path);
    if picture(&head) {
        return Opened::Pictures {
            path: path.to_owned(),
            pictures: vec![path.to_owned()],
        };
    }
    if CHECKPOINTS.contains(&ending.as_str())
        || head.starts_with(b"PK\x03\x04")
        || head.starts_with(&[0x80, 2])
    {
        return Opened::Checkpoint(path.to_owned());
    }
    if let Some(folder) = log::folder_of(path) {
        return run(host, folder);
    }
    if ending == "json" && annotations(&head) || ending == "xml" && voc(&head) {
        return Opened::Annotations(path.to_owned());
    }
    text(host, path)
}

fn text(host: &dyn Host, path: &Path) -> Opened {
    let fail = |why: &str| Opened::Nothing(format!("{} cannot be opened: {why}", path.display()));
    let bytes = match host.read(path) {
        Ok(bytes) => bytes,
        Err(why) => return fail(&why),
    };
    if bytes.len() > LARGEST {
        return fail(&format!(
            "it has {} bytes, and a config at most {LARGEST}",
            bytes.len()
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Opened::Text {
            path: path.to_owned(),
            text: text_of(text.into_bytes()),
        },
        Err(e) => match smalti::config::unreadable_text(e.as_bytes()) {
            Some(found) => fail(&format!("{}. {}", found.what, found.help)),
            None => fail("it is no text in UTF-8"),
        },
    }
}

fn run(host: &dyn Host, folder: PathBuf) -> Opened {
    let logs = log::files(host, &folder);
    Opened::Run { folder, logs }
}

/// A folder of a run, of pictures, of a data set, or of one config.
fn folder(host: &dyn Host, path: &Path) -> Opened {
    if let Some(folder) = log::run_of(host, path) {
        return run(host, folder);
    }
    let all = host.list(path);
    let is_picture = |p: &&PathBuf| host.head(p, 16).is_some_and(|head| picture(&head));
    let mut pictures: Vec<PathBuf> = all.iter().filter(is_picture).cloned().collect();
    if !pictures.is_empty() {
        // frames of a video are in the order of their numbers
        pictures.sort_by_cached_key(|path| in_order(&path.to_string_lossy()));
        return Opened::Pictures {
            path: path.to_owned(),
            pictures,
        };
    }
    if let Some(annotations) = annotations_in(host, path) {
        return Opened::Annotations(annotations);
    }
    let mut configs = all.iter().filter(|p| CONFIGS.contains(&ending(p).as_str()));
    match (configs.next(), configs.next()) {
        (Some(config), None) => open(host, config),
        (Some(_), Some(_)) => Opened::Nothing(format!(
            "{} has several configs: open one of them",
            path.display()
        )),
        (None, _) => Opened::Nothing(format!(
            "{} has neither pictures, nor annotations, nor a config, nor is it a run's",
            path.display()
        )),
    }
}

/// What a name is sorted by: its numbers count as numbers.
fn in_order(name: &str) -> Vec<(u64, String)> {
    let mut parts: Vec<(u64, String)> = vec![(0, String::new())];
    let mut digits = false;
    for c in name.chars() {
        let digit = c.to_digit(10);
        if digit.is_some() && !digits {
            parts.push((0, String::new()));
        }
        digits = digit.is_some();
        let Some((number, text)) = parts.last_mut() else {
            continue;
        };
        match digit {
            Some(digit) => *number = number.saturating_mul(10).saturating_add(digit.into()),
            None => text.push(c),
        }
    }
    parts
}

fn ending(path: &Path) -> String {
    path.extension()
        .map(|e| e.to_string_lossy().to_lowercase())
        .unwrap_or_default()
}

/// Whether these are the first bytes of a picture.
fn picture(head: &[u8]) -> bool {
    let magic: [&[u8]; 7] = [
        b"\xFF\xD8\xFF",
        b"\x89PNG\r\n",
        b"GIF8",
        b"BM",
        b"II*\0",
        b"MM\0*",
        b"P6",
    ];
    magic.iter().any(|m| head.starts_with(m))
        || head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP")
}

/// Whether XML is one of Pascal VOC's files.
fn voc(head: &[u8]) -> bool {
    String::from_utf8_lossy(head).contains("<annotation")
}

/// The annotations of a folder's data set: a file in COCO's form, there or in its folder `annotations`, or itself, if it has the folders of Pascal VOC.
/// Of several files one of training is taken first.
pub fn annotations_in(host: &dyn Host, folder: &Path) -> Option<PathBuf> {
    if host.is_folder(&folder.join("Annotations"))
        && host.is_folder(&folder.join("ImageSets").join("Main"))
    {
        return Some(folder.to_owned());
    }
    let json = |p: &PathBuf| ending(p) == "json";
    let coco = |p: &PathBuf| host.head(p, HEAD).is_some_and(|head| annotations(&head));
    let places = [folder.to_owned(), folder.join("annotations")];
    places.iter().find_map(|place| {
        let all = host.list(place).into_iter().filter(json).filter(coco);
        let all: Vec<PathBuf> = all.collect();
        let of = |name: &str| all.iter().find(|p| short(p).contains(name)).cloned();
        of("instances_train")
            .or_else(|| of("train"))
            .or_else(|| of("instances"))
            .or_else(|| all.first().cloned())
    })
}

/// Whether JSON begins as annotations in COCO's form do.
pub fn annotations(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head);
    ["\"images\"", "\"annotations\"", "\"licenses\""]
        .iter()
        .any(|key| head.contains(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_in_the_order_of_their_numbers() {
        let mut names = [
            "a10.jpg",
            "a9.jpg",
            "b1.jpg",
            "a9_2.jpg",
            "a09_10.jpg",
            "a.jpg",
        ];
        names.sort_by_cached_key(|name| in_order(name));
        let wanted = [
            "a9.jpg",
            "a9_2.jpg",
            "a09_10.jpg",
            "a10.jpg",
            "a.jpg",
            "b1.jpg",
        ];
        assert_eq!(names, wanted);
    }
}
