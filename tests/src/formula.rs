//! What rows of expected values share: numbers by formula and tagged config trees. No tensors.

use serde_json::Value as Json;
use smalti::config::{Dict, Entry, Key, Node, Value};

/// `n` values in [-1, 1): a splitmix64 stream seeded with FNV-1a of `key`, top 24 bits.
pub fn uniform(key: &str, n: usize) -> impl Iterator<Item = f32> + use<> {
    let seed = key.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    });
    (1..=n as u64).map(move |i| {
        let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((z >> 40) as f64 / f64::from(1 << 23) - 1.0) as f32
    })
}

/// A config tree from the tagged form that rows store; `name` is shown as its place.
pub fn tagged(json: &Json, name: &str) -> Result<Node, String> {
    let list = |items: &Json| -> Result<Vec<Node>, String> {
        items
            .as_array()
            .ok_or("a list is not a list")?
            .iter()
            .map(|item| tagged(item, name))
            .collect()
    };
    let value = match json {
        Json::Null => Value::None,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => match n.as_i64() {
            Some(i) => Value::Int(i),
            None => Value::Float(n.as_f64().ok_or("a number is no float")?),
        },
        Json::String(s) => Value::Str(s.as_str().into()),
        Json::Array(_) => Value::List(list(json)?.into()),
        Json::Object(tags) => match tags.iter().next() {
            Some((tag, items)) if tag == "t" => Value::Tuple(list(items)?.into()),
            Some((tag, items)) if tag == "s" => Value::Set(list(items)?.into()),
            Some((tag, pairs)) if tag == "d" => {
                let mut dict = Dict::new();
                for pair in pairs.as_array().ok_or("a dict is not a list of pairs")? {
                    let node = tagged(&pair[1], name)?;
                    let key = match (pair[0].as_str(), pair[0].as_i64()) {
                        (Some(key), _) => Key::Str(key.into()),
                        (None, Some(key)) => Key::Int(key),
                        (None, None) => return Err("a key is no string and no integer".into()),
                    };
                    let of_key = node.origin.clone();
                    dict.insert(key, Entry { node, key: of_key });
                }
                Value::Dict(dict)
            }
            other => return Err(format!("unknown tag {other:?}")),
        },
    };
    Ok(Node::made(value, name))
}
