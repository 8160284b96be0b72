//! [`Outline`]: a model layer by layer, without its weights: parameters, which of them are frozen, what each layer gives of a picture, and how many
//! products that takes. And what one of the layers gives of a picture, with weights ([`Predictor::maps`]).

use std::collections::HashMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use burn::tensor::{Device, Tensor};

use crate::batch::Pictures;
use crate::config::{Config, Diagnostics, Node};
use crate::data::{Meta, Picture};
use crate::detectors::Detector;
use crate::layers::{Mode, Params, Role, Store};
use crate::limits;
use crate::model;
use crate::ops::count::{self, Given};
use crate::ops::watch;
use crate::predict::{PredictError, Predictor};
use crate::probe::Probe;
use crate::registry::Registry;

/// A model, as it would see one picture.
#[derive(Clone, Debug)]
pub struct Outline {
    /// `[N, C, H, W]`, after what the model needs was padded.
    pub input: [usize; 4],
    /// Layers in the order of the state dict; then those that have weights of several places, as merged branches have.
    pub layers: Vec<Layer>,
    /// `backbone` and `neck`, each with the maps that it gives.
    pub parts: Vec<(String, Vec<[usize; 4]>)>,
    /// Why the layers behind `parts` have neither shapes nor products.
    pub unknown: Option<String>,
}

/// A place with tensors of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// Its name, such as `backbone.layer1.0.conv1`.
    pub place: String,
    /// Its tensors and their shapes.
    pub tensors: Vec<(String, Vec<usize>)>,
    /// Numbers in its parameters; of a parameter that two places share, at the first one.
    pub parameters: u64,
    /// Those of them that are frozen when training begins.
    pub frozen: u64,
    /// The shapes of what it gives, one for each time that it is asked. Empty where that is not seen: of norms, which change no shape.
    pub outputs: Vec<Vec<usize>>,
    /// Products of two numbers that this takes, as MMEngine counts "FLOPs".
    pub products: u64,
}

impl Outline {
    /// Of a config's model and a picture of `height` x `width` px.
    ///
    /// # Errors
    /// What is wrong with the model.
    pub fn of(
        config: &Config,
        registry: &Registry,
        [height, width]: [usize; 2],
    ) -> Result<Self, Diagnostics> {
        let device = Device::flex();
        let params = Params::new(&device, Mode::Plan, None);
        let detector = model::walk(config, registry, params.clone(), None)?;
        limits::check(model::node(config)?, &params.state())?;
        let padded = model::preprocessor(config)?.pad_shape([height, width]);
        let size = detector
            .only_size()
            .unwrap_or_else(|| padded.map(|side| side.next_multiple_of(detector.size_divisor())));
        let mut outline = Self {
            input: [1, detector.channels_in(), size[0], size[1]],
            layers: layers(&params.store()),
            parts: Vec::new(),
            unknown: limits::check_picture(size).err(),
        };
        if outline.unknown.is_none() {
            let given = outline.walk(&*detector, &device);
            outline.take(given);
        }
        Ok(outline)
    }

    /// Numbers in all parameters, and in those that are frozen.
    pub fn parameters(&self) -> [u64; 2] {
        let sum = |of: fn(&Layer) -> u64| self.layers.iter().map(of).sum();
        [sum(|layer| layer.parameters), sum(|layer| layer.frozen)]
    }

    /// Products of all layers.
    pub fn products(&self) -> u64 {
        self.layers.iter().map(|layer| layer.products).sum()
    }

    fn walk(&mut self, detector: &dyn Detector, device: &Device) -> Vec<Given> {
        let [_, _, height, width] = self.input;
        let meta = Meta {
            ori_shape: [height, width],
            img_shape: [height, width],
            pad_shape: [height, width],
            scale_factor: [1.0, 1.0],
            ..Meta::default()
        };
        let pictures = Pictures {
            metas: vec![meta],
            rescale: false,
        };
        let parts = &mut self.parts;
        let mut tell = |part: &str, maps: &[Tensor<4>]| {
            if matches!(part, "backbone" | "neck") {
                parts.push((part.to_owned(), maps.iter().map(Tensor::dims).collect()));
            }
        };
        let run = || {
            let pixels = Tensor::zeros(self.input, device);
            let maps = detector.extract(pixels, &mut Probe::new(&mut tell));
            let found = pin!(detector.predict(maps, &pictures, &mut Probe::off()));
            // There is nobody to be waited for on the processor.
            match found.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(_)) => None,
                Poll::Ready(Err(e)) => Some(e.to_string()),
                Poll::Pending => Some("the device did not answer".to_owned()),
            }
        };
        let (unknown, given) = count::layers(run);
        self.unknown = unknown;
        given
    }

    /// Takes what layers were asked for. What has no place of its own is of what the layer before it is in: attention of its block.
    fn take(&mut self, given: Vec<Given>) {
        let places = self.layers.iter().enumerate();
        let mut places: HashMap<String, usize> =
            places.map(|(i, layer)| (layer.place.clone(), i)).collect();
        let mut around = String::new();
        for given in given {
            let named = given.place.is_some();
            let place = match given.place {
                Some(place) => {
                    around = parent(&place).to_owned();
                    place.to_string()
                }
                None => around.clone(),
            };
            let i = *places.entry(place).or_insert_with_key(|place| {
                self.layers.push(Layer {
                    place: place.clone(),
                    ..Layer::default()
                });
                self.layers.len() - 1
            });
            let layer = &mut self.layers[i];
            layer.products += given.products;
            if named {
                layer.outputs.push(given.shape);
            }
        }
    }
}

fn parent(place: &str) -> &str {
    place.rsplit_once('.').map_or("", |(parent, _)| parent)
}

/// The places that have tensors.
fn layers(store: &Store) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (name, slot) in store.entries() {
        let (place, tensor) = name.rsplit_once('.').unwrap_or(("", &name));
        let i = *places.entry(place.to_owned()).or_insert_with(|| {
            layers.push(Layer {
                place: place.to_owned(),
                ..Layer::default()
            });
            layers.len() - 1
        });
        let layer = &mut layers[i];
        layer
            .tensors
            .push((tensor.to_owned(), slot.shape().to_vec()));
        if slot.role() == Role::Parameter && slot.key() == name {
            let numbers = slot.shape().iter().map(|n| *n as u64).product::<u64>();
            layer.parameters += numbers;
            layer.frozen += if slot.frozen() { numbers } else { 0 };
        }
    }
    layers
}

/// Height and width that pictures have after a config's test pipeline, as far as it says: the scale of its first `Resize`, of which a picture that
/// keeps its ratio fills no more.
pub fn usual_size(config: &Config) -> Option<[usize; 2]> {
    let steps = model::test_pipeline(config)?.as_items()?;
    let side = |node: &Node| node.as_int().and_then(|n| usize::try_from(n).ok());
    steps.iter().find_map(|step| {
        let scale = step.get("scale")?;
        let [width, height] = match scale.as_items() {
            Some([width, height]) => [side(width)?, side(height)?],
            Some(_) => return None,
            None => [side(scale)?; 2],
        };
        (height > 0 && width > 0).then_some([height, width])
    })
}

/// What a layer gives of a picture.
#[derive(Clone, Debug)]
pub struct Maps {
    /// One for each time that the layer is asked: those of a head once for each level.
    pub maps: Vec<Tensor<4>>,
    /// Height and width of the picture as the model sees it, px.
    pub picture: [usize; 2],
    /// Height and width of the batch that the maps cover, px: below and right of the picture it is padded.
    pub batch: [usize; 2],
}

impl Predictor {
    /// What `backbone`, `neck` or the layer at `place` (an [`Outline`] has the names) gives of a picture; no maps if there is no such convolution.
    ///
    /// # Errors
    /// A picture that the pipeline cannot take, or the device failed.
    pub async fn maps(&self, picture: &Picture, place: &str) -> Result<Maps, PredictError> {
        let batch = self.batch(std::slice::from_ref(picture))?;
        let [_, _, height, width] = batch.pixels.dims();
        let shape = batch.pictures.metas.first().map(|meta| meta.img_shape);
        let mut told = Vec::new();
        let mut tell = |part: &str, maps: &[Tensor<4>]| {
            if part == place {
                told = maps.to_vec();
            }
        };
        let extract = || {
            self.detector()
                .extract(batch.pixels, &mut Probe::new(&mut tell))
        };
        let (maps, mut seen) = watch::watching(place, extract);
        if told.is_empty() && seen.is_empty() {
            let pictures = &batch.pictures;
            let heads = || self.detector().predict(maps, pictures, &mut Probe::off());
            // what the first stage gives, and the heads of one: behind it is no picture any more
            let (found, of_heads) = watch::watching(place, heads);
            seen = of_heads;
            if seen.is_empty() {
                drop(found);
            }
        }
        Ok(Maps {
            maps: if told.is_empty() { seen } else { told },
            picture: shape.unwrap_or([height, width]),
            batch: [height, width],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MapLoader;

    const RETINA: &str = "
model = dict(type='RetinaNet', data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
    backbone=dict(type='ResNet', depth=18, stem_channels=4, base_channels=4, out_indices=[1, 2, 3], frozen_stages=1),
    neck=dict(type='FPN', in_channels=[8, 16, 32], out_channels=8, num_outs=3),
    bbox_head=dict(type='RetinaHead', num_classes=2, in_channels=8, stacked_convs=1, feat_channels=8,
        anchor_generator=dict(type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1, ratios=[1.0], strides=[8, 16, 32])),
    test_cfg=dict(nms_pre=50, score_thr=0.05, max_per_img=10, nms=dict(type='nms', iou_threshold=0.5)))
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(90, 60), keep_ratio=True), dict(type='PackDetInputs')]
";

    const FASTER: &str = "
model = dict(type='FasterRCNN',
    backbone=dict(type='ResNet', depth=18, stem_channels=4, base_channels=4, out_indices=[1, 2]),
    neck=dict(type='FPN', in_channels=[8, 16], out_channels=8, num_outs=3),
    rpn_head=dict(type='RPNHead', in_channels=8, feat_channels=8,
        anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[1.0], strides=[8, 16, 32])),
    roi_head=dict(type='StandardRoIHead',
        bbox_roi_extractor=dict(type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0), out_channels=8,
            featmap_strides=[8, 16]),
        bbox_head=dict(type='Shared2FCBBoxHead', in_channels=8, fc_out_channels=16, roi_feat_size=7, num_classes=3)),
    test_cfg=dict(rpn=dict(nms_pre=50, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10)))
";

    fn config(text: &str) -> Config {
        Config::parse(text, "test.py", &MapLoader::default()).unwrap()
    }

    fn outline(text: &str, size: [usize; 2]) -> Outline {
        Outline::of(&config(text), &crate::registry(), size).unwrap()
    }

    #[test]
    fn layers_have_shapes_products_and_what_is_frozen() {
        let size = usual_size(&config(RETINA)).unwrap();
        assert_eq!(size, [60, 90]);
        let outline = outline(RETINA, size);
        assert_eq!((outline.input, &outline.unknown), ([1, 3, 64, 96], &None));
        let layer = |place: &str| outline.layers.iter().find(|l| l.place == place).unwrap();
        let stem = layer("backbone.conv1");
        assert_eq!(stem.outputs, [[1, 4, 32, 48]]);
        assert_eq!(stem.products, 32 * 48 * 4 * 3 * 49);
        assert_eq!((stem.parameters, stem.frozen), (3 * 4 * 49, 3 * 4 * 49));
        let norm = layer("backbone.bn1");
        assert_eq!(
            (norm.parameters, norm.frozen, norm.outputs.len()),
            (8, 8, 0)
        );
        assert_eq!(layer("backbone.layer2.0.conv1").frozen, 0);
        let last = layer("bbox_head.retina_cls");
        assert_eq!(
            last.outputs,
            [[1, 2, 8, 12], [1, 2, 4, 6], [1, 2, 2, 3]],
            "once for each level"
        );
        let neck = outline.parts.iter().find(|(name, _)| name == "neck");
        assert_eq!(neck.unwrap().1[0], [1, 8, 8, 12]);
        let state = model::state(&config(RETINA), &crate::registry()).unwrap();
        let parameters = state.iter().filter(|e| e.role == Role::Parameter);
        let numbers = parameters.map(|e| e.shape.iter().product::<usize>() as u64);
        assert_eq!(outline.parameters()[0], numbers.sum::<u64>());
    }

    #[test]
    fn the_second_stage_is_seen_too() {
        let outline = outline(FASTER, [64, 64]);
        assert_eq!(outline.unknown, None);
        let layer = |place: &str| outline.layers.iter().find(|l| l.place == place).unwrap();
        let [regions, features] = layer("roi_head.bbox_head.shared_fcs.0").outputs[0][..] else {
            panic!("rows of features");
        };
        assert!(regions > 0 && features == 16, "{regions} x {features}");
        assert_eq!(layer("rpn_head.rpn_cls").outputs.len(), 3);
    }

    #[test]
    fn maps_of_a_layer() {
        let config = config(RETINA);
        let predictor = Predictor::builder(&config).build().unwrap();
        let picture = Picture::new(90, 60, 3, vec![100; 90 * 60 * 3]).unwrap();
        let maps = |place| pollster::block_on(predictor.maps(&picture, place)).unwrap();
        let dims = |of: &Maps| of.maps.iter().map(Tensor::dims).collect::<Vec<_>>();
        let neck = maps("neck");
        assert_eq!((neck.picture, neck.batch), ([60, 90], [64, 96]));
        assert_eq!(dims(&neck), [[1, 8, 8, 12], [1, 8, 4, 6], [1, 8, 2, 3]]);
        assert_eq!(dims(&maps("backbone.conv1")), [[1, 4, 32, 48]]);
        assert_eq!(dims(&maps("bbox_head.retina_cls")).len(), 3);
        assert!(maps("backbone.layer9").maps.is_empty());
    }
}
