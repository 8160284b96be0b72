//! Each kernel against its twin, on random records.

use burn::tensor::Device;
use bytemuck::Zeroable;
use smalti_shaders::reference::conv::{Added as Twin, direct, winograd as tiles};
use smalti_shaders::reference::half::rounded;

use super::super::tests::{Draw, devices};
use super::*;
use crate::ops::launch::Strided;

/// A GPU to try kernels on, if there is one that runs WGSL.
fn gpu() -> Option<Gpu> {
    devices().iter().find_map(|device: &Device| Gpu::of(device))
}

/// Numbers on both sides.
fn both(gpu: &Gpu, draw: &mut Draw, n: usize) -> (Vec<f32>, Buffer) {
    let values = draw.values(n);
    let buffer = gpu.upload(bytemuck::cast_slice(&values));
    (values, buffer)
}

#[track_caller]
fn same(gpu: &Gpu, found: &Buffer, expected: &[f32], within: f32, what: &dyn std::fmt::Debug) {
    let found = pollster::block_on(gpu.read(found)).expect("a device that is there");
    let found = bytemuck::cast_slice::<u32, f32>(&found);
    assert_eq!(found.len(), expected.len(), "{what:?}");
    let largest = expected.iter().fold(1.0f32, |m, v| m.max(v.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!(
            (a - b).abs() <= within * largest,
            "{what:?}: {i} is {a}, not {b}"
        );
    }
}

fn half(values: &[f32]) -> Vec<f32> {
    values.iter().map(|v| rounded(*v)).collect()
}

/// A record of any convolution, and the elements of its x. `four` is what its strides count in.
fn record(draw: &mut Draw, channels: u32, filters: u32, four: u32) -> (ConvRecord, usize) {
    let size: [u32; 2] = [0, 1].map(|_| draw.of(&[1, 2, 3, 5, 9, 14]));
    let kernel = draw.of(&[[1, 1], [3, 3], [1, 3], [4, 2]]);
    let size_out: [u32; 2] = [0, 1].map(|_| draw.of(&[1, 2, 4, 7, 12]));
    let pictures = draw.of(&[1, 2]);
    // With room between pixels and rows.
    let pixel = channels + draw.of(&[0, 4]) / four;
    let row = pixel * size[1] + draw.of(&[0, 8]) / four;
    let record = ConvRecord {
        strides: [0, row * size[0], row, pixel],
        act_by: [0.1, 3.0, -0.5, 0.5],
        size,
        size_out,
        kernel,
        stride: [0, 1].map(|_| draw.of(&[1, 2])),
        padding: [0, 1].map(|_| draw.of(&[0, 1, 3])),
        dilation: [0, 1].map(|_| draw.of(&[1, 2])),
        spread: [0, 1].map(|_| draw.of(&[1, 1, 2])),
        pixels: pictures * size_out[0] * size_out[1],
        channels,
        filters,
        depth: kernel[0] * kernel[1] * channels,
        part: kernel[0] * kernel[1] * channels,
        has_bias: draw.of(&[0, 1]),
        has_add: draw.of(&[0, 1]),
        act: draw.of(&[0, 1, 2, 3, 4, 5, 6, 7]),
        ..ConvRecord::zeroed()
    };
    (record, (pictures * row * size[0]) as usize)
}

/// What is added, on both sides.
struct Extra {
    bias: (Vec<f32>, Buffer),
    add: (Vec<f32>, Buffer),
}

impl Extra {
    fn new(gpu: &Gpu, draw: &mut Draw, record: &ConvRecord) -> Self {
        let filters = record.filters as usize * 4;
        Self {
            bias: both(gpu, draw, filters),
            add: both(gpu, draw, filters * record.pixels as usize),
        }
    }

    fn twin(&self, record: &ConvRecord) -> Twin<'_> {
        Twin {
            bias: (record.has_bias == 1).then_some(&self.bias.0),
            add: (record.has_add == 1).then_some(&self.add.0),
        }
    }
}

#[test]
fn products() {
    let Some(gpu) = gpu() else { return };
    let mut draw = Draw::new(11);
    for case in 0..40 {
        let (channels, filters) = (draw.of(&[1, 2, 5, 8]), draw.of(&[1, 3, 8, 17]));
        let (mut record, elements) = record(&mut draw, channels, filters, 4);
        let z = draw.of(&[1, 1, 3]);
        let each = (record.pixels * filters * 4) as usize;
        // Products of their own, or parts of one.
        if case % 2 == 0 {
            record.x_batch = elements as u32;
            record.w_batch = record.depth * 4 * filters;
        } else {
            record.part = record.depth.div_ceil(z).next_multiple_of(4);
            record.step = record.part;
        }
        record.y_batch = record.pixels * filters;
        let x = both(&gpu, &mut draw, elements * 4 * z as usize);
        let weights = both(&gpu, &mut draw, (record.depth * 16 * filters * z) as usize);
        let extra = Extra::new(&gpu, &mut draw, &record);
        let product = |x: &[f32], weights: &[f32]| -> Vec<f32> {
            let twin = |z| direct::product(&record, z, x, weights, extra.twin(&record));
            (0..z).flat_map(twin).collect()
        };
        let mut ways = vec![(
            [&CONV_TILES128, &CONV_TILES32],
            product(&x.0, &weights.0),
            2e-5,
        )];
        if gpu.has_f16() {
            let kernels = [&CONV_TILES128_HALF, &CONV_TILES32_HALF];
            ways.push((kernels, product(&half(&x.0), &half(&weights.0)), 1e-3));
        }
        for (kernels, expected, within) in ways {
            for kernel in kernels {
                let y = gpu.empty(each * z as usize);
                let operands = [&x.1, &weights.1, &extra.bias.1, &extra.add.1];
                gpu.conv_tiles(kernel, &record, z, &operands, &y);
                same(&gpu, &y, &expected, within, &(kernel.name, z, record));
            }
        }
        if z > 1 {
            let parts = both(&gpu, &mut draw, each * z as usize);
            let record = ConvRecord { part: z, ..record };
            let y = gpu.empty(each);
            let operands = [&parts.1, &extra.bias.1, &extra.add.1];
            gpu.conv_rows(&CONV_SUM, &record, &operands, &y);
            let expected = direct::sum(&record, &parts.0, extra.twin(&record));
            same(&gpu, &y, &expected, 2e-6, &record);
        }
    }
}

/// Loss scaling has to see that something was too large, and that something was no number.
#[test]
fn what_is_beyond_f16_is_infinite() {
    let Some(gpu) = gpu().filter(Gpu::has_f16) else {
        return;
    };
    let one = ConvRecord {
        size: [1; 2],
        size_out: [1; 2],
        kernel: [1; 2],
        stride: [1; 2],
        dilation: [1; 2],
        spread: [1; 2],
        strides: [0, 1, 1, 1],
        pixels: 1,
        channels: 1,
        filters: 1,
        depth: 1,
        part: 1,
        ..ConvRecord::zeroed()
    };
    let upload = |values: &[f32]| gpu.upload(bytemuck::cast_slice(values));
    let weights = upload(&[1.0; 16]);
    let added = Added::nothing(&gpu);
    for (value, expected) in [
        (65504.0, 65504.0),
        (7e4, f32::INFINITY),
        (-1e30, f32::NEG_INFINITY),
        (f32::NAN, f32::NAN),
    ] {
        for kernel in [&CONV_TILES128_HALF, &CONV_TILES32_HALF] {
            let x = upload(&[value, 0.0, 0.0, 0.0]);
            let y = gpu.empty(4);
            let operands = [&x, &weights, &added.bias, &added.add];
            gpu.conv_tiles(kernel, &one, 1, &operands, &y);
            let found = pollster::block_on(gpu.read(&y)).expect("a device that is there");
            for found in bytemuck::cast_slice::<u32, f32>(&found) {
                let same = *found == expected || (found.is_nan() && expected.is_nan());
                assert!(same, "{}: {value} gives {found}", kernel.name);
            }
        }
    }
}

#[test]
fn groups_and_their_gradients() {
    let Some(gpu) = gpu() else { return };
    let mut draw = Draw::new(12);
    for _ in 0..40 {
        let (groups, channels, filters) = draw.of(&[
            (4u32, 1u32, 1u32),
            (3, 1, 2),
            (2, 3, 5),
            (5, 4, 4),
            (9, 1, 1),
        ]);
        let fours = (groups * filters).div_ceil(4);
        let (mut record, _) = record(&mut draw, channels, fours, 1);
        let pixel = groups * channels;
        record.strides = [
            0,
            pixel * record.size[1] * record.size[0],
            pixel * record.size[1],
            pixel,
        ];
        (record.part, record.depth) = (filters, groups * filters);
        let pictures = record.pixels / record.size_out[0] / record.size_out[1];
        // What is beyond the last filter is 0, as in weights that are filled up.
        let elements = (pictures * record.strides[1]) as usize;
        let x = both(&gpu, &mut draw, elements);
        let taps = record.kernel[0] * record.kernel[1];
        let weights = both(&gpu, &mut draw, (taps * channels * fours * 4) as usize);
        let extra = Extra::new(&gpu, &mut draw, &record);
        let y = gpu.empty((record.pixels * fours * 4) as usize);
        let operands = [&x.1, &weights.1, &extra.bias.1, &extra.add.1];
        gpu.conv_rows(&CONV_GROUPED, &record, &operands, &y);
        let expected = direct::grouped(&record, &x.0, &weights.0, extra.twin(&record));
        same(&gpu, &y, &expected, 5e-6, &record);

        // The gradients are of a convolution without zeros between pixels.
        record.spread = [1, 1];
        (record.step, record.part) = (filters, record.pixels.div_ceil(2));
        record.y_batch = taps * channels * fours;
        let gradient = both(&gpu, &mut draw, (record.pixels * fours * 4) as usize);
        let parts = record.pixels.div_ceil(record.part);
        let made = gpu.empty((parts * record.y_batch * 4) as usize);
        let grid = [fours.div_ceil(8), (taps * channels).div_ceil(8), parts];
        gpu.conv(
            &CONV_GROUPED_GRADIENT,
            &record,
            grid,
            &[&x.1, &gradient.1],
            &made,
        );
        let twin = |z| direct::grouped_gradient(&record, z, &x.0, &gradient.0);
        let expected: Vec<f32> = (0..parts).flat_map(twin).collect();
        same(&gpu, &made, &expected, 1e-5, &record);
    }
}

#[test]
fn a_filter_for_each_channel() {
    let Some(gpu) = gpu() else { return };
    let mut draw = Draw::new(13);
    for _ in 0..40 {
        let fours = draw.of(&[1, 2, 9]);
        let (record, elements) = record(&mut draw, fours, fours, 4);
        let x = both(&gpu, &mut draw, elements * 4);
        let taps = (record.kernel[0] * record.kernel[1]) as usize;
        let weights = both(&gpu, &mut draw, taps * fours as usize * 4);
        let extra = Extra::new(&gpu, &mut draw, &record);
        let y = gpu.empty((record.pixels * fours * 4) as usize);
        let operands = [&x.1, &weights.1, &extra.bias.1, &extra.add.1];
        gpu.conv_rows(&CONV_DEPTHWISE, &record, &operands, &y);
        let twin = ConvRecord {
            strides: record.strides.map(|n| n * 4),
            channels: 1,
            part: 1,
            depth: fours * 4,
            ..record
        };
        let expected = direct::grouped(&twin, &x.0, &weights.0, extra.twin(&record));
        same(&gpu, &y, &expected, 5e-6, &record);
    }
}

#[test]
fn gradients_of_weights() {
    let Some(gpu) = gpu() else { return };
    let mut draw = Draw::new(14);
    for _ in 0..40 {
        let (channels, filters) = (draw.of(&[1, 2, 5, 20]), draw.of(&[1, 3, 17]));
        let (mut record, elements) = record(&mut draw, channels, filters, 4);
        record.spread = [1, 1];
        record.part = draw.of(&[16, 48, 1024]);
        record.y_batch = record.depth * 4 * filters;
        let parts = record.pixels.div_ceil(record.part);
        let x = both(&gpu, &mut draw, elements * 4);
        let gradient = both(&gpu, &mut draw, (record.pixels * filters * 4) as usize);
        let grid = [record.depth.div_ceil(16), filters.div_ceil(16), parts];
        let check = |kernel: &'static Kernel, of_x: &[f32], of_gradient: &[f32]| {
            let made = gpu.empty((parts * record.y_batch * 4) as usize);
            gpu.conv(kernel, &record, grid, &[&x.1, &gradient.1], &made);
            let twin = |z| direct::weight_gradient(&record, z, of_x, of_gradient);
            let expected: Vec<f32> = (0..parts).flat_map(twin).collect();
            same(&gpu, &made, &expected, 2e-5, &(kernel.name, record));
        };
        check(&CONV_WEIGHT_GRADIENT, &x.0, &gradient.0);
        if gpu.has_f16() {
            let [x, gradient] = [&x.0, &gradient.0].map(|values| half(values));
            check(&CONV_WEIGHT_GRADIENT_HALF, &x, &gradient);
        }
    }
}

#[test]
fn winograd_s_tiles() {
    let Some(gpu) = gpu() else { return };
    let mut draw = Draw::new(15);
    for _ in 0..30 {
        let channels = draw.of(&[1, 2, 9]);
        let (record, elements) = record(&mut draw, channels, channels, 4);
        let pictures = record.pixels / record.size_out[0] / record.size_out[1];
        let across = record.size_out.map(|n| n.div_ceil(4));
        let all = pictures * across[0] * across[1];
        let first = draw.of(&[0, all / 2]);
        let told = WinogradRecord {
            strides: record.strides,
            act_by: record.act_by,
            size: record.size,
            size_out: record.size_out,
            padding: record.padding,
            tiles: across,
            first,
            count: all - first,
            channels,
            has_bias: record.has_bias,
            has_add: record.has_add,
            act: record.act,
        };
        let x = both(&gpu, &mut draw, elements * 4);
        let each = (36 * told.count * channels * 4) as usize;
        let made = gpu.empty(each);
        let grid = [channels.div_ceil(8), told.count.div_ceil(8), 1];
        gpu.launch(&WINOGRAD_INPUT, grid, &[&gpu.record(&told), &x.1, &made]);
        same(&gpu, &made, &tiles::input(&told, &x.0), 1e-6, &told);

        let products = both(&gpu, &mut draw, each);
        let extra = Extra::new(&gpu, &mut draw, &record);
        let (mut expected, y) = both(&gpu, &mut draw, (record.pixels * channels * 4) as usize);
        let buffers = [
            &gpu.record(&told),
            &products.1,
            &extra.bias.1,
            &extra.add.1,
            &y,
        ];
        gpu.launch(&WINOGRAD_OUTPUT, grid, &buffers);
        // What no tile holds stays.
        tiles::output(&told, &products.0, extra.twin(&record), &mut expected);
        // Sums of up to 300, of which an activation may leave 3.
        same(&gpu, &y, &expected, 1e-5, &told);
    }
}

#[test]
fn packed() {
    let Some(gpu) = gpu() else { return };
    let mut draw = Draw::new(16);
    for _ in 0..20 {
        let shape @ [n, c, h, w] = [
            draw.of(&[1, 3]),
            draw.of(&[1, 3, 4, 5, 18]),
            draw.of(&[1, 2, 65]),
            draw.of(&[1, 7, 33]),
        ];
        let strides = draw.of(&[
            [c * h * w, h * w, w, 1],
            [1, n * h, n, n * h * c],
            [h * w * c, 1, w * c, c],
        ]);
        let (source, buffer) = both(&gpu, &mut draw, n * c * h * w);
        let packed = Channels::packed(
            &gpu,
            &Strided {
                buffer,
                shape,
                strides,
            },
        );
        let expected = direct::pack(&source, shape, strides);
        same(&gpu, &packed.buffer, &expected, 0.0, &(shape, strides));
    }
}
