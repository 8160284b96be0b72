//! Files of proposals, which a Fast R-CNN is given in place of a first stage (Girshick 2015, arXiv 1504.08083): read without executing them, and
//! written.
//!
//! As MMDetection 3.3.0's `DumpProposals` writes them and its data sets (`proposal_file`) read them: a pickle of a dict that has for each picture,
//! by `folder/name` of its file, an `InstanceData` or a dict with the arrays `bboxes`, `[n, 4]`, xyxy px, and `scores`, `[n]`. Written are dicts, which
//! need no MMEngine to be read.

use std::collections::HashMap;
use std::sync::Arc;

use super::graph::{Graph, Outside};
use super::pickle::{self, Budget, Id, Node};
use super::save::Pickler;
use super::storage::Storages;
use super::tensor::TensorView;

/// Values in a file: COCO's 118,287 training pictures take 40 or so each.
const MAX_VALUES: usize = 8_000_000;

/// Boxes that may hold an object of a picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Proposals {
    /// xyxy, px of the picture as it was loaded.
    pub boxes: Vec<[f32; 4]>,
    /// One for each box; zeros where the file has none.
    pub scores: Vec<f32>,
}

/// Proposals of pictures, by `folder/name` of each: [`proposal_key`].
pub type ProposalFile = HashMap<String, Arc<Proposals>>;

/// What a file of proposals calls the picture at `path`: its folder and name.
pub fn proposal_key(path: &str) -> &str {
    let mut slashes = path.rmatch_indices('/');
    match (slashes.next(), slashes.next()) {
        (_, Some((folder, _))) => &path[folder + 1..],
        // a file of the root folder
        (Some((0, _)), None) => &path[1..],
        _ => path,
    }
}

/// Reads the content of a file.
///
/// # Errors
/// What it is instead, or what is wrong with which picture.
pub fn read_proposals(bytes: Vec<u8>) -> Result<ProposalFile, String> {
    let mut storages = Storages::new(bytes);
    let file = storages.file();
    let budget = Budget::of_values(MAX_VALUES);
    let pickle = pickle::parse(&file, 0, &budget).map_err(|e| e.to_string())?;
    let Some(pairs) = pickle.pairs(pickle.root) else {
        return Err(not_a_dict(pickle.node(pickle.root)).to_owned());
    };
    let mut graph = Graph::new(&pickle, Some(0), Outside::Nowhere, false);
    // What is kept is never more than a few times the file, however often its arrays are named.
    let mut left = file.len();
    let mut found = HashMap::new();
    for (key, value) in pairs.iter() {
        let name = pickle.text(*key).ok_or("a key that is no text")?;
        let read = picture(&mut graph, *value, &mut storages, &mut left);
        let proposals = read.map_err(|why| format!("the proposals of `{name}`: {why}"))?;
        found.insert(name.into_owned(), Arc::new(proposals));
    }
    budget.check().map_err(|e| e.to_string())?;
    Ok(found)
}

fn not_a_dict(root: &Node) -> &'static str {
    match root {
        Node::List(_) => {
            "it holds a list, as MMDetection 2 wrote it: `DumpProposals` of MMDetection 3 writes a dict of pictures"
        }
        _ => "it holds no dict of pictures, which `DumpProposals` of MMDetection 3 writes",
    }
}

fn picture(
    graph: &mut Graph,
    value: Id,
    storages: &mut Storages,
    left: &mut usize,
) -> Result<Proposals, String> {
    let pickle = graph.pickle;
    let part = |key: &str| {
        let of_dict = pickle.get(value, key);
        of_dict.or_else(|| pickle.attribute(value, key))
    };
    let bboxes = part("bboxes").ok_or("there is no `bboxes`")?;
    let (shape, numbers) = numbers(graph, bboxes, storages, left)?;
    let &[count, 4] = &shape[..] else {
        return Err(format!("`bboxes` has the shape {shape:?}, not [n, 4]"));
    };
    let (boxes, _) = numbers.as_chunks::<4>();
    let scores = match part("scores") {
        None => vec![0.0; count],
        Some(scores) => {
            let (shape, scores) = self::numbers(graph, scores, storages, left)?;
            if shape != [count] {
                return Err(format!("{count} boxes have scores of the shape {shape:?}"));
            }
            scores
        }
    };
    Ok(Proposals {
        boxes: boxes.to_vec(),
        scores,
    })
}

/// An array's shape and numbers.
fn numbers(
    graph: &mut Graph,
    id: Id,
    storages: &mut Storages,
    left: &mut usize,
) -> Result<(Vec<usize>, Vec<f32>), String> {
    let info = graph.tensor(id, storages)?.ok_or("what is no array")?;
    let rest = left.checked_sub(info.count());
    *left = rest.ok_or("the file has more boxes than bytes")?;
    let (key, info) = ("proposals", &info);
    let view = TensorView {
        key,
        info,
        storages,
    };
    let numbers = view.f32().map_err(|e| e.to_string())?;
    Ok((info.shape.clone(), numbers))
}

/// A file's content. Of pictures of one name the last one counts.
pub fn write_proposals<'p>(pictures: impl Iterator<Item = (&'p str, &'p Proposals)>) -> Vec<u8> {
    let mut pickler = Pickler::new();
    pickler.dict();
    for (name, proposals) in pictures {
        let Proposals { boxes, scores } = proposals;
        pickler.text(name);
        pickler.dict();
        pickler.text("bboxes");
        pickler.array(&[boxes.len(), 4], boxes.as_flattened());
        pickler.text("scores");
        pickler.array(&[scores.len()], scores);
        pickler.end_dict();
    }
    pickler.end_dict();
    pickler.finish().0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pictures as MMDetection 3.3.0's `DumpProposals` has written them (`tests/data/checkpoints/make.py`).
    const DUMPED: &[u8] = include_bytes!("../../../tests/data/checkpoints/proposals.pkl");

    #[test]
    fn what_mmdetection_wrote_is_read() {
        let read = read_proposals(DUMPED.to_vec()).unwrap();
        assert_eq!(read.len(), 2);
        let first = &read["val/a.jpg"];
        assert_eq!(first.boxes, [[1.5, 2.0, 30.25, 40.0], [0.0, 0.0, 8.0, 9.5]]);
        assert_eq!(first.scores, [0.75, 0.25]);
        assert_eq!(*read["val/b.jpg"], Proposals::default());
    }

    #[test]
    fn what_is_written_is_read() {
        let proposals = Proposals {
            boxes: vec![[1.0, 2.0, 3.0, 4.5]; 300],
            scores: (0..300).map(|i| i as f32).collect(),
        };
        let none = Proposals::default();
        let pictures = [("a/b.jpg", &proposals), ("c.jpg", &none)];
        let read = read_proposals(write_proposals(pictures.into_iter())).unwrap();
        assert_eq!(*read["a/b.jpg"], proposals);
        assert_eq!((read.len(), &*read["c.jpg"]), (2, &none));
    }

    #[test]
    fn others_are_errors() {
        // pickle.dumps of [1], {'a': {}}, {'a': {'bboxes': 3}} and {3: 4}
        for (pickle, why) in [
            (&b"\x80\x03]K\x01a."[..], "a list, as MMDetection 2"),
            (b"\x80\x03}X\x01\0\0\0a}s.", "`a`: there is no `bboxes`"),
            (
                b"\x80\x03}X\x01\0\0\0a}X\x06\0\0\0bboxesK\x03ss.",
                "`a`: what is no array",
            ),
            (b"\x80\x03}K\x03K\x04s.", "a key that is no text"),
            (b"\x80\x03K\x01.", "no dict of pictures"),
            (b"[[1, 2]]", "pickle"),
            (&DUMPED[..DUMPED.len() - 9], "pickle"),
        ] {
            let error = read_proposals(pickle.to_vec()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let proposals = Proposals {
            boxes: vec![[0.0; 4]],
            scores: vec![0.5, 0.25],
        };
        let error = read_proposals(write_proposals([("a", &proposals)].into_iter())).unwrap_err();
        assert!(error.contains("1 boxes have scores of the shape [2]"));
    }

    /// One array, named by ten thousand pictures.
    #[test]
    fn what_is_kept_is_bounded() {
        let mut pickler = Pickler::new();
        pickler.dict();
        pickler.text("bboxes");
        pickler.array(&[1000, 4], &[0.0; 4000]);
        pickler.end_dict();
        let (mut bytes, _) = pickler.finish();
        // The memo's last place is taken by the inner dict, to which all keys lead.
        bytes.pop();
        bytes.extend(b"r\xff\0\0\0");
        bytes.extend(b"}(");
        for i in 0..10_000 {
            bytes.extend(b"X\x05\0\0\0");
            bytes.extend(format!("{i:05}").as_bytes());
            bytes.extend(b"j\xff\0\0\0");
        }
        bytes.extend(b"u.");
        let error = read_proposals(bytes).unwrap_err();
        assert!(error.contains("more boxes than bytes"), "{error}");
    }

    #[test]
    fn keys_are_folder_and_name() {
        for (path, key) in [
            ("data/coco/val2017/1.jpg", "val2017/1.jpg"),
            ("val/1.jpg", "val/1.jpg"),
            ("/val/1.jpg", "val/1.jpg"),
            ("1.jpg", "1.jpg"),
            ("/1.jpg", "1.jpg"),
        ] {
            assert_eq!(proposal_key(path), key);
        }
    }
}
