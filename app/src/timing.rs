//! [`Timing`]: how long each part of a detection takes.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};

/// Times of the parts of a run, in their order. The device is waited for after each part: slower, but each can be told from the others.
pub struct Timing {
    device: Device,
    last: Instant,
    parts: Vec<(String, Duration)>,
}

impl Timing {
    /// Begins now.
    pub fn new(device: &Device) -> Self {
        Self {
            device: device.clone(),
            last: Instant::now(),
            parts: Vec::new(),
        }
    }

    /// For a `Probe`: `part` has given its tensors. The outputs of one head are one part.
    pub fn tell(&mut self, part: &str, _: &[Tensor<4>]) {
        let name = match part.split('.').next().unwrap_or(part) {
            "batch" => "preprocess",
            name => name,
        };
        // What a device says when it fails is said by the detection too.
        let _ = self.device.sync();
        self.end(name);
    }

    /// All parts and the rest, which is from the last outputs to boxes.
    pub fn finish(mut self) -> Vec<(String, Duration)> {
        self.end("postprocess");
        self.parts
    }

    fn end(&mut self, name: &str) {
        let took = self.last.elapsed();
        self.last = Instant::now();
        match self.parts.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += took,
            None => self.parts.push((name.to_string(), took)),
        }
    }
}
