//! Detections in COCO's result form: a JSON list of
//! `{"image_id", "category_id", "bbox": [x, y, w, h], "score"}`, boxes in pixels of the original picture.
//!
//! `image_id` is the annotation file's for that `file_name`; without a file, or for a picture that
//! it does not list, the picture's file name. `category_id` is the annotation file's for the class
//! name; without a file the label, from 0, as MMDetection's `CocoMetric` counts then.

use std::io::{self, Write};

use serde::Serialize;

use crate::data::coco::{Ids, ImageId};

/// One detection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The picture.
    pub image_id: ImageId,
    /// The class.
    pub category_id: i64,
    /// Left, top, width, height, px.
    pub bbox: [f64; 4],
    /// 0 to 1.
    pub score: f64,
}

/// COCO's box of ours.
pub fn xywh_from_xyxy(xyxy: [f32; 4]) -> [f64; 4] {
    let [x1, y1, x2, y2] = xyxy.map(f64::from);
    [x1, y1, x2 - x1, y2 - y1]
}

/// Ids of pictures and classes for results.
#[derive(Clone, Debug)]
pub struct Naming {
    ids: Option<Ids>,
    /// Per label; `None`: the annotation file does not have the class.
    categories: Vec<Option<i64>>,
}

impl Naming {
    /// For a model's classes and the annotation file, if one is given.
    ///
    /// # Errors
    /// If the file has categories, but none of the model's.
    pub fn new(classes: &[String], ids: Option<Ids>) -> Result<Self, String> {
        let categories: Vec<Option<i64>> = match &ids {
            Some(ids) if !ids.categories().is_empty() => {
                classes.iter().map(|name| ids.category(name)).collect()
            }
            _ => (0..classes.len() as i64).map(Some).collect(),
        };
        if !classes.is_empty() && categories.iter().all(Option::is_none) {
            let known = ids.iter().flat_map(|ids| ids.categories());
            let known: Vec<&str> = known.take(5).map(|c| c.name.as_str()).collect();
            return Err(format!(
                "none of the model's classes ({}, ...) is a category of the annotation file ({}, ...)",
                classes[..classes.len().min(5)].join(", "),
                known.join(", ")
            ));
        }
        Ok(Self { ids, categories })
    }

    /// Classes that the annotation file lacks; their detections have no place in the results.
    pub fn missing<'a>(&self, classes: &'a [String]) -> Vec<&'a str> {
        let pairs = classes.iter().zip(&self.categories);
        pairs
            .filter(|(_, id)| id.is_none())
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// The id of the picture at `path`.
    pub fn image(&self, path: &str) -> ImageId {
        let listed = self.ids.as_ref().and_then(|ids| ids.image(path));
        let name = || path.rsplit(['/', '\\']).next().unwrap_or(path).to_owned();
        listed.cloned().unwrap_or_else(|| ImageId::Name(name()))
    }

    /// The id of a class. `None` if the annotation file does not have it. A label without a class
    /// name is its own id.
    pub fn category(&self, label: usize) -> Option<i64> {
        self.categories
            .get(label)
            .copied()
            .unwrap_or(Some(label as i64))
    }
}

/// Writes rows one by one, so that nothing but the current picture's is in memory.
#[derive(Debug)]
pub struct ResultWriter<W: Write> {
    out: W,
    rows: usize,
}

impl<W: Write> ResultWriter<W> {
    /// Begins the list. Give it something buffered.
    ///
    /// # Errors
    /// Of writing.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(b"[")?;
        Ok(Self { out, rows: 0 })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// Of writing.
    pub fn row(&mut self, row: &Row) -> io::Result<()> {
        self.out
            .write_all(if self.rows == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut self.out, row)?;
        self.rows += 1;
        Ok(())
    }

    /// Appends a picture's detections, boxes xyxy in px. Returns how many have no place because the
    /// annotation file lacks their class.
    ///
    /// # Errors
    /// Of writing.
    pub fn picture(
        &mut self,
        naming: &Naming,
        path: &str,
        boxes: &[[f32; 4]],
        scores: &[f32],
        labels: &[usize],
    ) -> io::Result<usize> {
        let image_id = naming.image(path);
        let mut left_out = 0;
        for ((xyxy, score), label) in boxes.iter().zip(scores).zip(labels) {
            let Some(category_id) = naming.category(*label) else {
                left_out += 1;
                continue;
            };
            self.row(&Row {
                image_id: image_id.clone(),
                category_id,
                bbox: xywh_from_xyxy(*xyxy),
                score: f64::from(*score),
            })?;
        }
        Ok(left_out)
    }

    /// Ends the list and gives the output back, flushed.
    ///
    /// # Errors
    /// Of writing.
    pub fn finish(mut self) -> io::Result<W> {
        self.out
            .write_all(if self.rows == 0 { b"]\n" } else { b"\n]\n" })?;
        self.out.flush()?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    fn written(naming: &Naming, path: &str) -> String {
        let mut writer = ResultWriter::new(Vec::new()).unwrap();
        let boxes = [[1.5, 2.0, 4.0, 8.25], [0.0, 0.0, 1.0, 1.0]];
        writer
            .picture(naming, path, &boxes, &[0.5, 0.25], &[1, 0])
            .unwrap();
        String::from_utf8(writer.finish().unwrap()).unwrap()
    }

    #[test]
    fn without_annotations() {
        let naming = Naming::new(&names(&["cat", "dog"]), None).unwrap();
        assert_eq!(
            written(&naming, "pictures/a.jpg"),
            "[\n{\"image_id\":\"a.jpg\",\"category_id\":1,\"bbox\":[1.5,2.0,2.5,6.25],\"score\":0.5},\n\
             {\"image_id\":\"a.jpg\",\"category_id\":0,\"bbox\":[0.0,0.0,1.0,1.0],\"score\":0.25}\n]\n"
        );
        let empty = ResultWriter::new(Vec::new()).unwrap().finish().unwrap();
        assert_eq!(empty, b"[]\n");
    }

    #[test]
    fn with_annotations() {
        let json = br#"{"images": [{"id": 42, "file_name": "a.jpg"}],
            "categories": [{"id": 90, "name": "dog"}, {"id": 7, "name": "cow"}]}"#;
        let classes = names(&["cat", "dog"]);
        let naming = Naming::new(&classes, Some(Ids::read(json).unwrap())).unwrap();
        assert_eq!(naming.missing(&classes), ["cat"]);
        assert_eq!(
            written(&naming, "pictures/a.jpg"),
            "[\n{\"image_id\":42,\"category_id\":90,\"bbox\":[1.5,2.0,2.5,6.25],\"score\":0.5}\n]\n"
        );
        assert_eq!(naming.image("b/c.jpg"), ImageId::Name("c.jpg".into()));
        let error = Naming::new(&names(&["x"]), Some(Ids::read(json).unwrap())).unwrap_err();
        assert!(
            error.contains("(x, ...)") && error.contains("(dog, cow, ...)"),
            "{error}"
        );
    }
}
