//! Which device runs a model, chosen at run time: `auto`, `cpu`, `gpu`, or an adapter by name or index.
//!
//! Walk: [`adapters`] lists what wgpu reaches, best first; [`choose`] opens one of them, and hands exactly
//! that one to burn. A window or a page that already has a wgpu device gives it to [`from_setup`].
//!
//! A software adapter (lavapipe, SwiftShader, WARP) runs the same kernels as a GPU, but slower than our CPU
//! path. So `auto` never takes one; `gpu` does, if there is nothing else, with a warning. Nothing here
//! panics when there is no adapter, or not even a Vulkan loader.

use std::fmt;
#[cfg(feature = "gpu")]
use std::sync::{Mutex, OnceLock, PoisonError};

use burn::backend::DispatchDevice;
use burn::tensor::Device;
#[cfg(feature = "gpu")]
pub use burn::tensor::wgpu::{WgpuSetup, wgpu};

/// The wgpu handles of a device: in a build without the feature `gpu` there are none.
#[cfg(not(feature = "gpu"))]
#[derive(Clone, Debug)]
pub enum WgpuSetup {}

/// Environment variable with the device to use where none is given.
pub const DEVICE_VARIABLE: &str = "SMALTI_DEVICE";

#[cfg(feature = "gpu")]
/// What the kernels need: storage buffers a stage, invocations a workgroup.
const LEAST: (u32, u32) = (8, 256);

/// What kind of hardware an adapter is. The order is the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdapterKind {
    /// A card of its own.
    Discrete,
    /// Part of the processor.
    Integrated,
    /// A part of a card, lent to a virtual machine.
    Virtual,
    /// Not told; so in browsers.
    Unknown,
    /// No hardware: a program on the CPU.
    Software,
}

/// Whether tensors of this device are in the processor's memory, gradients recorded or not.
pub(crate) fn is_processor(device: &Device) -> bool {
    let device = device.clone().without_autodiff();
    matches!(device.as_dispatch(), DispatchDevice::Flex(_))
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            AdapterKind::Discrete => "discrete",
            AdapterKind::Integrated => "integrated",
            AdapterKind::Virtual => "virtual",
            AdapterKind::Unknown => "unknown",
            AdapterKind::Software => "software",
        })
    }
}

/// One adapter on one graphics API.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// Position in [`adapters`]; `--device 0` takes the first.
    pub index: usize,
    /// As the driver names it; empty in some browsers.
    pub name: String,
    /// Graphics API: Vulkan, Metal, Dx12, Gl, BrowserWebGpu.
    pub backend: String,
    /// What it is.
    pub kind: AdapterKind,
    /// Driver and its version.
    pub driver: String,
    /// Largest buffer, bytes.
    pub max_buffer_bytes: u64,
    /// Largest part of a buffer that a kernel sees, so largest tensor, bytes.
    pub max_binding_bytes: u64,
    /// Invocations a workgroup.
    pub max_invocations: u32,
    /// Workgroup memory, bytes.
    pub max_workgroup_bytes: u32,
    #[cfg(feature = "gpu")]
    handle: wgpu::Adapter,
}

impl Adapter {
    #[cfg(feature = "gpu")]
    fn new(handle: wgpu::Adapter) -> Option<Adapter> {
        let limits = handle.limits();
        let info = handle.get_info();
        let computes = handle
            .get_downlevel_capabilities()
            .flags
            .contains(wgpu::DownlevelFlags::COMPUTE_SHADERS);
        if !computes
            || limits.max_storage_buffers_per_shader_stage < LEAST.0
            || limits.max_compute_invocations_per_workgroup < LEAST.1
        {
            return None;
        }
        Some(Adapter {
            index: 0,
            kind: kind_of(&info),
            backend: match info.backend {
                wgpu::Backend::BrowserWebGpu => "WebGPU".into(),
                backend => format!("{backend:?}"),
            },
            driver: format!("{} {}", info.driver, info.driver_info)
                .trim()
                .to_owned(),
            name: info.name,
            max_buffer_bytes: limits.max_buffer_size,
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            handle,
        })
    }

    /// Whether it is a program on the CPU.
    pub fn is_software(&self) -> bool {
        self.kind == AdapterKind::Software
    }

    /// Name and graphics API; never empty.
    pub fn title(&self) -> String {
        if self.name.is_empty() {
            self.backend.clone()
        } else {
            format!("{} ({})", self.name, self.backend)
        }
    }
}

#[cfg(feature = "gpu")]
/// Software adapters say so, except a few that only their name gives away.
fn kind_of(info: &wgpu::AdapterInfo) -> AdapterKind {
    const SOFTWARE: [&str; 5] = [
        "llvmpipe",
        "lavapipe",
        "softpipe",
        "swiftshader",
        "microsoft basic render",
    ];
    let name = info.name.to_lowercase();
    if SOFTWARE.iter().any(|s| name.contains(s)) {
        return AdapterKind::Software;
    }
    match info.device_type {
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
        wgpu::DeviceType::Other => AdapterKind::Unknown,
    }
}

/// The adapters that can run the kernels, best first. Empty if there is none.
///
/// A card that several graphics APIs reach is listed for each. `WGPU_BACKEND` restricts the APIs; OpenGL is used
/// only if it is named there, because its drivers do not bear several threads.
pub async fn adapters() -> Vec<Adapter> {
    // asked once: Vulkan loaders do not like instances and threads that come and go
    #[cfg(not(target_arch = "wasm32"))]
    {
        static FOUND: OnceLock<Vec<Adapter>> = OnceLock::new();
        FOUND
            .get_or_init(|| pollster::block_on(enumerate()))
            .clone()
    }
    #[cfg(target_arch = "wasm32")]
    enumerate().await
}

#[cfg(not(feature = "gpu"))]
async fn enumerate() -> Vec<Adapter> {
    Vec::new()
}

#[cfg(feature = "gpu")]
async fn enumerate() -> Vec<Adapter> {
    let mut found: Vec<Adapter> = instance()
        .enumerate_adapters(wgpu::Backends::all())
        .await
        .into_iter()
        .filter_map(Adapter::new)
        .collect();
    // stable: within a kind wgpu's own order of APIs stays
    found.sort_by_key(|a| a.kind);
    for (i, adapter) in found.iter_mut().enumerate() {
        adapter.index = i;
    }
    found
}

#[cfg(feature = "gpu")]
/// One instance for all.
fn instance() -> &'static wgpu::Instance {
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        let mut wanted = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
        if std::env::var_os("WGPU_BACKEND").is_none() {
            wanted.backends.remove(wgpu::Backends::GL);
        }
        wgpu::Instance::new(wanted)
    })
}

/// A device that is ready for tensors.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// burn's device.
    pub device: Device,
    /// Adapter and graphics API, or "CPU".
    pub name: String,
    /// Runs our WGSL kernels.
    pub is_gpu: bool,
    /// Is a GPU in name only.
    pub is_software: bool,
    /// What the user should know, a line each; often nothing.
    pub notes: Vec<String>,
    /// The wgpu handles, to share with a window. `None` on the CPU.
    pub setup: Option<WgpuSetup>,
}

impl Chosen {
    /// The CPU, with notes.
    fn cpu(notes: Vec<String>) -> Chosen {
        Chosen {
            device: Device::flex(),
            name: "CPU".into(),
            is_gpu: false,
            is_software: false,
            notes,
            setup: None,
        }
    }
}

/// Why there is no such device. Adapters are named as `0: NAME (API)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// A GPU was asked for, and there is no adapter at all.
    NoAdapter,
    /// No adapter has this name or index.
    Unknown {
        /// What was asked for.
        spec: String,
        /// What there is.
        adapters: Vec<String>,
    },
    /// More than one adapter has this name.
    Ambiguous {
        /// What was asked for.
        spec: String,
        /// The adapters that fit.
        adapters: Vec<String>,
    },
    /// The adapter is there but did not open.
    Failed {
        /// The adapter.
        name: String,
        /// The driver's reason.
        message: String,
    },
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, adapters: &[String]| {
            adapters.iter().try_for_each(|a| write!(f, "\n  {a}"))
        };
        match self {
            DeviceError::NoAdapter => write!(
                f,
                "no GPU adapter found, and the device is to be a GPU\n\
                 help: `auto` and `cpu` run without one; otherwise install a driver for Vulkan, Metal or DirectX 12"
            ),
            DeviceError::Unknown { spec, adapters } => {
                write!(f, "no device is called `{spec}`; there are auto, cpu, gpu")?;
                list(f, adapters)
            }
            DeviceError::Ambiguous { spec, adapters } => {
                write!(
                    f,
                    "`{spec}` fits more than one adapter; give its number or more of its name"
                )?;
                list(f, adapters)
            }
            DeviceError::Failed { name, message } => write!(f, "{name} did not open: {message}"),
        }
    }
}

impl std::error::Error for DeviceError {}

/// The device to ask for where the user did not say: `SMALTI_DEVICE`, or `auto`.
pub fn default_spec() -> String {
    std::env::var(DEVICE_VARIABLE).unwrap_or_else(|_| "auto".into())
}

/// Opens the device that `spec` names.
///
/// - `auto` (or nothing): the best GPU that is hardware and opens, else the CPU;
/// - `cpu`;
/// - `gpu`: the best adapter, a software one if need be;
/// - a number: that place in [`adapters`];
/// - anything else: the adapter whose name contains it, upper and lower case alike.
///
/// Choosing an adapter again gives the device that is already open.
///
/// # Errors
/// See [`DeviceError`]; never for `auto` and `cpu`.
pub async fn choose(spec: &str) -> Result<Chosen, DeviceError> {
    let spec = spec.trim();
    match spec.to_lowercase().as_str() {
        "cpu" => Ok(Chosen::cpu(Vec::new())),
        "" | "auto" => Ok(auto(&adapters().await).await),
        "gpu" => {
            let found = adapters().await;
            let mut last = DeviceError::NoAdapter;
            for adapter in &found {
                match open(adapter).await {
                    Ok(chosen) => return Ok(chosen),
                    Err(e) => last = e,
                }
            }
            Err(last)
        }
        name => {
            let found = adapters().await;
            open(pick(&found, spec, name)?).await
        }
    }
}

/// [`choose`], waiting for the driver.
///
/// # Errors
/// As [`choose`].
#[cfg(not(target_arch = "wasm32"))]
pub fn choose_blocking(spec: &str) -> Result<Chosen, DeviceError> {
    pollster::block_on(choose(spec))
}

/// A GPU for tests, a software one too. Without any they skip what needs it, except in CI, where one is promised.
#[cfg(test)]
pub(crate) fn gpu_for_tests() -> Option<Device> {
    match choose_blocking("gpu") {
        Ok(chosen) => Some(chosen.device),
        Err(e) => {
            let ci = std::env::var("CI").is_ok_and(|v| v == "true");
            assert!(!ci, "CI promises an adapter: {e}");
            eprintln!("skipped: {e}");
            None
        }
    }
}

/// The adapter that `auto` tries first: the best that is hardware.
pub fn auto_adapter(adapters: &[Adapter]) -> Option<&Adapter> {
    adapters.iter().find(|a| !a.is_software())
}

async fn auto(found: &[Adapter]) -> Chosen {
    let mut notes = Vec::new();
    for adapter in found.iter().filter(|a| !a.is_software()) {
        match open(adapter).await {
            Ok(mut chosen) => {
                notes.append(&mut chosen.notes);
                chosen.notes = notes;
                return chosen;
            }
            Err(e) => notes.push(e.to_string()),
        }
    }
    notes.push(match found.iter().find(|a| a.is_software()) {
        Some(a) => format!(
            "no GPU found, only a software adapter, {}: running on the CPU, which is faster",
            a.title()
        ),
        None => "no GPU adapter found: running on the CPU".to_owned(),
    });
    Chosen::cpu(notes)
}

fn pick<'a>(found: &'a [Adapter], spec: &str, name: &str) -> Result<&'a Adapter, DeviceError> {
    let listed = |adapters: &[&Adapter]| -> Vec<String> {
        adapters
            .iter()
            .map(|a| format!("{}: {}", a.index, a.title()))
            .collect()
    };
    if let Some(adapter) = name.parse().ok().and_then(|i: usize| found.get(i)) {
        return Ok(adapter);
    }
    let fitting: Vec<&Adapter> = found
        .iter()
        .filter(|a| a.title().to_lowercase().contains(name))
        .collect();
    match fitting.as_slice() {
        [] => Err(DeviceError::Unknown {
            spec: spec.to_owned(),
            adapters: listed(&found.iter().collect::<Vec<_>>()),
        }),
        // one card on several APIs: the first of them
        [first, rest @ ..] if rest.iter().all(|a| a.name == first.name) => Ok(first),
        several => Err(DeviceError::Ambiguous {
            spec: spec.to_owned(),
            adapters: listed(several),
        }),
    }
}

#[cfg(not(feature = "gpu"))]
async fn open(adapter: &Adapter) -> Result<Chosen, DeviceError> {
    let (name, message) = (adapter.title(), "this build has no GPU".into());
    Err(DeviceError::Failed { name, message })
}

#[cfg(feature = "gpu")]
/// Devices opened so far, by adapter.
static OPEN: Mutex<Vec<(String, Chosen)>> = Mutex::new(Vec::new());

#[cfg(feature = "gpu")]
/// The adapter's device, opened once: tensors of two devices of one adapter do not mix.
async fn open(adapter: &Adapter) -> Result<Chosen, DeviceError> {
    let key = format!("{} {} {}", adapter.index, adapter.title(), adapter.driver);
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, chosen)) = open.iter().find(|(k, _)| *k == key) {
        return Ok(chosen.clone());
    }
    // Natively a driver answers at once, and threads that ask meanwhile wait at the lock. A page has one thread, which must not wait.
    #[cfg(not(target_arch = "wasm32"))]
    let chosen = pollster::block_on(make(adapter))?;
    #[cfg(target_arch = "wasm32")]
    let chosen = {
        drop(open);
        let chosen = make(adapter).await?;
        open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        chosen
    };
    open.push((key, chosen.clone()));
    Ok(chosen)
}

#[cfg(feature = "gpu")]
async fn make(adapter: &Adapter) -> Result<Chosen, DeviceError> {
    let asked = adapter
        .handle
        .request_device(&device_descriptor(&adapter.handle));
    let (device, queue) = asked.await.map_err(|e| DeviceError::Failed {
        name: adapter.title(),
        message: e.to_string(),
    })?;
    from_setup(WgpuSetup {
        instance: instance().clone(),
        adapter: adapter.handle.clone(),
        device,
        queue,
        backend: adapter.handle.get_info().backend,
    })
}

#[cfg(feature = "gpu")]
/// What a device must be created with that burn is to use: burn (cubecl 0.11) reads the features and limits of
/// the *adapter* to choose its kernels, so the device needs all of them.
pub fn device_descriptor(adapter: &wgpu::Adapter) -> wgpu::DeviceDescriptor<'static> {
    let unwanted =
        wgpu::Features::MAPPABLE_PRIMARY_BUFFERS | wgpu::Features::all_experimental_mask();
    wgpu::DeviceDescriptor {
        label: Some("smalti"),
        required_features: adapter.features().difference(unwanted),
        required_limits: adapter.limits(),
        memory_hints: wgpu::MemoryHints::MemoryUsage,
        ..Default::default()
    }
}

#[cfg(feature = "gpu")]
/// A wgpu device that somebody else made, such as a window or a page. Hand in each device once, and keep the result.
///
/// The device should have been created with [`device_descriptor`].
///
/// # Errors
/// If burn refuses it: no compute, or handles that do not belong together.
pub fn from_setup(setup: WgpuSetup) -> Result<Chosen, DeviceError> {
    let info = setup.adapter.get_info();
    let name = if info.name.is_empty() {
        format!("{:?}", info.backend)
    } else {
        format!("{} ({:?})", info.name, info.backend)
    };
    let device = Device::wgpu_options()
        .setup(setup.clone())
        .init()
        .map_err(|e| DeviceError::Failed {
            name: name.clone(),
            message: e.to_string(),
        })?;
    let is_software = kind_of(&info) == AdapterKind::Software;
    let notes = match is_software {
        true => vec![format!(
            "{name} is a software adapter: it computes on the CPU, and slower than `--device cpu`"
        )],
        false => Vec::new(),
    };
    Ok(Chosen {
        device,
        name,
        is_gpu: true,
        is_software,
        notes,
        setup: Some(setup),
    })
}

/// Whether a burn device is one of wgpu's.
pub fn is_gpu(device: &Device) -> bool {
    #[cfg(feature = "gpu")]
    return matches!(device.as_dispatch(), DispatchDevice::Cube(_));
    #[cfg(not(feature = "gpu"))]
    {
        let _ = device;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_and_auto_always_work() {
        let cpu = choose_blocking("cpu").unwrap();
        assert!(!cpu.is_gpu && cpu.notes.is_empty() && !is_gpu(&cpu.device));
        let auto = choose_blocking(" AUTO ").unwrap();
        assert_eq!(auto.is_gpu, is_gpu(&auto.device));
        assert!(!auto.is_software);
        if !auto.is_gpu {
            assert!(auto.notes.last().unwrap().contains("running on the CPU"));
        }
    }

    #[test]
    fn unknown_names_list_what_there_is() {
        let e = choose_blocking("no-such-card").unwrap_err();
        let found = pollster::block_on(adapters());
        assert!(e.to_string().contains("no device is called `no-such-card`"));
        for adapter in found {
            assert!(e.to_string().contains(&adapter.title()));
        }
        assert!(matches!(
            choose_blocking("4711"),
            Err(DeviceError::Unknown { .. })
        ));
    }

    #[test]
    fn the_named_adapter_is_the_one_that_opens() {
        for adapter in pollster::block_on(adapters()) {
            for spec in [adapter.index.to_string(), adapter.title().to_uppercase()] {
                let chosen = choose_blocking(&spec).unwrap();
                assert_eq!(chosen.name, adapter.title());
                assert_eq!(chosen.is_software, adapter.is_software());
                let info = chosen.setup.unwrap().device.adapter_info();
                assert_eq!(info.name, adapter.name);
                let DispatchDevice::Cube(device) = chosen.device.as_dispatch() else {
                    panic!("{adapter:?} gave {:?}", chosen.device);
                };
                assert_eq!(device.client().properties().identity.name, adapter.name);
            }
        }
    }

    #[test]
    fn gpu_is_an_adapter_or_an_error() {
        let found = pollster::block_on(adapters());
        // Threads that ask at once get the same device.
        let asked: Vec<_> = std::thread::scope(|threads| {
            let asking: Vec<_> = (0..16)
                .map(|_| threads.spawn(|| choose_blocking("gpu")))
                .collect();
            asking.into_iter().map(|t| t.join().unwrap()).collect()
        });
        match &asked[0] {
            Ok(chosen) => {
                assert!(chosen.is_gpu);
                assert_eq!(chosen.is_software, !chosen.notes.is_empty());
                for again in &asked {
                    assert_eq!(again.as_ref().unwrap().device, chosen.device);
                }
            }
            Err(e) => assert!(found.is_empty(), "{e}"),
        }
    }

    /// Runs the tests above again where no driver can be found.
    #[test]
    #[cfg(target_os = "linux")]
    fn nothing_panics_without_a_driver() {
        const CHILD: &str = "SMALTI_TEST_NO_DRIVER";
        if std::env::var_os(CHILD).is_some() {
            assert!(pollster::block_on(adapters()).is_empty());
            assert_eq!(choose_blocking("gpu").unwrap_err(), DeviceError::NoAdapter);
            let auto = choose_blocking("auto").unwrap();
            assert_eq!(auto.notes, ["no GPU adapter found: running on the CPU"]);
            return;
        }
        let run = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "device::tests::nothing_panics_without_a_driver"])
            .env(CHILD, "1")
            .env("VK_ICD_FILENAMES", "/nonexistent")
            .env("VK_DRIVER_FILES", "/nonexistent")
            .env("__EGL_VENDOR_LIBRARY_FILENAMES", "/nonexistent")
            .env("LIBGL_DRIVERS_PATH", "/nonexistent")
            .output()
            .unwrap();
        assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stdout)
        );
    }
}
