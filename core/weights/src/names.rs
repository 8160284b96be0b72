//! Names of checkpoints: a path, an address, or a name of torchvision's or OpenMMLab's hub.
//!
//! Pure: this only says where a checkpoint is. Fetching it is `host::cache`, on native targets.

use std::fmt;

/// All known names, a line each.
const TABLE: &str = include_str!("names.txt");

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
    /// The last part of the address: the name under which PyTorch caches it too.
    pub file_name: String,
    /// The beginning of the content's SHA-256 in lower-case hex, where the file name carries it.
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
                "cannot fetch `{name}`: give a path, an http(s):// address, or a name of torchvision://, open-mmlab:// or mmcls://"
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
/// `http://`, `https://`. A name without `://` is a path; so is `file://` with its rest.
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

impl Remote {
    /// A file at this address.
    pub fn new(url: &str, keep_prefix: Option<&'static str>) -> Self {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        // What is safe as a file name on every system.
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
        let file_name: String = last
            .chars()
            .map(|c| if safe(c) { c } else { '_' })
            .collect();
        let file_name = match file_name.trim_matches('.') {
            "" => "checkpoint".to_owned(),
            name => name.chars().take(200).collect(),
        };
        Self {
            url: url.to_owned(),
            digest: digest(&file_name),
            file_name,
            keep_prefix,
        }
    }
}

/// The digest in a file name such as `resnet50-0676ba61.pth`: 8 to 64 hex digits after the last `-`.
fn digest(file_name: &str) -> Option<String> {
    let (_, end) = file_name.rsplit_once('-')?;
    let (digits, _) = end.split_once('.')?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || !(8..=64).contains(&digits.len()) || is_date(digits) {
        return None;
    }
    Some(digits.to_ascii_lowercase())
}

/// `20230115` is a date; as a digest it would be one in a million.
fn is_date(digits: &str) -> bool {
    let number = |range: std::ops::Range<usize>| digits.get(range)?.parse::<u32>().ok();
    let (Some(year), Some(month), Some(day)) = (number(0..4), number(4..6), number(6..8)) else {
        return false;
    };
    digits.len() == 8
        && (2010..2100).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
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
            ("https://x.org/resnet50-deadbeef", None),
        ] {
            assert_eq!(
                Remote::new(name, None).digest.as_deref(),
                expected,
                "{name}"
            );
        }
        assert_eq!(
            Remote::new("https://x.org/..", None).file_name,
            "checkpoint"
        );
        assert_eq!(
            Remote::new("https://x.org/a%2Fb:c.pth", None).file_name,
            "a_2Fb_c.pth"
        );
    }
}
