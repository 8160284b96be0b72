//! [`Probe`]: who is told of the tensors between a model's parts.

use burn::tensor::Tensor;

/// Who is told: a part's name (`backbone`, `neck`, `head.0`, ...) and what it gave.
type Told<'a> = &'a mut (dyn FnMut(&str, &[Tensor<4>]) + Send);

/// Is told of the tensors between a model's parts, as soon as they are queued: a timer, a comparison, a view of feature maps.
pub struct Probe<'a> {
    told: Option<Told<'a>>,
}

impl<'a> Probe<'a> {
    /// Nobody is told.
    pub fn off() -> Self {
        Self { told: None }
    }

    /// `told` is called with every part's name and tensors.
    pub fn new(told: Told<'a>) -> Self {
        Self { told: Some(told) }
    }

    /// Tells what `part` gave.
    pub fn tell(&mut self, part: &str, tensors: &[Tensor<4>]) {
        if let Some(told) = &mut self.told {
            told(part, tensors);
        }
    }
}
