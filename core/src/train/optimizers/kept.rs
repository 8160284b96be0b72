//! [`Kept`]: what an optimizer keeps of one parameter from step to step.

use burn::tensor::Tensor;

/// Tensors by PyTorch's names, each as flat as the parameter.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// How often the parameter moved (PyTorch's `step`).
    pub steps: u64,
    names: Vec<String>,
    tensors: Vec<Tensor<1>>,
}

impl Kept {
    /// Of a checkpoint.
    pub fn new(steps: u64, named: Vec<(String, Tensor<1>)>) -> Self {
        let (names, tensors) = named.into_iter().unzip();
        Self {
            steps,
            names,
            tensors,
        }
    }

    /// Names and tensors.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor<1>)> {
        self.names.iter().map(String::as_str).zip(&self.tensors)
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// As [`Kept::tensors`], of two.
    pub(super) fn pair(&mut self, names: [&str; 2], like: &Tensor<1>) -> &mut [Tensor<1>; 2] {
        let pair = self.tensors(&names, like).try_into();
        pair.expect("two were asked for")
    }

    /// The tensors of `names`, as they are wanted, for a parameter `like`; those that are missing begin as zeros.
    pub fn tensors(&mut self, names: &[&str], like: &Tensor<1>) -> &mut [Tensor<1>] {
        if self.names != names {
            let tensor = |name: &&str| {
                let at = self.names.iter().position(|known| known == name);
                at.map_or_else(|| Tensor::zeros_like(like), |at| self.tensors[at].clone())
            };
            self.tensors = names.iter().map(tensor).collect();
            self.names = names.iter().map(|name| name.to_string()).collect();
        }
        &mut self.tensors
    }
}
