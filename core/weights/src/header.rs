//! The lists in a header of safetensors (JSON) or burnpack (CBOR). They are bounded while they are read: a byte of a header would
//! otherwise become a hundred in memory.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::state::MAX_TENSORS;
use super::tensor::MAX_DIMS;

/// Longest header that is read, in bytes: room for all of [`MAX_TENSORS`].
pub(super) const MAX_HEADER: usize = 32 << 20;
/// At most so many facts are kept.
const MAX_FACTS: usize = 1000;

/// Sides of a tensor, of which one more than can be read is kept, to have it refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape(pub Vec<usize>);

/// Texts by name, in the file's order; instead of too many a last one that says how many more there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Facts(pub Vec<(String, String)>);

/// Tensors by name, in the file's order; one more than [`MAX_TENSORS`] when there are too many.
pub(super) struct Named<T>(pub Vec<(String, T)>);

impl<T> Named<T> {
    /// Adds the value that comes next.
    pub fn read_value<'de, M: MapAccess<'de>>(
        &mut self,
        key: String,
        map: &mut M,
    ) -> Result<(), M::Error>
    where
        T: Deserialize<'de>,
    {
        if self.0.len() <= MAX_TENSORS {
            self.0.push((key, map.next_value()?));
        } else {
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    /// That no name comes twice: which of two tensors is meant, the format does not say.
    pub fn check<E: Error>(self) -> Result<Self, E> {
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => Err(E::custom(format_args!("`{}` comes twice", twice[0]))),
            None => Ok(self),
        }
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Sides;
        impl<'de> Visitor<'de> for Sides {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a shape")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut sides: S) -> Result<Shape, S::Error> {
                let mut shape = Vec::new();
                while let Some(side) = sides.next_element()? {
                    if shape.len() <= MAX_DIMS {
                        shape.push(side);
                    }
                }
                Ok(Shape(shape))
            }
        }
        from.deserialize_seq(Sides)
    }
}

impl<'de> Deserialize<'de> for Facts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Facts;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("texts by name")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Facts, M::Error> {
                let (mut facts, mut more) = (Vec::new(), 0);
                while let Some(fact) = map.next_entry::<String, String>()? {
                    if facts.len() < MAX_FACTS {
                        facts.push(fact);
                    } else {
                        more += 1;
                    }
                }
                if more > 0 {
                    facts.push(("...".to_owned(), format!("{more} more")));
                }
                Ok(Facts(facts))
            }
        }
        from.deserialize_map(Texts)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Tensors<T>(Named<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Tensors<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("tensors by name")
            }

            fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> Result<Named<T>, M::Error> {
                while let Some(key) = map.next_key()? {
                    self.0.read_value(key, &mut map)?;
                }
                self.0.check()
            }
        }
        from.deserialize_map(Tensors(Named(Vec::new())))
    }
}
