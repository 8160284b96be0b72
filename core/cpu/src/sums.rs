//! Sums of many numbers: of f32 over [`BLOCK`] numbers, side by side, and of f64 beyond. Squares are taken from a mean that is near, so that a
//! large mean costs no digits of the variance.

/// Numbers that are added side by side, and become vectors.
const LANES: usize = 32;
/// Numbers whose sum is one of f32: 8 KiB, which are read again while they are in the cache.
pub(crate) const BLOCK: usize = 2048;

/// How many, their mean, and the sum of the squares of their distances from it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Moments {
    count: f64,
    pub mean: f64,
    squares: f64,
}

impl Moments {
    pub fn var(self) -> f64 {
        self.squares / self.count.max(1.0)
    }

    /// Of both (Chan, Golub and LeVeque 1979).
    #[inline(always)]
    pub fn with(self, other: Self) -> Self {
        let count = self.count + other.count;
        let apart = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + apart * other.count / count,
            squares: self.squares
                + other.squares
                + apart * apart * self.count * other.count / count,
        }
    }

    /// Of a block, which has numbers.
    #[inline(always)]
    pub fn of(block: &[f32]) -> Self {
        let count = block.len() as f64;
        let [sum] = sums(block, |x| [x]);
        let near = (sum / count) as f32;
        let [apart, squares] = sums(block, |x| [x - near, (x - near) * (x - near)]);
        let squares = squares - apart * apart / count;
        Self {
            count,
            mean: f64::from(near) + apart / count,
            // rounding may bring it below 0; what is no number stays so
            squares: if squares < 0.0 { 0.0 } else { squares },
        }
    }
}

/// Sums over a block.
#[inline(always)]
fn sums<const K: usize>(block: &[f32], of: impl Fn(f32) -> [f32; K]) -> [f64; K] {
    let mut lanes = [[0.0f32; LANES]; K];
    let mut add = |k: usize, x: f32| {
        for (lanes, term) in lanes.iter_mut().zip(of(x)) {
            lanes[k] += term;
        }
    };
    let (chunks, rest) = block.as_chunks::<LANES>();
    for chunk in chunks {
        for (k, x) in chunk.iter().enumerate() {
            add(k, *x);
        }
    }
    for (k, x) in rest.iter().enumerate() {
        add(k, *x);
    }
    lanes.map(added)
}

#[inline(always)]
fn added(lanes: [f32; LANES]) -> f64 {
    let mut sums = lanes.map(f64::from);
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = sums.split_at_mut(half);
        low.iter_mut()
            .zip(high)
            .for_each(|(low, high)| *low += *high);
        half /= 2;
    }
    sums[0]
}

/// Sums over a block of gradients: times the distance from the mean, and as they are.
#[inline(always)]
pub(crate) fn products(x: &[f32], gradient: &[f32], mean: f32) -> [f64; 2] {
    let (mut apart, mut plain) = ([0.0f32; LANES], [0.0f32; LANES]);
    let (x, gradient) = (x.as_chunks::<LANES>(), gradient.as_chunks::<LANES>());
    for (x, gradient) in x.0.iter().zip(gradient.0) {
        for k in 0..LANES {
            apart[k] += gradient[k] * (x[k] - mean);
            plain[k] += gradient[k];
        }
    }
    for (k, (x, gradient)) in x.1.iter().zip(gradient.1).enumerate() {
        apart[k] += gradient * (x - mean);
        plain[k] += gradient;
    }
    [apart, plain].map(added)
}
