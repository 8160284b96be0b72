//! [`Instructions`]: the set of vector instructions that kernels run with.

use pulp::Arch;

/// A set of vector instructions that this machine has.
///
/// Every kernel of this crate, products of matrices included, runs with the set that it is given. What cannot be switched: the baseline
/// that the compiler was told of (SSE2 on x86-64, NEON on AArch64), which it uses wherever it likes, and rayon's and the standard
/// library's own loops.
#[derive(Clone, Copy, Debug)]
pub struct Instructions(pub(crate) Arch);

impl Default for Instructions {
    fn default() -> Self {
        Self::widest()
    }
}

impl Instructions {
    /// The widest that this machine has.
    pub fn widest() -> Self {
        Self(Arch::new())
    }

    /// All that this machine has, the widest first and none at the end: tests take each.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::widest()];
        #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
        if matches!(Arch::new(), Arch::V4(_)) {
            all.extend(pulp::x86::V3::try_new().map(|v3| Self(Arch::V3(v3))));
        }
        if !matches!(Arch::new(), Arch::Scalar) {
            all.push(Self(Arch::Scalar));
        }
        all
    }
}
