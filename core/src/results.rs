//! Detections in COCO's result form: a JSON list of
//! `{"image_id", "category_id", "bbox": [x, y, w, h], "score"}`, boxes in pixels of the original picture; from models that give masks with
//! `"segmentation": {"size": [h, w], "counts"}` besides, COCO's run lengths in their text form.
//!
//! `image_id` is the annotation file's for that `file_name`; a picture that the file does not list is left out, since
//! COCO's `loadRes` refuses results with other ids. Without a file it is the picture's file name. `category_id` is the
//! annotation file's for the class name; without a file the label, from 0, as MMDetection's `CocoMetric` counts then. Ids are
//! written as the file has them, numbers with all their digits.

use std::io::{self, Write};

use crate::data::coco::{Id, Ids, ImageId};
use crate::structures::Instances;
use crate::structures::masks::Runs;

/// One detection.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The picture.
    pub image_id: ImageId,
    /// The class.
    pub category_id: Id,
    /// Left, top, width, height, px.
    pub bbox: [f64; 4],
    /// 0 to 1.
    pub score: f64,
    /// Its pixels, from models that give masks.
    pub mask: Option<Runs>,
}

/// COCO's box of ours.
pub fn xywh_from_xyxy(xyxy: [f32; 4]) -> [f64; 4] {
    let [x1, y1, x2, y2] = xyxy.map(f64::from);
    [x1, y1, x2 - x1, y2 - y1]
}

/// COCO's compressed form of a mask.
pub fn segmentation(mask: &Runs) -> serde_json::Value {
    let [width, height] = mask.size();
    serde_json::json!({"size": [height, width], "counts": mask.text()})
}

/// Ids of pictures and classes for results.
#[derive(Clone, Debug)]
pub struct Naming {
    ids: Option<Ids>,
    /// Per label; `None`: the annotation file does not have the class.
    categories: Vec<Option<Id>>,
}

impl Naming {
    /// For a model's classes and the annotation file, if one is given.
    ///
    /// # Errors
    /// If the file has categories, but none of the model's; if it has two for one class.
    pub fn new(classes: &[String], ids: Option<Ids>) -> Result<Self, String> {
        let categories: Vec<Option<Id>> = match &ids {
            Some(ids) if !ids.categories().is_empty() => {
                let id = |name: &String| Ok(ids.category(name)?.cloned());
                classes.iter().map(id).collect::<Result<_, String>>()?
            }
            _ => (0..classes.len())
                .map(|label| Some(Id::Number(label as i64)))
                .collect(),
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

    /// The id of the picture at `path`; `None` if the annotation file does not list it.
    pub fn image(&self, path: &str) -> Option<ImageId> {
        match &self.ids {
            Some(ids) => ids.image(path).cloned(),
            None => {
                let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
                Some(ImageId::Name(name.to_owned()))
            }
        }
    }

    /// The id of a class. `None` if the annotation file does not have it. A label without a class
    /// name is its own id.
    pub fn category(&self, label: usize) -> Option<Id> {
        match self.categories.get(label) {
            Some(id) => id.clone(),
            None => Some(Id::Number(label as i64)),
        }
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
        let [image, category] = [&row.image_id, &row.category_id].map(Id::json);
        let bbox = serde_json::to_string(&row.bbox)?;
        let score = serde_json::to_string(&row.score)?;
        write!(
            self.out,
            "{{\"image_id\":{image},\"category_id\":{category},\"bbox\":{bbox},\"score\":{score}"
        )?;
        if let Some(mask) = &row.mask {
            write!(self.out, ",\"segmentation\":{}", segmentation(mask))?;
        }
        self.out.write_all(b"}")?;
        self.rows += 1;
        Ok(())
    }

    /// Appends a picture's detections. Returns how many have no place because the
    /// annotation file lacks the picture or their class.
    ///
    /// # Errors
    /// Of writing.
    pub fn picture(&mut self, naming: &Naming, path: &str, found: &Instances) -> io::Result<usize> {
        let Some(image_id) = naming.image(path) else {
            return Ok(found.len());
        };
        let mut left_out = 0;
        for i in 0..found.len() {
            let Some(category_id) = naming.category(found.labels[i]) else {
                left_out += 1;
                continue;
            };
            self.row(&Row {
                image_id: image_id.clone(),
                category_id,
                bbox: xywh_from_xyxy(found.boxes[i]),
                score: f64::from(found.scores[i]),
                mask: found.masks.as_ref().and_then(|masks| Runs::of(masks, i)),
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
    use crate::structures::{Bitmap, Masks};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    fn written(naming: &Naming, path: &str) -> String {
        let mut writer = ResultWriter::new(Vec::new()).unwrap();
        let found = Instances {
            boxes: vec![[1.5, 2.0, 4.0, 8.25], [0.0, 0.0, 1.0, 1.0]],
            scores: vec![0.5, 0.25],
            labels: vec![1, 0],
            masks: None,
        };
        writer.picture(naming, path, &found).unwrap();
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
    fn masks_are_run_lengths() {
        let naming = Naming::new(&names(&["cat"]), None).unwrap();
        let bitmap: Bitmap = vec![0, 1, 1, 0, 1, 1].into();
        let found = Instances {
            boxes: vec![[1.0, 0.0, 3.0, 2.0]],
            scores: vec![0.5],
            labels: vec![0],
            masks: Some(Masks::bitmaps([3, 2], vec![bitmap])),
        };
        let mut writer = ResultWriter::new(Vec::new()).unwrap();
        writer.picture(&naming, "a.jpg", &found).unwrap();
        let text = String::from_utf8(writer.finish().unwrap()).unwrap();
        // Down the columns: two pixels without, then four.
        let mask = r#""segmentation":{"counts":"24","size":[2,3]}"#;
        assert!(text.contains(mask), "{text}");
    }

    fn ids(json: &str) -> Option<Ids> {
        Some(crate::data::datasets::read_ids("a.json", json.as_bytes()).unwrap())
    }

    #[test]
    fn with_annotations() {
        let json = r#"{"images": [{"id": 42, "file_name": "a.jpg"}],
            "categories": [{"id": 90, "name": "dog"}, {"id": 7, "name": "cow"}]}"#;
        let classes = names(&["cat", "dog"]);
        let naming = Naming::new(&classes, ids(json)).unwrap();
        assert_eq!(naming.missing(&classes), ["cat"]);
        assert_eq!(
            written(&naming, "pictures/a.jpg"),
            "[\n{\"image_id\":42,\"category_id\":90,\"bbox\":[1.5,2.0,2.5,6.25],\"score\":0.5}\n]\n"
        );
        let error = Naming::new(&names(&["x"]), ids(json)).unwrap_err();
        assert!(
            error.contains("(x, ...)") && error.contains("(dog, cow, ...)"),
            "{error}"
        );
    }

    #[test]
    fn pictures_that_the_file_does_not_list_are_left_out() {
        let json = r#"{"images": [{"id": 42, "file_name": "a.jpg"}], "categories": []}"#;
        let naming = Naming::new(&names(&["cat", "dog"]), ids(json)).unwrap();
        assert_eq!(naming.image("b/c.jpg"), None);
        assert_eq!(written(&naming, "b/c.jpg"), "[]\n");
    }

    #[test]
    fn ids_are_the_files_own() {
        let long = "184467440737095516170000000000000000000000001";
        let json = format!(
            r#"{{"images": [{{"id": "007", "file_name": "a.jpg"}}, {{"id": {long}, "file_name": "b.jpg"}}, {{"id": -5.0, "file_name": "c.jpg"}}],
            "categories": [{{"id": "x", "name": "cat"}}, {{"id": {long}, "name": 1}}]}}"#
        );
        let naming = Naming::new(&names(&["cat", "1"]), ids(&json)).unwrap();
        let wanted = [("a.jpg", "\"007\""), ("b.jpg", long), ("c.jpg", "-5")];
        for (path, id) in wanted {
            let text = written(&naming, path);
            let first = format!("[\n{{\"image_id\":{id},\"category_id\":{long},\"bbox\"");
            assert!(text.starts_with(&first), "{text}");
            assert!(text.contains("\"category_id\":\"x\""), "{text}");
        }
    }

    #[test]
    fn a_class_with_two_categories() {
        let json = r#"{"images": [], "categories": [{"id": 0, "name": "dog"}, {"id": 1, "name": "dog"}],
            "annotations": [{"category_id": 1}]}"#;
        let naming = Naming::new(&names(&["dog"]), ids(json)).unwrap();
        assert_eq!(naming.category(0), Some(Id::Number(1)), "the used one");
        let error = Naming::new(&names(&["dog"]), ids(&json.replace(": 1}]}", ": 2}]}")));
        let error = error.unwrap_err();
        assert!(error.contains("id 0 without annotations, id 1"), "{error}");
    }
}
