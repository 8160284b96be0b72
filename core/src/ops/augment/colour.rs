//! Steps that change samples: tables, mixes, histograms, HSV.

use std::sync::{Arc, PoisonError};

use smalti_shaders::reference::augment::{hsv, lookup, mix};
use smalti_shaders::{
    FLOATS, GREY, HISTOGRAM, HSV, LOOKUP, MIX, PASTE, PHOTOMETRIC, SMOOTH, TABLES,
};

use super::{Augment, Held, ROW, count, words};
use crate::data::image::{Depth, Image};
use crate::data::picture::Fault;
use crate::data::pixels::checks::{self, fault};
use crate::data::pixels::{Colour, Engine, Photometric};
use crate::ops::launch::Buffer;

/// What a table of more than a few words is made of.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Table {
    Blended(f32),
    Weighted(f64),
    Enhanced(f64),
    Hsv,
    AutoContrast,
}

/// Tables that are kept.
const MOST_TABLES: usize = 8;

impl Augment {
    /// `held`, copied if it is `other`: WebGPU does not bind a buffer twice.
    pub(super) fn apart(
        &self,
        image: &Image,
        held: Arc<Held>,
        other: &Arc<Held>,
    ) -> Result<Arc<Held>, Fault> {
        if !Arc::ptr_eq(other, &held) {
            return Ok(held);
        }
        self.held(&self.copied(image)?)
    }

    /// As u8 (truncated and clipped) or f32.
    pub(super) fn converted(&self, image: &Image, depth: Depth) -> Result<Image, Fault> {
        match (image.depth(), depth) {
            (Depth::U8, Depth::F32) => {
                let line = (0..256u16).map(|v| f32::from(v).to_bits());
                let table: Vec<u32> = (0..image.channels()).flat_map(|_| line.clone()).collect();
                self.looked_up(image, &self.gpu.upload(&table), Depth::F32)
            }
            (Depth::F32, Depth::U8) => self.stepped(image, 4, [0.0; 2]),
            _ => self.upload(image),
        }
    }

    /// u8 samples through 256 words a channel: of u8, or bits of f32.
    pub(super) fn looked_up(
        &self,
        image: &Image,
        table: &Buffer,
        depth: Depth,
    ) -> Result<Image, Fault> {
        let (pixels, channels) = (count(image), image.channels());
        let float = depth == Depth::F32;
        let target = self.target(image.size(), if float { channels } else { 1 })?;
        let plan = [channels as u32, pixels as u32, u32::from(float), ROW];
        let held = self.held(image)?;
        self.each(
            &LOOKUP,
            pixels,
            &[&self.gpu.upload(&plan), table, &held.buffer, &target],
        );
        Ok(self.image(image.size(), channels, depth, target))
    }

    /// u8 samples through one table.
    pub(super) fn by_table(&self, image: &Image, table: &lookup::Table) -> Result<Image, Fault> {
        let line = table.iter().map(|v| u32::from(*v));
        let table: Vec<u32> = (0..image.channels()).flat_map(|_| line.clone()).collect();
        self.looked_up(image, &self.gpu.upload(&table), Depth::U8)
    }

    /// f32 samples by a step of the kernel.
    pub(super) fn stepped(
        &self,
        image: &Image,
        step: u32,
        values: [f32; 2],
    ) -> Result<Image, Fault> {
        let (pixels, channels) = (count(image), image.channels());
        let depth = if step == 4 { Depth::U8 } else { Depth::F32 };
        let target = self.target(image.size(), if step == 4 { 1 } else { channels })?;
        let [weight, level] = values.map(f32::to_bits);
        let plan = [step, channels as u32, pixels as u32, ROW, weight, level];
        let held = self.held(image)?;
        self.each(
            &FLOATS,
            pixels,
            &[&self.gpu.upload(&plan), &held.buffer, &target],
        );
        Ok(self.image(image.size(), channels, depth, target))
    }

    /// u8 samples through tables of a histogram, which stays on the device.
    pub(super) fn by_histogram(
        &self,
        image: &Image,
        of: &Image,
        kind: u32,
        extra: &Buffer,
    ) -> Result<Image, Fault> {
        let (pixels, channels) = (count(of), of.channels());
        let invocations = (pixels as u32)
            .div_ceil(16)
            .next_multiple_of(256)
            .min(1 << 16);
        let counts = self.gpu.upload(&vec![0; channels * 256]);
        let table = self.gpu.empty(image.channels() * 256);
        let held = self.held(of)?;
        let plan = self
            .gpu
            .upload(&[channels as u32, pixels as u32, invocations]);
        self.over(
            &HISTOGRAM,
            [invocations as usize, 1],
            &[&plan, &held.buffer, &counts],
        );
        let plan = self.gpu.upload(&[kind, image.channels() as u32]);
        self.over(
            &TABLES,
            [256, image.channels()],
            &[&plan, &counts, extra, &table],
        );
        self.looked_up(image, &table, Depth::U8)
    }

    pub(super) fn greyed(&self, image: &Image) -> Result<Image, Fault> {
        let pixels = count(image);
        let target = self.target(image.size(), 1)?;
        let float = u32::from(image.depth() == Depth::F32);
        let plan = self.gpu.upload(&[pixels as u32, ROW, float]);
        let held = self.held(image)?;
        self.each(&GREY, pixels, &[&plan, &held.buffer, &target]);
        Ok(self.image(image.size(), 1, image.depth(), target))
    }

    pub(super) fn smoothed(&self, image: &Image) -> Result<Image, Fault> {
        let target = self.target(image.size(), words(image))?;
        let float = u32::from(image.depth() == Depth::F32);
        let [w, h] = image.size();
        let plan = self
            .gpu
            .upload(&[w as u32, h as u32, image.channels() as u32, float]);
        let held = self.held(image)?;
        self.over(&SMOOTH, [w, h], &[&plan, &held.buffer, &target]);
        Ok(self.image(image.size(), image.channels(), image.depth(), target))
    }

    /// Two pictures of one depth: u8 by `table`, f32 by `weights` (`kind` 1, or 2 to clip).
    pub(super) fn mixed(
        &self,
        image: &Image,
        other: &Image,
        table: Table,
        kind: u32,
        weights: [f32; 2],
    ) -> Result<Image, Fault> {
        let (pixels, channels) = (count(image), image.channels());
        let kind = if image.depth() == Depth::U8 { 0 } else { kind };
        let table = match kind {
            0 => self.table(table),
            _ => self.gpu.empty(1),
        };
        let target = self.target(image.size(), words(image))?;
        let single = u32::from(other.channels() < channels);
        let [a, b] = weights.map(f32::to_bits);
        let plan = [0, channels as u32, pixels as u32, kind, single, a, b, ROW];
        let held = self.held(image)?;
        let other = self.apart(other, self.held(other)?, &held)?;
        let plan = self.gpu.upload(&plan);
        self.each(
            &MIX,
            pixels,
            &[&plan, &table, &held.buffer, &other.buffer, &target],
        );
        Ok(self.image(image.size(), channels, image.depth(), target))
    }

    pub(super) fn blended(
        &self,
        image: &Image,
        other: &Image,
        weight: f32,
    ) -> Result<Image, Fault> {
        let depth = match (image.depth(), other.depth()) {
            (Depth::U8, Depth::U8) => Depth::U8,
            _ => Depth::F32,
        };
        let [a, b] = [image, other].map(|i| self.converted(i, depth));
        let out = self.mixed(&a?, &b?, Table::Blended(weight), 1, [weight, 1.0 - weight])?;
        self.converted(&out, image.depth())
    }

    pub(super) fn pasted(&self, image: &Image, other: &Image, mask: &[u8]) -> Result<Image, Fault> {
        let other = &self.converted(other, image.depth())?;
        let pixels = count(image);
        let target = self.target(image.size(), words(image))?;
        let held = self.held(image)?;
        let other = self.apart(other, self.held(other)?, &held)?;
        let plan = self.gpu.upload(&[words(image) as u32, pixels as u32, ROW]);
        let mask = self.gpu.upload_bytes(mask);
        self.each(
            &PASTE,
            pixels,
            &[&plan, &mask, &held.buffer, &other.buffer, &target],
        );
        Ok(self.image(image.size(), image.channels(), image.depth(), target))
    }

    pub(super) fn hsv_changed(
        &self,
        image: &Image,
        [hue, saturation, value]: [i16; 3],
    ) -> Result<Image, Fault> {
        if image.depth() == Depth::F32 {
            return Err(fault(
                "YOLOXHSVRandomAug cuts floats' HSV to whole numbers, which devices divide differently: load without \
                 `to_float32`, use it before PhotoMetricDistortion, or do the pixels on the CPU",
            ));
        }
        let [w, h] = image.size();
        let target = self.target([w, h], 1)?;
        let gains = [
            i32::from(hue).rem_euclid(180),
            saturation.into(),
            value.into(),
        ];
        let mut plan = vec![0, w as u32, h as u32, (w - w % hsv::BLOCK) as u32];
        plan.extend(gains.map(|v| v as u32));
        let held = self.held(image)?;
        let (plan, tables) = (self.gpu.upload(&plan), self.table(Table::Hsv));
        self.over(&HSV, [w, h], &[&plan, &tables, &held.buffer, &target]);
        Ok(self.image([w, h], 3, Depth::U8, target))
    }

    pub(super) fn distorted(&self, image: &Image, drawn: &Photometric) -> Result<Image, Fault> {
        let step = checks::photometric(drawn);
        let pixels = count(image);
        let target = self.target(image.size(), 3)?;
        let mut plan = vec![pixels as u32, ROW, u32::from(image.depth() == Depth::F32)];
        let [before, after] = [step.contrast_before, step.contrast_after];
        plan.extend([step.brightness, before, step.saturation, step.hue, after].map(f32::to_bits));
        plan.extend(step.swap.map(|c| c as u32));
        let held = self.held(image)?;
        self.each(
            &PHOTOMETRIC,
            pixels,
            &[&self.gpu.upload(&plan), &held.buffer, &target],
        );
        Ok(self.image(image.size(), 3, Depth::F32, target))
    }

    pub(super) fn coloured(&self, image: &Image, colour: Colour) -> Result<Image, Fault> {
        let float = image.depth() == Depth::F32;
        let weights = |factor: f64| [factor as f32, (1.0 - factor) as f32];
        match colour {
            Colour::Color(factor) => {
                let table = Table::Weighted(factor);
                self.mixed(image, &self.greyed(image)?, table, 2, weights(factor))
            }
            Colour::Sharpness(factor) => {
                let table = Table::Enhanced(factor);
                self.mixed(image, &self.smoothed(image)?, table, 2, weights(factor))
            }
            Colour::Contrast(_) if float => Err(fault(
                "Contrast of floats needs a mean in f64, which the device has not: load without `to_float32`, or do \
                 the pixels on the CPU",
            )),
            Colour::Contrast(factor) => {
                let extra = self.table(Table::Enhanced(factor));
                self.by_histogram(image, &self.greyed(image)?, 2, &extra)
            }
            Colour::Equalize => self.by_histogram(image, image, 0, &self.gpu.empty(1)),
            Colour::AutoContrast => {
                self.by_histogram(image, image, 1, &self.table(Table::AutoContrast))
            }
            Colour::Brightness(factor) if float => self.stepped(image, 0, [factor as f32, 0.0]),
            Colour::Solarize(threshold) if float => {
                self.stepped(image, 1, [0.0, not_below(threshold)])
            }
            Colour::SolarizeAdd(add) if float => self.stepped(image, 2, [0.0, add as f32]),
            Colour::Invert if float => self.stepped(image, 3, [0.0; 2]),
            Colour::Brightness(factor) => self.by_table(image, &lookup::towards(0, factor)),
            Colour::Solarize(threshold) => self.by_table(image, &lookup::solarize(threshold)),
            Colour::SolarizeAdd(add) => self.by_table(image, &lookup::solarize_add(add)),
            Colour::Posterize(bits) => self.by_table(image, &lookup::posterize(bits)),
            Colour::Invert => self.by_table(image, &lookup::invert()),
        }
    }

    /// A table on the device, made if it is not there yet.
    pub(super) fn table(&self, of: Table) -> Buffer {
        let tables = || self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let find = |tables: &mut Vec<(Table, Buffer)>| {
            let at = tables.iter().position(|(table, _)| *table == of)?;
            let entry = tables.remove(at);
            tables.push(entry.clone());
            Some(entry.1)
        };
        if let Some(buffer) = find(&mut tables()) {
            return buffer;
        }
        let buffer = match of {
            Table::Blended(weight) => self.gpu.upload_bytes(&mix::blended(weight)),
            Table::Weighted(weight) => self.gpu.upload_bytes(&mix::weighted(weight)),
            Table::Enhanced(weight) => self.gpu.upload_bytes(&mix::enhanced(weight)),
            Table::Hsv => {
                let shares = hsv::shares();
                let shares = shares.iter().flatten().map(|v| *v as u32);
                let factors = hsv::factors();
                let factors = factors.iter().map(|v| v.to_bits());
                self.gpu.upload(&shares.chain(factors).collect::<Vec<_>>())
            }
            Table::AutoContrast => self.gpu.upload(&lookup::shortfalls()),
        };
        let mut tables = tables();
        if tables.len() >= MOST_TABLES {
            tables.remove(0);
        }
        tables.push((of, buffer.clone()));
        buffer
    }
}

/// The least f32 that is not below `value`; nothing is below it if it is no number.
fn not_below(value: f64) -> f32 {
    let near = value as f32;
    match value.partial_cmp(&f64::from(near)) {
        Some(std::cmp::Ordering::Greater) => near.next_up(),
        Some(_) => near,
        None => f32::NEG_INFINITY,
    }
}
