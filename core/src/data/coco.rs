//! COCO annotation files: as much as results need, ids of pictures and categories.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// `id` of a picture: COCO's are numbers, some data sets have strings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged, expecting = "an integer or a string")]
pub enum ImageId {
    /// A number.
    Number(i64),
    /// A name; also that of a picture which no annotation file lists.
    Name(String),
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageId::Number(n) => n.fmt(f),
            ImageId::Name(name) => name.fmt(f),
        }
    }
}

/// A picture of an annotation file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// Its file, below the folder of pictures.
    pub file_name: String,
}

/// A category of an annotation file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Category {
    /// Its id: any number, not an index.
    pub id: i64,
    /// The class name.
    pub name: String,
}

/// Ids of an annotation file; annotations are passed over.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    images: Vec<Image>,
    categories: Vec<Category>,
    by_path: HashMap<String, usize>,
    /// `None` where two pictures share a last component.
    by_name: HashMap<String, Option<usize>>,
}

#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
    #[serde(default)]
    categories: Vec<Category>,
}

impl Ids {
    /// Reads the text of an annotation file.
    ///
    /// # Errors
    /// What is wrong with it and where: no JSON, or no `images` with `id` and `file_name`.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let file: File =
            serde_json::from_slice(json).map_err(|e| format!("not a COCO annotation file: {e}"))?;
        let mut ids = Ids::default();
        for (i, image) in file.images.iter().enumerate() {
            let path = slashes(&image.file_name);
            let name = last(&path).to_owned();
            ids.by_name
                .entry(name)
                .and_modify(|at| *at = None)
                .or_insert(Some(i));
            ids.by_path.entry(path).or_insert(i);
        }
        ids.images = file.images;
        ids.categories = file.categories;
        Ok(ids)
    }

    /// Pictures, in the file's order.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// Categories, in the file's order.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// The id of the picture at `path`: its `file_name` is the end of the path, the longest such;
    /// or it is the only one whose last component is the same.
    pub fn image(&self, path: &str) -> Option<&ImageId> {
        let path = slashes(path);
        let starts = path.match_indices('/').map(|(i, _)| i + 1);
        let found = std::iter::once(0)
            .chain(starts)
            .find_map(|i| self.by_path.get(&path[i..]))
            .copied()
            .or_else(|| *self.by_name.get(last(&path))?);
        found.map(|i| &self.images[i].id)
    }

    /// The id of the category named `name`.
    pub fn category(&self, name: &str) -> Option<i64> {
        self.categories
            .iter()
            .find(|c| c.name == name)
            .map(|c| c.id)
    }
}

fn slashes(path: &str) -> String {
    let path = path.replace('\\', "/");
    path.strip_prefix("./").map_or(path.clone(), str::to_owned)
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_pictures_by_the_end_of_their_path() {
        let json = br#"{"images": [{"id": 7, "file_name": "a/1.jpg", "width": 3},
            {"id": "x", "file_name": "b/1.jpg"}, {"id": 9, "file_name": "2.jpg"}],
            "annotations": [{"id": 1}], "categories": [{"id": 18, "name": "dog"}]}"#;
        let ids = Ids::read(json).unwrap();
        assert_eq!(ids.image("/data/a/1.jpg"), Some(&ImageId::Number(7)));
        assert_eq!(ids.image("b\\1.jpg"), Some(&ImageId::Name("x".into())));
        assert_eq!(ids.image("elsewhere/1.jpg"), None, "two have that name");
        assert_eq!(ids.image("./val/2.jpg"), Some(&ImageId::Number(9)));
        assert_eq!(ids.image("22.jpg"), None);
        assert_eq!((ids.category("dog"), ids.category("cat")), (Some(18), None));
    }

    #[test]
    fn says_what_is_wrong() {
        let error = Ids::read(b"[1, 2]").unwrap_err();
        assert!(error.starts_with("not a COCO annotation file: "), "{error}");
        let error = Ids::read(br#"{"images": [{"id": 1.5, "file_name": "a"}]}"#).unwrap_err();
        assert!(error.contains("an integer or a string"), "{error}");
    }
}
