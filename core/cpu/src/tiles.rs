//! The transforms of Winograd's F(4x4, 3x3) (Lavin and Gray 2016, arXiv 1509.09308), for a row of tiles at a time: 6x6 pixels of the input,
//! 4x4 of the output, which overlap by two pixels in the input.
//!
//! Every loop goes over the tiles of the row, so that one instruction works on as many tiles as it has lanes.

/// Pixels of a tile's side in the input.
pub const IN: usize = 6;
/// And in the output.
pub const OUT: usize = 4;
/// Products of a tile, for each pair of channels.
pub const PRODUCTS: usize = IN * IN;

/// `B^T d`: from 6 pixels.
#[inline(always)]
fn input([a, b, c, d, e, f]: [f32; IN]) -> [f32; IN] {
    [
        4.0 * a - 5.0 * c + e,
        -4.0 * (b + c) + d + e,
        4.0 * (b - c) - d + e,
        2.0 * (d - b) + e - c,
        2.0 * (b - d) + e - c,
        4.0 * b - 5.0 * d + f,
    ]
}

/// `A^T m`: to 4 pixels.
#[inline(always)]
fn output([a, b, c, d, e, f]: [f32; IN]) -> [f32; OUT] {
    let (sum, difference) = (b + c, b - c);
    let (far, far_difference) = (d + e, d - e);
    [
        a + sum + far,
        difference + 2.0 * far_difference,
        sum + 4.0 * far,
        difference + 8.0 * far_difference + f,
    ]
}

/// Value `i` of `G g G^T` for many filters of 3x3, which lie as `[9][filter]`. In f64: the products of small and large factors lose most.
#[inline(always)]
pub fn filter(i: usize, taps: &[f32], to: &mut [f32]) {
    const G: [[f64; 3]; IN] = [
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ];
    let (down, across) = (G[i / IN], G[i % IN]);
    let count = to.len();
    let tap: [&[f32]; 9] = std::array::from_fn(|t| &taps[t * count..][..count]);
    for (f, to) in to.iter_mut().enumerate() {
        let mut sum = 0.0;
        for (t, tap) in tap.iter().enumerate() {
            sum += down[t / 3] * across[t % 3] * f64::from(tap[f]);
        }
        *to = sum as f32;
    }
}

/// Room for a row of `tiles` tiles while it is transformed.
#[derive(Default)]
pub struct Scratch {
    /// `[row][every fourth pixel][tile]`.
    pixels: Vec<f32>,
    rows: Vec<f32>,
}

/// Every fourth pixel of a line, beginning at each of the first four: `streams` of `each`, from `line` of `4 * each` pixels.
#[inline(always)]
fn apart(line: &[f32], streams: &mut [f32], each: usize) {
    let (a, rest) = streams.split_at_mut(each);
    let (b, rest) = rest.split_at_mut(each);
    let (c, d) = rest.split_at_mut(each);
    let d = &mut d[..each];
    for (t, four) in line.chunks_exact(4).take(each).enumerate() {
        a[t] = four[0];
        b[t] = four[1];
        c[t] = four[2];
        d[t] = four[3];
    }
}

/// Transforms a row of `tiles` tiles. `lines` are the six lines of pixels that they lie in, of `4 * (tiles + 1)` pixels each; value `i` of
/// tile `t` goes to `to[i * step + t]`.
#[inline(always)]
pub fn input_row(lines: &[f32], tiles: usize, to: &mut [f32], step: usize, scratch: &mut Scratch) {
    let each = tiles + 1;
    let width = 4 * each;
    scratch.pixels.resize(IN * width, 0.0);
    scratch.rows.resize(IN * width, 0.0);
    let pixels = &mut scratch.pixels[..IN * width];
    for (line, streams) in lines
        .chunks_exact(width)
        .zip(pixels.chunks_exact_mut(width))
    {
        apart(line, streams, each);
    }
    // Down, for all columns at once.
    let rows = &mut scratch.rows[..IN * width];
    {
        let mut source = pixels.chunks_exact(width);
        let source: [&[f32]; IN] = std::array::from_fn(|_| source.next().unwrap_or_default());
        let mut made = rows.chunks_exact_mut(width);
        let made: [&mut [f32]; IN] = std::array::from_fn(|_| made.next().unwrap_or_default());
        for x in 0..width {
            let out = input(std::array::from_fn(|i| source[i][x]));
            for i in 0..IN {
                made[i][x] = out[i];
            }
        }
    }
    // Across.
    for (i, row) in rows.chunks_exact(width).enumerate() {
        let columns = [
            &row[..tiles],
            &row[each..each + tiles],
            &row[2 * each..2 * each + tiles],
            &row[3 * each..3 * each + tiles],
            &row[1..1 + tiles],
            &row[each + 1..each + 1 + tiles],
        ];
        let mut made = to[i * IN * step..].chunks_mut(step);
        let made: [&mut [f32]; IN] =
            std::array::from_fn(|_| &mut made.next().unwrap_or_default()[..tiles]);
        for t in 0..tiles {
            let out = input(std::array::from_fn(|j| columns[j][t]));
            for j in 0..IN {
                made[j][t] = out[j];
            }
        }
    }
}

/// Transforms the products of a row of `tiles` tiles to four lines of `4 * tiles` pixels. Product `i` of tile `t` is at `from[i * step + t]`.
#[inline(always)]
pub fn output_row(
    from: &[f32],
    step: usize,
    tiles: usize,
    lines: &mut [f32],
    scratch: &mut Scratch,
) {
    scratch.rows.resize(OUT * IN * tiles, 0.0);
    let rows = &mut scratch.rows[..OUT * IN * tiles];
    // Down.
    for j in 0..IN {
        let column: [&[f32]; IN] = std::array::from_fn(|i| &from[(i * IN + j) * step..][..tiles]);
        let mut made = rows[j * tiles..].chunks_mut(IN * tiles);
        let made: [&mut [f32]; OUT] =
            std::array::from_fn(|_| &mut made.next().unwrap_or_default()[..tiles]);
        for t in 0..tiles {
            let out = output(std::array::from_fn(|i| column[i][t]));
            for i in 0..OUT {
                made[i][t] = out[i];
            }
        }
    }
    // Across, and four to a tile.
    for (row, line) in rows
        .chunks_exact(IN * tiles)
        .zip(lines.chunks_exact_mut(4 * tiles))
    {
        let mut columns = row.chunks_exact(tiles);
        let columns: [&[f32]; IN] = std::array::from_fn(|_| columns.next().unwrap_or_default());
        for (t, four) in line.chunks_exact_mut(4).enumerate() {
            let out = output(std::array::from_fn(|j| columns[j][t]));
            four.copy_from_slice(&out);
        }
    }
}
