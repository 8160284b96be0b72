//! Names of checkpoints: a path, an address, or a name of torchvision's or OpenMMLab's hub.
//!
//! Pure: this only says where a checkpoint is. Fetching it is `host::cache`, on native targets.

use std::fmt;

/// All known names, a line each.
const TABLE: &str = include_str!("names.txt");
/// Who ends file names in `-` and the beginning of the content's SHA-256, always: torchvision, OpenMMLab, timm.
const PUBLISHERS: [&str; 3] = [
    "download.pytorch.org/",
    "download.openmmlab.com/",
    "github.com/rwightman/pytorch-image-models/releases/download/",
];
/// Who has files of Detectron2.
const DETECTRON2: &str = "https://dl.fbaipublicfiles.com/detectron2/";
/// Publishers who end file names otherwise: Detectron2's, and those whose weights timm takes from the hub.
const OTHERS: [&str; 3] = [
    "dl.fbaipublicfiles.com/",
    "huggingface.co/timm/",
    "huggingface.co/laion/",
];
/// Longest file name, in bytes. File systems take 255, and the cache adds to it.
const MAX_NAME: usize = 200;
/// Endings of the notes that the cache keeps beside a file.
const OWN_ENDINGS: [&str; 3] = [".part", ".tag", ".sha256"];

/// Where a checkpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file of this machine; may begin with `~`.
    Path(String),
    /// A file to download.
    Url(Remote),
}

/// A file to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Its address.
    pub url: String,
    /// The last part of the address: the name under which PyTorch caches it too. Changed where it would be no plain file's name on
    /// some system.
    pub file_name: String,
    /// The beginning of the content's SHA-256 in lower-case hex, where the file name carries it. Decimal digits alone are taken for
    /// one in the file names of torchvision, OpenMMLab and timm only.
    pub digest: Option<String>,
    /// Only keys with this prefix count, without it: `mmcls://` names are whole classifiers whose backbone is meant.
    pub keep_prefix: Option<&'static str>,
}

/// A name that stands for no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// The scheme is known, the name after it is not.
    UnknownName {
        /// The scheme, such as `torchvision`.
        scheme: String,
        /// The name after `://`.
        name: String,
        /// The nearest known name.
        nearest: Option<String>,
    },
    /// A scheme that is not supported.
    UnknownScheme {
        /// The name in full.
        name: String,
    },
    /// Nothing was given.
    Empty,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownName {
                scheme,
                name,
                nearest,
            } => {
                write!(f, "no checkpoint `{name}` in {scheme}://")?;
                match nearest {
                    Some(nearest) => write!(f, "; did you mean `{scheme}://{nearest}`?"),
                    None => Ok(()),
                }
            }
            Self::UnknownScheme { name } => write!(
                f,
                "cannot fetch `{name}`: give a path, an http(s):// address, or a name of torchvision://, open-mmlab://, mmcls:// or detectron2://"
            ),
            Self::Empty => write!(f, "an empty checkpoint name"),
        }
    }
}

impl std::error::Error for NameError {}

/// Says where the checkpoint of this name is.
///
/// Schemes as in mmengine: `torchvision://` (old spelling `modelzoo://`; also the newer names such as
/// `resnet50.imagenet1k_v2` and `ResNet50_Weights.IMAGENET1K_V2`), `open-mmlab://` or `openmmlab://`, `mmcls://` (also `mmpretrain://`),
/// `http://`, `https://`; and Detectron2's `detectron2://` (a name of its model zoo, or the rest of an address) and `catalog://`. A name without `://` is a path; so is `file://` with its rest.
///
/// # Errors
/// [`NameError`], with the nearest known name.
pub fn resolve(name: &str) -> Result<Source, NameError> {
    let name = name.trim();
    let Some((scheme, rest)) = name.split_once("://") else {
        return match name {
            "" => Err(NameError::Empty),
            path => Ok(Source::Path(path.to_owned())),
        };
    };
    let (table, keep_prefix) = match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => return Ok(Source::Url(Remote::new(name, None))),
        "file" => return Ok(Source::Path(rest.to_owned())),
        "torchvision" | "modelzoo" => ("torchvision", None),
        "open-mmlab" | "openmmlab" => ("open-mmlab", None),
        "mmcls" | "mmpretrain" => ("mmcls", Some("backbone.")),
        "catalog" => ("catalog", None),
        // A name of the model zoo, or the rest of an address.
        "detectron2" => {
            let url = look_up("detectron2", rest.trim_end_matches(".yaml"));
            let url = url.unwrap_or_else(|| format!("{DETECTRON2}{rest}"));
            return Ok(Source::Url(Remote::new(&url, None)));
        }
        _ => {
            return Err(NameError::UnknownScheme {
                name: name.to_owned(),
            });
        }
    };
    let current = match table {
        "open-mmlab" => look_up("renamed", rest).unwrap_or_else(|| rest.to_owned()),
        // torchvision's enums: ResNet50_Weights.IMAGENET1K_V1 is resnet50.imagenet1k_v1.
        "torchvision" => rest.replace("_Weights.", "."),
        _ => rest.to_owned(),
    };
    let url = look_up(table, &current).or_else(|| look_up(table, &current.to_ascii_lowercase()));
    match url {
        Some(url) => Ok(Source::Url(Remote::new(&url, keep_prefix))),
        None => Err(NameError::UnknownName {
            scheme: scheme.to_owned(),
            name: rest.to_owned(),
            nearest: nearest(rest, known(table)).map(str::to_owned),
        }),
    }
}

/// All names of a scheme (`torchvision`, `open-mmlab`, `mmcls`).
pub fn known(scheme: &str) -> impl Iterator<Item = &'static str> {
    rows(scheme).map(|(name, _, _)| name)
}

/// Whether to open the checkpoint of this name is to ask a server that is none of the publishers' that we know: whoever runs it sees the
/// whole name. (Windows asks the server that a path begins with.)
pub fn asks_a_stranger(name: &str) -> bool {
    match resolve(name) {
        Ok(Source::Url(remote)) => !remote.is_of(&PUBLISHERS) && !remote.is_of(&OTHERS),
        Ok(Source::Path(path)) => path.starts_with(r"\\") || path.starts_with("//"),
        Err(_) => false,
    }
}

impl Remote {
    /// Whether the address is one of these publishers'.
    fn is_of(&self, publishers: &[&str]) -> bool {
        let (_, place) = self.url.split_once("://").unwrap_or_default();
        let place = place.to_ascii_lowercase();
        publishers.iter().any(|start| place.starts_with(start))
    }

    /// A file at this address.
    pub fn new(url: &str, keep_prefix: Option<&'static str>) -> Self {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        let mut remote = Self {
            url: url.to_owned(),
            file_name: file_name(last),
            digest: None,
            keep_prefix,
        };
        remote.digest = digest(last, remote.is_of(&PUBLISHERS));
        remote
    }
}

/// The last part of an address as a name that every system takes for a plain file, and that is none of the cache's own notes.
fn file_name(last: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    let name: String = last
        .chars()
        .map(|c| if safe(c) { c } else { '_' })
        .collect();
    // A long one loses its middle: a digest and the extension are at the end.
    let name = match name.len() {
        0..=MAX_NAME => name,
        len => format!("{}_{}", &name[..MAX_NAME / 2], &name[len - MAX_NAME / 2..]),
    };
    let name = name.trim_matches('.');
    let lower = name.to_ascii_lowercase();
    let stem = lower.split('.').next().unwrap_or_default();
    if name.is_empty() {
        "checkpoint".to_owned()
    } else if is_device(stem) {
        format!("_{name}")
    } else if OWN_ENDINGS.iter().any(|ending| lower.ends_with(ending)) {
        format!("{name}_")
    } else {
        name.to_owned()
    }
}

/// What Windows takes for a device in every folder, whatever follows the first dot.
fn is_device(stem: &str) -> bool {
    let port = |name: &str| {
        let number = stem.strip_prefix(name);
        number.is_some_and(|number| matches!(number.as_bytes(), [b'0'..=b'9']))
    };
    matches!(stem, "con" | "prn" | "aux" | "nul") || port("com") || port("lpt")
}

/// The digest in a file name such as `resnet50-0676ba61.pth`: 8 to 64 hex digits after the last `-`.
///
/// All of them decimal, it is rather a number (`checkpoint-00012000.pth`), but for one digest in 43. So then it counts only where
/// the publisher is known to put digests there, and there too not where it reads as a date.
fn digest(last: &str, published: bool) -> Option<String> {
    let (_, end) = last.rsplit_once('-')?;
    let (digits, _) = end.split_once('.')?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_decimal = digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_hex || !(8..=64).contains(&digits.len()) {
        return None;
    }
    if is_decimal && (!published || starts_with_date(digits)) {
        return None;
    }
    Some(digits.to_ascii_lowercase())
}

/// `20230115` is a date; as a digest it would be one in ten thousand.
fn starts_with_date(digits: &str) -> bool {
    let number = |range: std::ops::Range<usize>| digits.get(range)?.parse::<u32>().ok();
    let (Some(year), Some(month), Some(day)) = (number(0..4), number(4..6), number(6..8)) else {
        return false;
    };
    (2010..2100).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day)
}

/// Name, base address and the rest of each row of a section.
fn rows(section: &str) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let mut base = None;
    let section = section.to_owned();
    TABLE.lines().filter_map(move |line| {
        if let Some((name, rest)) = line.strip_prefix('[').and_then(|l| l.split_once(']')) {
            base = (name == section).then_some(rest.trim());
            return None;
        }
        let (name, rest) = line.split_once(' ')?;
        Some((name, base?, rest))
    })
}

fn look_up(section: &str, wanted: &str) -> Option<String> {
    let (_, base, rest) = rows(section).find(|(name, _, _)| *name == wanted)?;
    Some(if rest.starts_with("http") {
        rest.to_owned()
    } else {
        format!("{base}{rest}")
    })
}

/// The candidate that is nearest by edits, if it is near at all.
pub(crate) fn nearest<'a>(
    wanted: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    // The work is bounded by length and number, since keys come from files.
    let limit = (wanted.len() / 3).max(2);
    let near = candidates.take(5000).filter_map(|candidate| {
        if wanted.len() > 200 || candidate.len().abs_diff(wanted.len()) > limit {
            return None;
        }
        Some((edits(wanted.as_bytes(), candidate.as_bytes()), candidate))
    });
    let best = near.min_by_key(|&(edits, _)| edits)?;
    (best.0 <= limit).then_some(best.1)
}

/// Levenshtein's distance.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(!x.eq_ignore_ascii_case(y));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(name: &str) -> String {
        match resolve(name).unwrap() {
            Source::Url(remote) => remote.url,
            Source::Path(path) => panic!("{name} is the path {path}"),
        }
    }

    #[test]
    fn names_of_every_scheme() {
        let resnet50 = "https://download.pytorch.org/models/resnet50-0676ba61.pth";
        for name in [
            "torchvision://resnet50",
            "modelzoo://resnet50",
            "torchvision://resnet50.imagenet1k_v1",
            "torchvision://ResNet50_Weights.IMAGENET1K_V1",
        ] {
            assert_eq!(url(name), resnet50, "{name}");
        }
        let msra = "https://download.openmmlab.com/pretrain/third_party/resnet50_msra-5891d200.pth";
        assert_eq!(url("open-mmlab://detectron2/resnet50_caffe"), msra);
        assert_eq!(url("openmmlab://detectron2/resnet50_caffe"), msra);
        let renamed =
            "https://download.openmmlab.com/pretrain/third_party/resnet50_caffe-788b5fa3.pth";
        assert_eq!(url("open-mmlab://resnet50_caffe"), renamed);
        let Source::Url(vgg) = resolve("mmcls://vgg11").unwrap() else {
            panic!("not an address")
        };
        assert_eq!(
            vgg.file_name,
            "vgg11_batch256_imagenet_20210208-4271cd6c.pth"
        );
        assert_eq!(vgg.digest.as_deref(), Some("4271cd6c"));
        assert_eq!(vgg.keep_prefix, Some("backbone."));
        assert_eq!(url("mmpretrain://vgg11"), vgg.url);
        let path = |text: &str| Ok(Source::Path(text.to_owned()));
        assert_eq!(resolve("work/epoch_12.pth"), path("work/epoch_12.pth"));
        assert_eq!(resolve(r"C:\models\a.pth"), path(r"C:\models\a.pth"));
        assert_eq!(resolve("file:///tmp/a.pth"), path("/tmp/a.pth"));
    }

    #[test]
    fn every_row_of_the_table_is_an_address() {
        let mut count = 0;
        for scheme in ["torchvision", "open-mmlab", "mmcls"] {
            for name in known(scheme) {
                let url = url(&format!("{scheme}://{name}"));
                assert!(url.starts_with("https://download."), "{url}");
                count += 1;
            }
        }
        assert!(count > 250, "{count}");
    }

    #[test]
    fn wrong_names_say_the_nearest() {
        let message = |name: &str| resolve(name).unwrap_err().to_string();
        assert_eq!(
            message("torchvision://resnet_50"),
            "no checkpoint `resnet_50` in torchvision://; did you mean `torchvision://resnet50`?"
        );
        assert_eq!(
            message("open-mmlab://detectron2/resnet50-caffe"),
            "no checkpoint `detectron2/resnet50-caffe` in open-mmlab://; did you mean `open-mmlab://detectron2/resnet50_caffe`?"
        );
        assert!(message("s3://bucket/a.pth").starts_with("cannot fetch `s3://bucket/a.pth`"));
        assert_eq!(resolve("  "), Err(NameError::Empty));
    }

    #[test]
    fn strangers_are_whoever_is_no_publisher() {
        for (name, stranger) in [
            ("a.pth", false),
            ("torchvision://resnet50", false),
            ("https://download.pytorch.org/models/a.pth", false),
            ("https://download.pytorch.org.evil.org/a.pth", true),
            ("http://127.0.0.1/a.pth", true),
            (" HTTPS://x.org", true),
            (r"\\x.org\share\a.pth", true),
            ("//x.org/share/a.pth", true),
            ("file:////x.org/a.pth", true),
        ] {
            assert_eq!(asks_a_stranger(name), stranger, "{name}");
        }
    }

    #[test]
    fn digests_in_file_names() {
        for (name, expected) in [
            (
                "https://x.org/a/rtmdet_tiny_20220902_112414-78e30dcc.pth?a=b/c",
                Some("78e30dcc"),
            ),
            (
                "https://x.org/shufflenetv2_x0.5-f707e7126e.pth",
                Some("f707e7126e"),
            ),
            ("https://x.org/model-20230115.pth", None),
            ("https://x.org/epoch-12.pth", None),
            ("https://x.org/epoch_12.pth", None),
            // Decimal digits are a digest in the names of those who always put one there.
            ("https://x.org/checkpoint-00012000.pth", None),
            ("https://x.org/epoch_20240101.pth", None),
            ("https://x.org/model-12345678.pth", None),
            ("https://x.org/run-202401011230.pth", None),
            (
                "https://download.pytorch.org/models/vgg13-19584684.pth",
                Some("19584684"),
            ),
            (
                "https://download.openmmlab.com/resnest269_imagenet_converted-59930960.pth",
                Some("59930960"),
            ),
            (
                "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/tf_efficientnet_b6_ns-51548356.pth",
                Some("51548356"),
            ),
            ("https://download.openmmlab.com/net-20240101.pth", None),
            (
                "https://download.openmmlab.com.evil.org/net-59930960.pth",
                None,
            ),
            (
                "https://download.openmmlab.com@evil.org/net-59930960.pth",
                None,
            ),
            ("https://x.org/resnet50-deadbeef", None),
        ] {
            assert_eq!(
                Remote::new(name, None).digest.as_deref(),
                expected,
                "{name}"
            );
        }
        // Every name of the tables that ends in hex digits is published with its digest, also those in decimal.
        for name in ["vgg13", "vit_h_14.default"] {
            let Source::Url(remote) = resolve(&format!("torchvision://{name}")).unwrap() else {
                panic!("not an address")
            };
            assert!(remote.digest.is_some(), "{name}");
        }
    }

    #[test]
    fn file_names_are_plain_files_on_every_system() {
        for (url, name) in [
            ("https://x.org/..", "checkpoint"),
            ("https://x.org/models/", "checkpoint"),
            ("https://x.org/a%2Fb:c.pth", "a_2Fb_c.pth"),
            (
                "https://x.org/..%2f..%2fetc%2fpasswd",
                "_2f.._2fetc_2fpasswd",
            ),
            (r"https://x.org/..\..\a.pth", r"_.._a.pth"),
            ("https://x.org/a\0b\x1b[31m.pth", "a_b__31m.pth"),
            ("https://x.org/model.pth?download=1#x/y.pth", "model.pth"),
            ("https://x.org/.hidden.pth.", "hidden.pth"),
            ("https://x.org/aux.pth", "_aux.pth"),
            ("https://x.org/CON", "_CON"),
            ("https://x.org/Com1.tar.pth", "_Com1.tar.pth"),
            ("https://x.org/com10.pth", "com10.pth"),
            (
                "https://x.org/net-deadbeef.pth.part",
                "net-deadbeef.pth.part_",
            ),
            ("https://x.org/net.pth.part.TAG", "net.pth.part.TAG_"),
            ("https://x.org/net.pth.sha256", "net.pth.sha256_"),
        ] {
            assert_eq!(Remote::new(url, None).file_name, name, "{url}");
        }
        let long = format!("https://x.org/{}-deadbeef.pth", "ä".repeat(500));
        let long = Remote::new(&long, None);
        assert_eq!(long.file_name.len(), 201);
        assert!(long.file_name.ends_with("_-deadbeef.pth"));
        assert_eq!(long.digest.as_deref(), Some("deadbeef"));
    }
}
