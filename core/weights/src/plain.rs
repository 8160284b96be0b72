//! Python's plain values, which a checkpoint has beside its tensors: numbers, texts, and containers of them.

/// A value of Python without code: what `torch.load(weights_only=True)` takes, too.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // Python's names.
pub enum Plain {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Plain>),
    Tuple(Vec<Plain>),
    Dict(Dict),
    /// `collections.Counter`: what MMEngine keeps milestones in.
    Counter(Dict),
}

/// A dict, in its order. Keys are mostly texts; of keys that are equal the last one counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dict(pub Vec<(Plain, Plain)>);

impl Dict {
    /// Without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of this key.
    pub fn get(&self, key: &str) -> Option<&Plain> {
        let found = self.0.iter().rev().find(|(k, _)| k.text() == Some(key));
        found.map(|(_, value)| value)
    }

    /// Sets the value of this key, at its old place where it has one.
    pub fn insert(&mut self, key: &str, value: impl Into<Plain>) {
        let value = value.into();
        let found = self.0.iter_mut().find(|(k, _)| k.text() == Some(key));
        match found {
            Some((_, old)) => *old = value,
            None => self.0.push((key.into(), value)),
        }
    }

    /// As [`Self::insert`], for a dict that is being made.
    pub fn with(mut self, key: &str, value: impl Into<Plain>) -> Self {
        self.insert(key, value);
        self
    }

    /// Takes the value of this key out.
    pub fn remove(&mut self, key: &str) -> Option<Plain> {
        let mut removed = None;
        self.0.retain_mut(|(k, value)| {
            if k.text() != Some(key) {
                return true;
            }
            removed = Some(std::mem::replace(value, Plain::None));
            false
        });
        removed
    }

    /// All pairs whose keys are texts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Plain)> {
        let pairs = self.0.iter();
        pairs.filter_map(|(key, value)| Some((key.text()?, value)))
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True without any pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Plain {
    /// A whole number; also of `True` and `False`, which Python counts among them.
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Bool(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    /// A number.
    pub fn float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            _ => self.int().map(|value| value as f64),
        }
    }

    /// `True` or `False`.
    pub fn bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(value) => Some(value),
            _ => None,
        }
    }

    /// The items of a list or tuple.
    pub fn items(&self) -> Option<&[Plain]> {
        match self {
            Self::List(items) | Self::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// A dict, or a counter, which is one.
    pub fn dict(&self) -> Option<&Dict> {
        match self {
            Self::Dict(dict) | Self::Counter(dict) => Some(dict),
            _ => None,
        }
    }

    /// A list of these.
    pub fn list<T: Into<Plain>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }

    /// A tuple of these.
    pub fn tuple<T: Into<Plain>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::Tuple(items.into_iter().map(Into::into).collect())
    }
}

impl From<bool> for Plain {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Plain {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Plain {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Plain {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Plain {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Dict> for Plain {
    fn from(value: Dict) -> Self {
        Self::Dict(value)
    }
}

impl<T: Into<Plain>> From<Option<T>> for Plain {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}
