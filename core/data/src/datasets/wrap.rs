//! How a data set whose pipeline mixes pictures is written as a `MultiImageMixDataset`, for a fix of the config's text.

use smalti_config::{Dict, Node, value_to_py};

/// The text of a data set's dict, wrapped: it keeps the steps that load, and what comes after them goes into the wrapper's pipeline.
/// `None` where the dict is not written out in one file.
pub(super) fn into_multi_image_mix(dataset: &Node) -> Option<String> {
    let (dict, text) = (dataset.as_dict()?, dataset.origin.text());
    let is_call = text.starts_with("dict(") && text.ends_with(')');
    if !is_call || !is_all_here(dataset, dict) {
        return None;
    }
    let items = dict.get("pipeline")?.as_items()?;
    let loads = items.iter().take_while(|item| loads(item)).count();
    let list = |items: &[Node]| {
        let items: Vec<String> = items.iter().map(value_to_py).collect();
        format!("[{}]", items.join(", "))
    };
    let begin = dict
        .iter()
        .find(|(key, _)| key.as_str() == Some("pipeline"))?;
    let begin = begin
        .1
        .key
        .range()
        .start
        .checked_sub(dataset.origin.range().start)?;
    let end = begin + argument(text.get(begin..)?);
    let inner = format!(
        "{}pipeline={}{}",
        &text[..begin],
        list(&items[..loads]),
        &text[end..]
    );
    Some(format!(
        "dict(type='MultiImageMixDataset', dataset={inner}, pipeline={})",
        list(&items[loads..])
    ))
}

/// Whether all keys were said where the dict is: in a child's dict those of its base are too.
fn is_all_here(dataset: &Node, dict: &Dict) -> bool {
    let (file, range) = (dataset.origin.file(), dataset.origin.range());
    dict.iter().all(|(_, entry)| {
        let at = entry.key.range();
        entry.key.file() == file && range.start <= at.start && at.end <= range.end
    })
}

fn loads(item: &Node) -> bool {
    let kind = item.get("type").and_then(Node::as_type);
    kind.is_some_and(|kind| {
        kind.rsplit('.')
            .next()
            .is_some_and(|name| name.starts_with("Load"))
    })
}

/// The length of an argument of a call, up to the comma or bracket behind it.
fn argument(text: &str) -> usize {
    let (mut depth, mut quote, mut escaped) = (0, None, false);
    for (i, c) in text.char_indices() {
        match quote {
            Some(q) => {
                if c == q && !escaped {
                    quote = None;
                }
                escaped = c == '\\' && !escaped;
            }
            None => match c {
                '\'' | '"' => quote = Some(c),
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' if depth == 0 => return i,
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 0 => return i,
                _ => {}
            },
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use smalti_config::{Config, MapLoader};

    use crate::Lookup;
    use crate::datasets::check_with;

    #[test]
    fn the_fix_is_a_config_that_is_right() {
        let text = "
pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
            dict(type='Mosaic', img_scale=(64, 64), pad_val=114.0), dict(type='PackDetInputs')]
train_dataloader = dict(batch_size=1, dataset=dict(
    type='CocoDataset', ann_file='a.json', pipeline=pipeline, data_prefix=dict(img='a, b)/')))
";
        let read = |text: &str| Config::parse(text, "a.py", &MapLoader::default()).unwrap();
        let check = |config: &Config| check_with(config, None, Lookup::own());
        let config = read(text);
        let found = check(&config);
        let fix = &found[0].fixes()[0];
        let mut mended = text.to_owned();
        mended.replace_range(fix.place.range(), &fix.text);
        let config = read(&mended);
        assert!(check(&config).is_empty(), "{mended}\n{:?}", check(&config));
        let at = |path: &str| config.at(path).and_then(|n| n.as_type());
        let inner = "train_dataloader.dataset.dataset";
        assert_eq!(
            at(&format!("{inner}.pipeline.1.type")).as_deref(),
            Some("LoadAnnotations")
        );
        assert_eq!(
            at("train_dataloader.dataset.pipeline.0.type").as_deref(),
            Some("Mosaic")
        );
        assert!(config.at(&format!("{inner}.data_prefix.img")).is_some());
    }

    #[test]
    fn a_dict_that_a_base_began_is_left_alone() {
        let files = [
            (
                "base.py",
                "train_dataloader = dict(dataset=dict(type='CocoDataset', ann_file='a.json'))",
            ),
            (
                "child.py",
                "_base_ = './base.py'\ntrain_dataloader = dict(dataset=dict(pipeline=[dict(type='Mosaic')]))",
            ),
        ];
        let config = Config::load("child.py", &MapLoader::new(files)).unwrap();
        let found = check_with(&config, None, Lookup::own());
        assert!(found[0].message.contains("mixes several pictures") && found[0].fixes().is_empty());
    }
}
