//! [`Sample`]: what MMDetection calls `results`, on its way through a training pipeline.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::coco::ImageId;
use crate::image::Image;
use crate::picture::Fault;
use crate::structures::{Bitmap, Direction, GroundTruth, Masks, Polygon, Proposals, Xyxy};

/// What a data set knows of a picture (`get_data_info`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataInfo {
    /// `img_path`: where the file is, with the data set's root and prefix.
    pub img_path: String,
    /// `img_id`.
    pub img_id: Option<ImageId>,
    /// Index in the data set.
    pub index: usize,
    /// As the annotation file says, px; 0 if it does not.
    pub width: usize,
    /// As the annotation file says, px; 0 if it does not.
    pub height: usize,
    /// Its objects.
    pub instances: Vec<Instance>,
    /// `proposals`: where a `proposal_file` says that objects may be.
    pub proposals: Option<Arc<Proposals>>,
}

/// An object as an annotation file has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// px.
    pub bbox: Xyxy,
    /// Index of its class.
    pub label: i64,
    /// `ignore_flag`: a crowd, or difficult.
    pub ignore: bool,
    /// `mask`.
    pub mask: Segmentation,
}

/// COCO's `segmentation`.
#[derive(Clone, Debug, PartialEq)]
pub enum Segmentation {
    /// There is none.
    None,
    /// Polygons, px.
    Polygons(Polygon),
    /// Run lengths.
    Rle {
        /// The lengths.
        counts: crate::structures::masks::RleCounts,
        /// px.
        width: usize,
        /// px.
        height: usize,
    },
}

/// A picture with its objects, between two transforms.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What the data set says; `LoadImageFromFile` and `LoadAnnotations` read it.
    pub info: Arc<DataInfo>,
    /// `img`.
    pub image: Image,
    /// Objects.
    pub gt: GroundTruth,
    /// `LoadAnnotations(with_bbox=True)` ran: transforms treat boxes as present.
    pub has_boxes: bool,
    /// `ori_shape`: height and width as loaded.
    pub ori_shape: [usize; 2],
    /// `img_shape`: height and width; transforms set it as MMDetection does.
    pub img_shape: [usize; 2],
    /// `scale_factor`: x, y.
    pub scale_factor: Option<[f64; 2]>,
    /// `keep_ratio`.
    pub keep_ratio: Option<bool>,
    /// `flip`: `Some` once a RandomFlip ran.
    pub flip: Option<bool>,
    /// `flip_direction`.
    pub flip_direction: Option<Direction>,
    /// `proposals` and `proposals_scores`, once `LoadProposals` ran.
    pub proposals: Option<Arc<Proposals>>,
    /// `homography_matrix`, rows.
    pub homography: Option<[[f64; 3]; 3]>,
    /// `pad_shape`, height and width; `pad_size_divisor`; and other keys that only `meta_keys` reads, as JSON.
    pub more: BTreeMap<&'static str, serde_json::Value>,
    /// `mix_results`: the other pictures of a Mosaic, a MixUp or a CopyPaste.
    pub mix: Vec<Sample>,
    /// What `TestTimeAug` made: the sample itself is then of no use.
    pub variants: Vec<Sample>,
}

impl Sample {
    /// Before loading.
    pub fn new(info: Arc<DataInfo>) -> Self {
        Self {
            info,
            image: Image::none(),
            gt: GroundTruth::default(),
            has_boxes: false,
            ori_shape: [0, 0],
            img_shape: [0, 0],
            scale_factor: None,
            keep_ratio: None,
            flip: None,
            flip_direction: None,
            proposals: None,
            homography: None,
            more: BTreeMap::new(),
            mix: Vec::new(),
            variants: Vec::new(),
        }
    }

    /// Sets the picture and `img_shape`.
    pub fn set_image(&mut self, image: Image) {
        self.img_shape = [image.height(), image.width()];
        self.image = image;
    }

    /// The masks, if there are any.
    pub fn masks(&self) -> Option<&Masks> {
        self.gt.masks.as_ref()
    }

    /// `homography = matrix @ homography`, as mmdet's `_record_homography_matrix`.
    pub fn record_homography(&mut self, matrix: [[f64; 3]; 3]) {
        self.homography = Some(match self.homography {
            None => matrix,
            Some(old) => std::array::from_fn(|i| {
                std::array::from_fn(|j| (0..3).map(|k| matrix[i][k] * old[k][j]).sum())
            }),
        });
    }
}

/// For a mask of one object.
pub type Mask = Bitmap;

/// A sample that could not be made: which picture, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleError {
    /// The picture's file.
    pub path: String,
    /// Its id, where the annotation file has one.
    pub id: Option<ImageId>,
    /// Why.
    pub problem: Fault,
}

impl SampleError {
    /// Of the picture that `info` tells of, unless the problem is another picture's.
    pub fn new(info: &DataInfo, problem: Fault) -> Self {
        match problem {
            Fault::Other(error) => *error,
            problem => Self {
                path: info.img_path.clone(),
                id: info.img_id.clone(),
                problem,
            },
        }
    }
}

impl fmt::Display for SampleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "{} (id {id}): {}", self.path, self.problem),
            None => write!(f, "{}: {}", self.path, self.problem),
        }
    }
}

impl std::error::Error for SampleError {}
