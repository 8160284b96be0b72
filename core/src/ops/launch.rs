//! How a kernel of `smalti-shaders` runs on burn's device. Nothing else in the crate knows.
//!
//! Kernels are handed to burn's own queue (cubecl), so they run in order with burn's operations, on the
//! tensors' own buffers, on a device of ours or of somebody else, and in the browser. Each source is
//! compiled once a device: cubecl keeps pipelines by [`Kernel::name`].
//!
//! burn packs many tensors in one `wgpu::Buffer`, and switches off bounds checks and the clearing of
//! workgroup memory. So kernels declare all storage `read_write` and check their indices themselves.
//! No two buffers of one launch may overlap: WebGPU forbids it.
//!
//! Only a device that compiles WGSL is a [`Gpu`]. For one that takes SPIR-V (burn's feature `vulkan`) the
//! same sources would be dispatched with plain wgpu calls here, in [`Gpu::launch`].

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device, Int, Shape, Tensor};
use burn_cubecl::template::{KernelSource, SourceKernel, SourceTemplate};
use burn_cubecl::{Cube, CubeDevice, tensor::CubeTensor};
use cubecl::client::Client;
use cubecl::ir::{ElemType, FloatKind};
use cubecl::prelude::{CubeCount, CubeDim, KernelId};
use cubecl::server::{Handle, KernelArguments};
use cubecl::zspace::Strides;
use cubecl::zspace::metadata::Metadata;
use smalti_shaders::Kernel;

pub use super::memory::{MOST_WORKGROUPS, ReadError, Strided};

/// A burn device that runs WGSL.
#[derive(Clone)]
pub struct Gpu {
    client: Client,
    device: CubeDevice,
}

/// Memory on the device, counted in words of 4 bytes.
#[derive(Clone, Debug)]
pub struct Buffer(Handle);

impl Buffer {
    /// The part of `words` words from `start` on. `start` must be a multiple of 64, as bindings
    /// begin at multiples of 256 bytes.
    ///
    /// # Panics
    /// If the part is not within the buffer, or begins elsewhere.
    pub fn part(&self, start: usize, words: usize) -> Buffer {
        let (start, end) = (start as u64 * 4, (start + words) as u64 * 4);
        let size = self.0.size_in_used();
        assert!(
            start % 256 == 0,
            "a binding begins at a multiple of 256 bytes"
        );
        assert!(end <= size && start < end, "a part lies within its buffer");
        Buffer(self.0.clone().offset_start(start).offset_end(size - end))
    }

    /// Whether both are parts of the same memory.
    pub fn shares(&self, other: &Buffer) -> bool {
        self.0.memory.descriptor() == other.0.memory.descriptor()
    }

    /// Length in words.
    pub fn words(&self) -> usize {
        (self.0.size_in_used() / 4) as usize
    }
}

impl Gpu {
    /// The device, if it runs WGSL; otherwise (the CPU, a SPIR-V device) operations use the twins.
    pub fn of(device: &Device) -> Option<Gpu> {
        // not every build has other kinds of device
        #[allow(irrefutable_let_patterns)]
        let DispatchDevice::Cube(device) = device.as_dispatch() else {
            return None;
        };
        let client = device.client();
        (client.name() == "wgpu<wgsl>").then(|| Gpu {
            client,
            device: device.clone(),
        })
    }

    /// Whether its shaders may `enable f16`. Ours are opened with all that their adapters have, which is what cubecl tells of.
    pub fn has_f16(&self) -> bool {
        let properties = self.client.properties();
        properties.supports_type(ElemType::Float(FloatKind::F16))
    }

    /// Whether both are the same device.
    pub fn is(&self, other: &Gpu) -> bool {
        self.device == other.device
    }

    /// Copies words to the device.
    pub fn upload(&self, words: &[u32]) -> Buffer {
        let nothing = [0u32];
        let words = if words.is_empty() { &nothing } else { words };
        Buffer(self.client.create_from_slice(bytemuck::cast_slice(words)))
    }

    /// Words that no kernel writes: the same words give the same buffer. Each upload is a submission to the queue, which takes
    /// longer than most launches, and a model asks for the same few hundred parameters at every picture.
    pub fn constant(&self, words: &[u32]) -> Buffer {
        /// Beyond this all are let go: sizes of pictures that come again and again fit well.
        const MOST: usize = 4096;
        type Kept = HashMap<(CubeDevice, Vec<u32>), Buffer>;
        static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            kept.clear();
        }
        let key = (self.device.clone(), words.to_vec());
        kept.entry(key)
            .or_insert_with(|| self.upload(words))
            .clone()
    }

    /// Copies bytes to the device, four to a word, the first in the lowest bits; the rest of the last word is 0.
    pub fn upload_bytes(&self, bytes: &[u8]) -> Buffer {
        if !bytes.is_empty() && bytes.len().is_multiple_of(4) {
            return Buffer(self.client.create_from_slice(bytes));
        }
        let mut padded = bytes.to_vec();
        padded.resize((bytes.len() / 4 + 1) * 4, 0);
        Buffer(self.client.create_from_slice(&padded))
    }

    /// Memory with any content.
    pub fn empty(&self, words: usize) -> Buffer {
        Buffer(self.client.empty(words.max(1) * 4))
    }

    /// Queues one dispatch of `grid` workgroups; binding i is `buffers[i]`.
    ///
    /// A kernel that does not compile shows as an error of the next read-back.
    ///
    /// # Panics
    /// If the number of buffers is not the kernel's, or the grid is beyond WebGPU's limit.
    pub fn launch(&self, kernel: &Kernel, grid: [u32; 3], buffers: &[&Buffer]) {
        assert_eq!(buffers.len(), kernel.bindings, "buffers of {}", kernel.name);
        assert!(
            grid.iter().all(|n| *n <= MOST_WORKGROUPS),
            "grid {grid:?} of {} is too large: let an invocation do more",
            kernel.name
        );
        if grid.contains(&0) {
            return;
        }
        let [x, y, z] = kernel.workgroup;
        self.client.launch(
            Box::new(SourceKernel::new(Source(*kernel), CubeDim::new_3d(x, y, z))),
            CubeCount::Static(grid[0], grid[1], grid[2]),
            KernelArguments::new()
                .with_buffers(buffers.iter().map(|b| b.0.clone().binding()).collect()),
        );
    }

    /// Waits for all that was queued and copies a buffer back.
    ///
    /// # Errors
    /// If the device was lost, or a kernel failed to compile.
    pub async fn read(&self, buffer: &Buffer) -> Result<Vec<u32>, ReadError> {
        let parts = self
            .client
            .read_async(vec![buffer.0.clone()])
            .await
            .map_err(|e| ReadError(format!("{e:?}")))?;
        let bytes = parts
            .first()
            .ok_or_else(|| ReadError("nothing came".into()))?;
        Ok(bytes
            .chunks_exact(4)
            .map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]))
            .collect())
    }

    /// A buffer of f32 as a tensor, without a copy.
    ///
    /// # Panics
    /// If the shape does not have the buffer's number of elements.
    pub fn tensor<const D: usize>(&self, buffer: Buffer, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_primitive::<Cube>(self.cube(buffer, shape, DType::F32))
    }

    /// A buffer of i32 as a tensor, without a copy.
    ///
    /// # Panics
    /// If the shape does not have the buffer's number of elements.
    pub fn int_tensor<const D: usize>(&self, buffer: Buffer, shape: [usize; D]) -> Tensor<D, Int> {
        Tensor::from_primitive::<Cube>(self.cube(buffer, shape, DType::I32))
    }

    /// A buffer of f32 as a tensor whose elements lie as `strides` say, without a copy.
    ///
    /// # Panics
    /// If an element is beyond the buffer.
    pub fn strided_tensor<const D: usize>(
        &self,
        buffer: Buffer,
        shape: [usize; D],
        strides: [usize; D],
    ) -> Tensor<D> {
        let last = shape
            .iter()
            .zip(strides)
            .map(|(n, stride)| n.saturating_sub(1) * stride);
        assert!(
            last.sum::<usize>() < buffer.words(),
            "{shape:?} by {strides:?} is in {} words",
            buffer.words()
        );
        Tensor::from_primitive::<Cube>(CubeTensor::new(
            self.client.clone(),
            buffer.0,
            Metadata::new(Shape::new(shape), Strides::new(&strides)),
            self.device.clone(),
            DType::F32,
        ))
    }

    fn cube<const D: usize>(&self, buffer: Buffer, shape: [usize; D], dtype: DType) -> CubeTensor {
        assert_eq!(buffer.words(), shape.iter().product::<usize>().max(1));
        CubeTensor::new_contiguous(
            self.client.clone(),
            self.device.clone(),
            Shape::new(shape),
            buffer.0,
            dtype,
        )
    }

    /// The memory of a tensor of f32 on this device in the order of its dimensions; copied if it lies otherwise.
    ///
    /// # Errors
    /// As [`Gpu::strided`].
    pub fn contiguous<const D: usize>(&self, tensor: Tensor<D>) -> Result<Buffer, ReadError> {
        let tensor = self.primitive(tensor)?;
        Ok(Buffer(burn_cubecl::kernel::into_contiguous(tensor).handle))
    }

    /// The memory of a tensor of f32 that nobody else holds, to be written: its own, or that of a copy.
    ///
    /// # Errors
    /// As [`Gpu::strided`].
    pub fn own(&self, tensor: Tensor<1>) -> Result<Buffer, ReadError> {
        let tensor = self.primitive(tensor)?;
        let mut tensor = burn_cubecl::kernel::into_contiguous(tensor);
        if !tensor.can_mut() {
            tensor = tensor.copy();
        }
        Ok(Buffer(tensor.handle))
    }

    fn primitive<const D: usize>(&self, tensor: Tensor<D>) -> Result<CubeTensor, ReadError> {
        let tensor = if tensor.dtype() == DType::F32 {
            tensor
        } else {
            tensor.cast(DType::F32)
        };
        tensor
            .try_into_primitive::<Cube>()
            .map_err(|e| ReadError(format!("not a plain tensor of this device: {e:?}")))
    }

    /// The memory of a tensor of f32 on this device; other float types are converted.
    ///
    /// # Errors
    /// If the tensor is on another kind of device, or tracked by autodiff.
    pub fn strided<const D: usize>(&self, tensor: Tensor<D>) -> Result<Strided<D>, ReadError> {
        let mut tensor = self.primitive(tensor)?;
        if tensor.meta.shape().len() != D {
            tensor = burn_cubecl::kernel::into_contiguous(tensor); // tiled in memory
        }
        let (shape, strides) = (tensor.meta.shape(), tensor.meta.strides());
        Ok(Strided {
            shape: std::array::from_fn(|i| shape[i]),
            strides: std::array::from_fn(|i| strides[i]),
            buffer: Buffer(tensor.handle),
        })
    }
}

/// Numbers of f32 without room between them, whichever dimension lies closest: what is done to each number need not know.
pub struct Dense(CubeTensor);

impl Dense {
    /// As it lies, or a copy in order.
    ///
    /// # Panics
    /// If the device runs no WGSL.
    pub fn of(x: CubeTensor) -> Self {
        let (shape, strides) = (x.meta.shape(), x.meta.strides());
        let mut dims: Vec<_> = (0..shape.len()).filter(|i| shape[*i] > 1).collect();
        dims.sort_by_key(|i| strides[*i]);
        let mut next = 1;
        let dense = dims.iter().all(|i| {
            let follows = strides[*i] == next;
            next *= shape[*i];
            follows
        });
        if dense {
            return Self(x);
        }
        Self(burn_cubecl::kernel::into_contiguous(x))
    }

    /// Two of one shape that lie in the same order, apart from each other.
    ///
    /// # Panics
    /// If the device runs no WGSL.
    pub fn alike(a: CubeTensor, b: CubeTensor) -> [Self; 2] {
        let [mut a, mut b] = [a, b].map(Self::of);
        if a.0.meta.strides() != b.0.meta.strides() {
            [a, b] = [a, b].map(|x| Self(burn_cubecl::kernel::into_contiguous(x.0)));
        }
        if a.buffer().shares(&b.buffer()) {
            b = Self(b.0.copy());
        }
        [a, b]
    }

    /// The device.
    ///
    /// # Panics
    /// If it runs no WGSL.
    pub fn gpu(&self) -> Gpu {
        let device = Tensor::<1>::from_primitive::<Cube>(self.0.clone()).device();
        Gpu::of(&device).expect("a device that runs kernels")
    }

    /// How many numbers.
    pub fn count(&self) -> usize {
        self.0.meta.num_elements()
    }

    /// The memory.
    pub fn buffer(&self) -> Buffer {
        Buffer(self.0.handle.clone())
    }

    /// Other numbers in the same order.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn like(&self, made: Buffer) -> CubeTensor {
        assert_eq!(made.words(), self.count());
        CubeTensor::new(
            self.0.client.clone(),
            made.0,
            (*self.0.meta).clone(),
            self.0.device.clone(),
            DType::F32,
        )
    }
}

/// A kernel as burn's template mechanism wants it.
struct Source(Kernel);

impl KernelSource for Source {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(self.0.wgsl)
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Source>().info(self.0.name)
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}
