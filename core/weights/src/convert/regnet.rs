//! RegNets of pycls with MMDetection's names, as MMDetection's `regnet2mmdet.py` has it.

use super::{Conversion, ConvertError, first_key};
use crate::{Checkpoint, Dict};

const HELP: &str = "give a RegNetX checkpoint of pycls (https://github.com/facebookresearch/pycls), which has names such as `s1.b1.f.a.weight`";

/// The tensors of a RegNetX of pycls by MMDetection's names; others are left out, as the original does.
///
/// # Errors
/// [`ConvertError`]; `NotThis` for a RegNetY, whose squeeze-and-excitation MMDetection's `RegNet` does not have.
pub fn regnet_to_mmdet(checkpoint: &Checkpoint) -> Result<Conversion<'_>, ConvertError> {
    let wanted = "a RegNet of pycls";
    let mut new = Conversion::new(Dict::new());
    for key in checkpoint.keys() {
        let view = checkpoint.tensor(key)?;
        match new_name(key) {
            Name::Is(name) => new.rename(view, &name)?,
            Name::None => new.leave_out(key, "no part of a RegNet"),
            Name::SqueezeAndExcitation => {
                return Err(ConvertError::NotThis {
                    wanted: "a RegNetX",
                    found: format!("`{key}` is of a RegNetY's squeeze and excitation"),
                    help: HELP,
                });
            }
            Name::Unknown => {
                return Err(ConvertError::NotThis {
                    wanted,
                    found: format!("no layer of one is called `{key}`"),
                    help: HELP,
                });
            }
        }
    }
    if new.is_empty() {
        return Err(ConvertError::NotThis {
            wanted,
            found: first_key(checkpoint),
            help: HELP,
        });
    }
    Ok(new)
}

enum Name {
    Is(String),
    None,
    SqueezeAndExcitation,
    Unknown,
}

fn new_name(key: &str) -> Name {
    if key.contains("stem") {
        let name = key.replace("stem.conv", "conv1");
        return Name::Is(name.replace("stem.bn", "bn1"));
    }
    if key.contains("head") {
        return Name::Is(key.replace("head.fc", "fc"));
    }
    if !key.starts_with('s') {
        return Name::None;
    }
    let parts: Vec<&str> = key.split('.').collect();
    let (&[stage, block, module, ..], Some(last)) = (parts.as_slice(), parts.last()) else {
        return Name::Unknown;
    };
    let number = |text: &str, letter| text.strip_prefix(letter)?.parse::<usize>().ok();
    let (Some(stage), Some(block @ 1..)) = (number(stage, 's'), number(block, 'b')) else {
        return Name::Unknown;
    };
    let layer = match (block, module, parts.get(3).copied()) {
        (1, "bn", _) => "downsample.1",
        (1, "proj", _) => "downsample.0",
        (_, "f", Some("a_bn")) => "bn1",
        (_, "f", Some("b_bn")) => "bn2",
        (_, "f", Some("c_bn")) => "bn3",
        (_, "f", Some("a")) => "conv1",
        (_, "f", Some("b")) => "conv2",
        (_, "f", Some("c")) => "conv3",
        (_, "f", Some("se")) => return Name::SqueezeAndExcitation,
        _ => return Name::Unknown,
    };
    Name::Is(format!("layer{stage}.{}.{layer}.{last}", block - 1))
}
