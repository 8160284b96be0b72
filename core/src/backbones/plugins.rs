//! `plugins` of a ResNet: attention after the convolutions of its bottlenecks, in the stages that are said.

use burn::tensor::Tensor;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::config::{Diagnostics, Node, error_at, unsupported};
use crate::layers::{
    ContextBlock, ContextBlockConfig, GeneralizedAttention, GeneralizedAttentionConfig, NonLocal,
    NonLocalConfig, Params,
};

/// Most plugins of a backbone.
const MOST: usize = 16;

/// Keys of a `cfg` that are read here.
const OTHERS: &[&str] = &["type", "postfix"];

/// One of the list.
#[derive(Debug, Deserialize)]
struct Entry {
    #[allow(dead_code)]
    cfg: IgnoredAny,
    position: String,
    stages: Option<Vec<bool>>,
}

/// A plugin, and where it goes.
#[derive(Debug)]
pub(super) struct PluginConfig {
    /// Its name in the block's state dict.
    name: String,
    /// After which convolution of the block, from 0.
    pub position: usize,
    stages: Option<Vec<bool>>,
    kind: PluginKind,
}

#[derive(Debug)]
enum PluginKind {
    Context(ContextBlockConfig),
    Generalized(GeneralizedAttentionConfig),
    NonLocal(NonLocalConfig),
}

impl PluginConfig {
    /// Reads the plugins of `node`, which has so many stages; `channels` are those after a convolution in a stage.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn read(
        node: &Node,
        stages: usize,
        channels: impl Fn(usize, usize) -> usize,
    ) -> Result<Vec<Self>, Diagnostics> {
        let Some(list) = node.get("plugins").filter(|plugins| !plugins.is_none()) else {
            return Ok(Vec::new());
        };
        let Some(items) = list.as_items().filter(|items| items.len() <= MOST) else {
            let message = format!("`plugins` must be a list of at most {MOST} dicts");
            return Err(error_at(node, "plugins", message, ""));
        };
        let mut plugins: Vec<Self> = Vec::new();
        for item in items {
            let plugin = Self::read_one(item, stages, &channels)?;
            let twin = |other: &&Self| {
                let together = |i| plugin.is_in(i) && other.is_in(i);
                other.name == plugin.name && (0..stages).any(together)
            };
            if plugins.iter().any(|other| twin(&other)) {
                let message = format!("two plugins of a block are called `{}`", plugin.name);
                let help = "give one of them a `postfix`";
                return Err(error_at(item, "cfg", message, help));
            }
            plugins.push(plugin);
        }
        Ok(plugins)
    }

    fn read_one(
        item: &Node,
        count: usize,
        channels: impl Fn(usize, usize) -> usize,
    ) -> Result<Self, Diagnostics> {
        let entry: Entry = item.read()?;
        let positions = ["after_conv1", "after_conv2", "after_conv3"];
        let Some(position) = positions.iter().position(|p| *p == entry.position) else {
            let message = format!("`position` is '{}'", entry.position);
            let help = format!("known are {}", positions.join(", "));
            return Err(error_at(item, "position", message, &help));
        };
        if let Some(stages) = &entry.stages
            && stages.len() != count
        {
            let message = format!("`stages` has {} entries for {count} stages", stages.len());
            return Err(error_at(item, "stages", message, ""));
        }
        let is_in = |i: &usize| entry.stages.as_ref().is_none_or(|stages| stages[*i]);
        let wanted: Vec<_> = (0..count)
            .filter(is_in)
            .map(|i| channels(i, position))
            .collect();
        let node = item.get("cfg").expect("it was read");
        let named = node.get("type").and_then(Node::as_type).unwrap_or_default();
        let (name, kind) = match named.rsplit('.').next().unwrap_or_default() {
            "ContextBlock" => {
                let config: ContextBlockConfig = node.read_knowing(OTHERS)?;
                config.check(node, &wanted)?;
                ("context_block", PluginKind::Context(config))
            }
            "GeneralizedAttention" => {
                let config: GeneralizedAttentionConfig = node.read_knowing(OTHERS)?;
                config.check(node, &wanted)?;
                ("gen_attention_block", PluginKind::Generalized(config))
            }
            "NonLocal2d" => {
                let config = NonLocalConfig::read(node, &wanted, OTHERS)?;
                ("nonlocal_block", PluginKind::NonLocal(config))
            }
            other => {
                let message = format!("the plugin `{other}` is not supported");
                let help = "known are ContextBlock, GeneralizedAttention, NonLocal2d";
                return Err(unsupported(node, "type", &message, help));
            }
        };
        let postfix = node.get("postfix").map(|postfix| match postfix.as_str() {
            Some(text) => Some(text.to_string()),
            None => postfix.as_int().map(|n| n.to_string()),
        });
        let Some(postfix) = postfix.unwrap_or(Some(String::new())) else {
            let message = "`postfix` must be a string or a whole number";
            return Err(error_at(node, "postfix", message, ""));
        };
        if postfix.contains('.') {
            let message = "`postfix` must not have a dot: it becomes part of a name";
            return Err(error_at(node, "postfix", message, ""));
        }
        Ok(Self {
            name: format!("{name}{postfix}"),
            position,
            stages: entry.stages,
            kind,
        })
    }

    /// Whether blocks of a stage have it.
    pub fn is_in(&self, stage: usize) -> bool {
        self.stages.as_ref().is_none_or(|stages| stages[stage])
    }

    /// Builds it in the block at `at`.
    pub fn init(&self, channels: usize, at: &Params) -> Plugin {
        let at = at.at(&self.name);
        match &self.kind {
            PluginKind::Context(config) => Plugin::Context(Box::new(config.init(channels, &at))),
            PluginKind::Generalized(config) => {
                Plugin::Generalized(Box::new(config.init(channels, &at)))
            }
            PluginKind::NonLocal(config) => Plugin::NonLocal(Box::new(config.init(channels, &at))),
        }
    }
}

/// A plugin of a block.
#[derive(Debug)]
pub(super) enum Plugin {
    Context(Box<ContextBlock>),
    Generalized(Box<GeneralizedAttention>),
    NonLocal(Box<NonLocal>),
}

impl Plugin {
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Context(block) => block.forward(x),
            Self::Generalized(attention) => attention.forward(x),
            Self::NonLocal(block) => block.forward(x),
        }
    }
}
