//! [`Extras`]: what the blocks of some stages have beside the others': a middle that moves or switches (`dcn`, `sac`), plugins, and what comes back
//! from a recursive pyramid.

use super::class::Variant::{ResNeSt, TridentResNet};
use super::config::ResNetConfig;
use super::{Block, Class, MiddleConfig, StagePlan, Style, Variant};
use crate::backbones::plugins::PluginConfig;
use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::layers::{
    ConvConfig, ConvKind, ConvLayerConfig, ConvStyle, Distribution, Fan, Init, InitRule, Params,
};
use crate::limits::Channels;

/// Of one stage.
#[derive(Clone, Debug, Default)]
pub(in crate::backbones) struct Extras {
    /// The middle of its bottlenecks, where that is not as `conv_cfg` says.
    middle: Option<ConvKind>,
    /// Its first block's is as `conv_cfg` says all the same.
    first_plain: bool,
    /// The middle's offsets begin with 0, whatever others begin with.
    still: bool,
    /// Something follows the last convolution of its blocks.
    pub plugged: bool,
    /// It has branches of other dilations.
    pub trident: bool,
    /// Channels that come back from a recursive pyramid to its first block.
    rfp: Option<usize>,
}

impl Extras {
    fn middle_of(&self, first: bool) -> Option<ConvKind> {
        self.middle.filter(|_| !(first && self.first_plain))
    }

    /// The style of a block's middle, if it is another one.
    pub fn style(&self, style: &Style, first: bool) -> Option<Style> {
        self.middle_of(first).map(|kind| Style {
            conv: ConvStyle {
                kind,
                ..style.conv.clone()
            },
            ..*style
        })
    }

    /// Says what a block's middle begins with, before it is built.
    pub fn initialise(&self, style: &Style, first: bool, at: &Params) {
        let rule = |init| InitRule::all(init, 0.0);
        if self.trident {
            // The original's are whatever lies in memory; this is what it asks for at a place that nobody reaches.
            at.at("conv2").initialise(rule(Init::Kaiming {
                gain: std::f64::consts::SQRT_2,
                fan: Fan::In,
                distribution: Distribution::Uniform,
            }));
        }
        let Some(ConvKind::Deformable { modulated, .. }) = self.middle_of(first) else {
            return;
        };
        let reset = modulated && matches!(style.middle, MiddleConfig::Conv);
        if reset || self.still {
            let offsets = at.at("conv2.conv_offset");
            offsets.initialise(rule(Init::Constant(0.0)));
        }
    }
}

impl Block {
    /// Adds what is built last.
    pub(super) fn add<'a>(
        &mut self,
        plugins: impl Iterator<Item = &'a PluginConfig>,
        extras: &Extras,
        first: bool,
        stage: &StagePlan,
        at: &Params,
    ) {
        let mut plugins: Vec<_> = plugins.collect();
        plugins.sort_by_key(|plugin| plugin.position);
        for plugin in plugins {
            let channels = match plugin.position {
                0 | 1 => stage.width,
                _ => stage.channels,
            };
            self.plugins[plugin.position].push(plugin.init(channels, at));
        }
        self.rfp = extras.rfp.filter(|_| first).map(|channels| {
            let conv = ConvConfig::new(channels, stage.channels, 1).bias(true);
            conv.init(&at.at("rfp_conv"), None)
        });
    }
}

impl ResNetConfig {
    pub(super) fn extras(
        &self,
        node: &Node,
        class: Class,
        stages: &[StagePlan],
        bottleneck: bool,
    ) -> Result<Vec<Extras>, Diagnostics> {
        let mut all = vec![Extras::default(); stages.len()];
        if let Some(kind) = self.kind(node, class, "dcn", stages, bottleneck)? {
            let falls_back = falls_back(node)?;
            // The original forgets the key when a block has read it. Classes with blocks of their own read it twice before the first is made.
            let own = !matches!(
                class.variant,
                Variant::ResNet | Variant::ResNetV1d | TridentResNet
            );
            let wanted = wanted(self.stage_with_dcn.as_ref());
            for (i, extras) in all.iter_mut().enumerate() {
                if wanted(i) {
                    extras.middle = Some(kind);
                    extras.first_plain = falls_back && !own && !(0..i).any(&wanted);
                }
            }
        }
        for extras in &mut all {
            extras.still = class.is_detectors() && self.by_default(node, class);
        }
        if let Some(kind) = self.kind(node, class, "sac", stages, bottleneck)? {
            let wanted = wanted(self.stage_with_sac.as_ref());
            for i in (0..stages.len()).filter(|i| wanted(*i)) {
                all[i].middle = Some(kind);
                all[i].first_plain = false;
            }
        }
        let rfp = self.rfp_inplanes.map(Channels::get);
        all.iter_mut().skip(1).for_each(|extras| extras.rfp = rfp);
        if class.variant == TridentResNet
            && let Some(last) = all.last_mut()
        {
            *last = Extras {
                middle: Some(ConvKind::Plain),
                trident: true,
                ..Extras::default()
            };
        }
        Ok(all)
    }

    /// What `dcn` or `sac` is, if a stage has it.
    fn kind(
        &self,
        node: &Node,
        class: Class,
        key: &str,
        stages: &[StagePlan],
        bottleneck: bool,
    ) -> Result<Option<ConvKind>, Diagnostics> {
        let (list_key, list, given) = match key {
            "dcn" => ("stage_with_dcn", &self.stage_with_dcn, self.dcn.is_some()),
            _ => ("stage_with_sac", &self.stage_with_sac, self.sac.is_some()),
        };
        let Some(given) = node.get(key).filter(|_| given) else {
            return Ok(None);
        };
        let fail = |key, message: String| Err(error_at(node, key, message, ""));
        if let Some(list) = list
            && list.len() != stages.len()
        {
            let message = format!(
                "`{list_key}` has {} entries for {} stages",
                list.len(),
                stages.len()
            );
            return fail(list_key, message);
        }
        let wanted = wanted(list.as_ref());
        let mut used = (0..stages.len()).filter(|i| wanted(*i)).peekable();
        if used.peek().is_none() {
            return Ok(None);
        }
        if !bottleneck {
            let message = format!("`{key}` is of bottlenecks, which begin with depth 50");
            return fail(key, message);
        }
        if class.variant == ResNeSt {
            let message = "deformable split attention is not supported";
            return Err(unsupported(node, key, message, ""));
        }
        if key == "dcn" && node.get("conv_cfg").is_some_and(|cfg| !cfg.is_none()) {
            let message = "with a `dcn` there can be no `conv_cfg`";
            return fail("conv_cfg", message.into());
        }
        let config: ConvLayerConfig = given.read_knowing(&["fallback_on_stride"])?;
        let kind = config
            .conv_kind_3x3()
            .map_err(|message| error_at(given, "type", message, ""))?;
        if let ConvKind::Deformable { sets, .. } = kind
            && let Some(i) = used.find(|i| !stages[*i].width.is_multiple_of(sets))
        {
            let width = stages[i].width;
            let message = format!("`deform_groups` is {sets}, which does not divide {width}");
            return Err(error_at(given, "deform_groups", message, ""));
        }
        Ok(Some(kind))
    }

    /// Plugins are of bottlenecks; those of DetectoRS's ResNeXt are built for other channels than come.
    pub(super) fn refuse_plugins(
        &self,
        node: &Node,
        class: Class,
        plugins: &[PluginConfig],
        bottleneck: bool,
    ) -> Result<(), Diagnostics> {
        if !plugins.is_empty() && !bottleneck {
            let message = "plugins are of bottlenecks, which begin with depth 50";
            return Err(error_at(node, "plugins", message, ""));
        }
        let inside = plugins.iter().any(|plugin| plugin.position < 2);
        let narrow = class.is_detectors() && self.groups(class) > 1;
        if inside && (narrow || matches!(class.variant, ResNeSt | Variant::Res2Net)) {
            let message = format!(
                "{:?} has plugins after the last convolution only",
                class.variant
            );
            return Err(unsupported(
                node,
                "plugins",
                message,
                "write position='after_conv3'",
            ));
        }
        Ok(())
    }
}

/// Whether a list says so of a stage; none says no of all.
fn wanted(list: Option<&Vec<bool>>) -> impl Fn(usize) -> bool + '_ {
    move |i| list.is_some_and(|list| list.get(i) == Some(&true))
}

fn falls_back(node: &Node) -> Result<bool, Diagnostics> {
    let dcn = node.get("dcn").expect("it was read");
    match dcn.get("fallback_on_stride") {
        None => Ok(false),
        Some(said) => said.as_bool().ok_or_else(|| {
            let message = "`fallback_on_stride` must be True or False";
            error_at(dcn, "fallback_on_stride", message, "")
        }),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use crate::backbones::{Backbones, made};
    use crate::build::Build;
    use crate::layers::{Mode, Params};

    #[test]
    fn mistakes_are_explained() {
        let dcn = "dcn=dict(type='DCN'), stage_with_dcn=(False, True, True, True)";
        for (keys, part) in [
            (
                format!("type='ResNet', depth=18, {dcn}"),
                "`dcn` is of bottlenecks",
            ),
            (
                format!("type='ResNet', depth=50, conv_cfg=dict(type='ConvWS'), {dcn}"),
                "there can be no `conv_cfg`",
            ),
            (
                "type='ResNet', depth=50, dcn=dict(type='DCN'), stage_with_dcn=(True,)".into(),
                "`stage_with_dcn` has 1 entries for 4 stages",
            ),
            (
                "type='ResNet', depth=50, dcn=dict(type='DCNv2', deform_groups=3), stage_with_dcn=(True,) * 4".into(),
                "`deform_groups` is 3, which does not divide 64",
            ),
            (
                "type='ResNet', depth=50, dcn=dict(type='DCNv3'), stage_with_dcn=(True,) * 4".into(),
                "unknown convolution `DCNv3`",
            ),
            (
                "type='ResNet', depth=50, conv_cfg=dict(type='DCN', deform_groups=2)".into(),
                "a backbone's `dcn` may have that",
            ),
            (
                "type='ResNet', depth=50, conv_cfg=dict(type='Conv2d', deform_groups=1)".into(),
                "`deform_groups` is of DCN",
            ),
            (
                "type='ResNet', depth=50, sac=dict(type='SAC')".into(),
                "it is known to `DetectoRS_ResNet`, `DetectoRS_ResNeXt`",
            ),
            (
                "type='ResNet', depth=50, plugins=[dict(cfg=dict(type='ContextBlock', ratio=0.25), position='after_conv4')]".into(),
                "known are after_conv1, after_conv2, after_conv3",
            ),
            (
                "type='ResNet', depth=50, plugins=[dict(cfg=dict(type='ContextBlock', ratio=0.001), position='after_conv3')]".into(),
                "`ratio` makes 0 of 256 channels",
            ),
            (
                "type='ResNet', depth=50, plugins=[dict(cfg=dict(type='ContextBlock', ratio=0.25), position='after_conv3'), dict(cfg=dict(type='ContextBlock', ratio=0.5), position='after_conv2')]".into(),
                "two plugins of a block are called `context_block`",
            ),
            (
                "type='ResNet', depth=50, plugins=[dict(cfg=dict(type='GeneralizedAttention', attention_type='1100'), position='after_conv3')]".into(),
                "works on square maps only",
            ),
            (
                "type='ResNet', depth=34, plugins=[dict(cfg=dict(type='NonLocal2d'), position='after_conv2')]".into(),
                "plugins are of bottlenecks",
            ),
            (
                "type='TridentResNet', depth=50".into(),
                "TridentResNet has 3 stages",
            ),
            (
                "type='TridentResNet', depth=50, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,), num_branch=3, test_branch_idx=3, trident_dilations=(1, 2, 3)".into(),
                "must be -1 or from 0 to 2",
            ),
            (
                "type='DetectoRS_ResNet', depth=50, init_cfg=dict(type='Kaiming', layer='Conv2d')".into(),
                "must be of type 'Pretrained'",
            ),
        ] {
            let text = format!("dict({keys})");
            let message = made(&text, Mode::Plan).map(|_| ()).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
        let none =
            "dict(type='ResNet', depth=18, base_channels=2, dcn=dict(type='DCNv2'), plugins=[])";
        assert!(made(none, Mode::Plan).is_ok(), "no stage takes them");
    }

    /// Largest values of what the original gives these tensors where no checkpoint has them; some, as it happens, are not what it means to.
    #[test]
    fn initial_values_are_the_originals() {
        let stage = "depth=50, base_channels=4, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,)";
        let plugin = |cfg: &str| format!("plugins=[dict(cfg=dict({cfg}), position='after_conv3')]");
        for (keys, tensor, most) in [
            ("type='ResNet', dcn=dict(type='DCNv2'), stage_with_dcn=(True,)".to_string(), "conv2.conv_offset.weight", 0.0..=0.0),
            ("type='ResNet', dcn=dict(type='DCNv2'), stage_with_dcn=(True,)".into(), "conv2.weight", 0.1..=1.0 / 6.0),
            ("type='ResNet', dcn=dict(type='DCN'), stage_with_dcn=(True,)".into(), "conv2.conv_offset.weight", 0.2..=1.0),
            ("type='DetectoRS_ResNet', dcn=dict(type='DCN'), stage_with_dcn=(True,)".into(), "conv2.conv_offset.weight", 0.0..=0.0),
            ("type='DetectoRS_ResNet', sac=dict(type='SAC', use_deform=True), stage_with_sac=(True,)".into(), "conv2.switch.bias", 0.0..=0.0),
            ("type='DetectoRS_ResNet', sac=dict(type='SAC', use_deform=True), stage_with_sac=(True,)".into(), "conv2.offset_s.weight", 0.1..=1.0),
            ("type='DetectoRS_ResNet', sac=dict(type='SAC', use_deform=True), stage_with_sac=(True,)".into(), "conv2.weight_diff", 0.0..=0.0),
            (format!("type='ResNet', {}", plugin("type='ContextBlock', ratio=0.25")), "context_block.channel_add_conv.3.weight", 0.1..=5.0),
            (format!("type='ResNet', {}", plugin("type='GeneralizedAttention', num_heads=4")), "gen_attention_block.query_conv.weight", 0.3..=0.4331),
            (format!("type='ResNet', {}", plugin("type='NonLocal2d'")), "nonlocal_block.conv_out.conv.weight", 0.0..=0.0),
            (format!("type='ResNet', {}", plugin("type='NonLocal2d'")), "nonlocal_block.g.conv.weight", 0.01..=0.06),
        ] {
            let node = crate::config::parse_value(&format!("dict({keys}, {stage})")).unwrap();
            let registry = crate::registry();
            let params = Params::new(&Device::flex(), Mode::Train, None);
            let root = Build::new(&registry, params.clone(), "mmdet", None);
            let (make, part) = root.part::<Backbones>("b", &node).unwrap();
            make(&node, &part).unwrap_or_else(|problems| panic!("{}", problems[0]));
            let slot = params.store().slot(&format!("b.layer1.0.{tensor}")).unwrap();
            let found = slot.value().abs().max().into_scalar::<f32>();
            assert!(most.contains(&found), "{keys}: {tensor} up to {found}");
        }
    }

    #[test]
    fn offsets_had_another_name() {
        let text = "dict(type='ResNet', depth=50, base_channels=2, dcn=dict(type='DCN', fallback_on_stride=True), stage_with_dcn=(False, True, False, False))";
        let (_, state) = made(text, Mode::Plan).unwrap();
        let offsets = |key: &str| state.iter().find(|entry| entry.key == key);
        let entry = offsets("layer2.1.conv2.conv_offset.weight").unwrap();
        let once = entry.once.as_deref();
        assert_eq!(once, Some("backbone.layer2.1.conv2_offset.weight"));
        assert_eq!(entry.shape, [18, 4, 3, 3]);
        let first = "layer2.0.conv2.conv_offset.weight";
        assert!(offsets(first).is_none(), "the first one falls back");
    }
}
