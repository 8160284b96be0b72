//! [`Targets`]: what is to be learned of the pictures of a batch, in the host's memory.
//!
//! Which priors are to find which objects depends on nothing but boxes, for most heads; that is worked out here, while the device is still
//! at the layers before. Heads whose assigner asks what they predict take the objects to the device ([`Targets::padded`]).

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use crate::data::packed::Packed;
use crate::structures::{GroundTruth, Masks, Xyxy};

/// One entry for each picture of a batch.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// The objects of each picture.
    pub pictures: Vec<Objects>,
}

/// The objects of one picture.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// xyxy in pixels of the batch.
    pub boxes: Vec<Xyxy>,
    /// Classes, one for each box.
    pub labels: Vec<usize>,
    /// What is neither to be found nor to be held against anyone, px.
    pub ignored: Vec<Xyxy>,
    /// One for each box, where the pipeline loads them.
    pub masks: Option<Masks>,
}

/// The objects of a batch on the device, as many rows for each picture as the picture with most objects has.
#[derive(Clone, Debug)]
pub struct Padded {
    /// `[N, G, 4]`, xyxy px; zeros where there is no object.
    pub boxes: Tensor<3>,
    /// `[N, G]`; zeros where there is no object.
    pub labels: Tensor<2, Int>,
    /// `[N, G]`: there is one.
    pub there: Tensor<2, Bool>,
}

impl Targets {
    /// The objects of samples.
    ///
    /// # Errors
    /// A label is not one of `classes`.
    pub fn of(samples: &[Packed], classes: Option<usize>) -> Result<Self, String> {
        let classes = classes.unwrap_or(usize::MAX);
        let pictures = samples.iter().map(|sample| {
            let label = |label: &i64| match usize::try_from(*label) {
                Ok(label) if label < classes => Ok(label),
                _ => Err(format!(
                    "{}: an object of class {label}, and the model tells classes 0 to {} apart: \
                     `num_classes` of the head and `metainfo` of the data set belong together",
                    sample.meta.img_path,
                    classes.saturating_sub(1)
                )),
            };
            let GroundTruth {
                boxes,
                labels,
                masks,
                ..
            } = sample.gt.clone();
            Ok(Objects {
                boxes,
                labels: labels.iter().map(label).collect::<Result<_, _>>()?,
                ignored: sample.ignored.boxes.clone(),
                masks,
            })
        });
        Ok(Self {
            pictures: pictures.collect::<Result<_, String>>()?,
        })
    }

    /// The same where objects are told from background only.
    pub fn one_class(&self) -> Self {
        let mut targets = self.clone();
        for objects in &mut targets.pictures {
            objects.labels.fill(0);
        }
        targets
    }

    /// On the device, at least one row for each picture.
    pub fn padded(&self, device: &Device) -> Padded {
        let (n, most) = (self.pictures.len(), self.pictures.iter());
        let most = most.map(|o| o.boxes.len()).max().unwrap_or(0).max(1);
        let (mut boxes, mut labels, mut there) = (Vec::new(), Vec::new(), Vec::new());
        for objects in &self.pictures {
            let given = objects.boxes.len();
            boxes.extend(objects.boxes.iter().flatten().copied());
            boxes.resize(boxes.len() + (most - given) * 4, 0.0f32);
            labels.extend(objects.labels.iter().map(|l| *l as i32));
            labels.resize(labels.len() + most - given, 0i32);
            there.extend((0..most).map(|i| i < given));
        }
        Padded {
            boxes: Tensor::from_data(TensorData::new(boxes, [n, most, 4]), device),
            labels: Tensor::from_data(TensorData::new(labels, [n, most]), device),
            there: Tensor::from_data(TensorData::new(there, [n, most]), device),
        }
    }
}
