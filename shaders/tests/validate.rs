//! Every WGSL file below `wgsl/` is listed, is valid as it lies on disk, says of itself what its
//! `Kernel` row says, keeps within the limits that every WebGPU device grants, and has its records as Rust has them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage, StorageAccess, TypeInner};
use smalti_shaders::{
    ALL, CONV_TILES32, CONV_TILES32_HALF, CONV_TILES128, CONV_TILES128_HALF, Kernel, ROI_ALIGN,
    ROI_ALIGN_GRADIENT, records,
};

/// WebGPU's default limits.
const STORAGE_BUFFERS: usize = 8;
const INVOCATIONS: u32 = 256;
const WORKGROUP: [u32; 3] = [256, 256, 64];
const WORKGROUP_BYTES: u32 = 16384;

fn parse(name: &str, text: &str) -> Module {
    let module = naga::front::wgsl::parse_str(text)
        .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(text)));
    // What a kernel may have beyond WebGPU's core it says in its first lines, and is launched where the device has it.
    let may = match text.contains("\nenable f16;\n") {
        true => Capabilities::SHADER_FLOAT16,
        false => Capabilities::empty(),
    };
    let mut validator = Validator::new(ValidationFlags::all(), may);
    if let Err(e) = validator.validate(&module) {
        panic!("{name}: {}", e.emit_to_string(text));
    }
    module
}

/// Paths below `wgsl/` of all `.wgsl` files, without the ending.
fn on_disk() -> BTreeSet<String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "wgsl") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("wgsl");
    let mut found = Vec::new();
    walk(&root, &mut found);
    let name = |path: &PathBuf| {
        let below = path.strip_prefix(&root).expect("below wgsl/");
        below
            .with_extension("")
            .to_string_lossy()
            .replace('\\', "/")
    };
    found.iter().map(name).collect()
}

fn check(kernel: &Kernel) {
    let name = kernel.name;
    let module = parse(name, kernel.wgsl);
    let [entry] = module.entry_points.as_slice() else {
        panic!(
            "{name}: one entry point, found {}",
            module.entry_points.len()
        );
    };
    assert_eq!(
        (entry.name.as_str(), entry.stage),
        ("main", ShaderStage::Compute),
        "{name}"
    );
    assert_eq!(
        entry.workgroup_size, kernel.workgroup,
        "{name}: workgroup size"
    );
    let invocations: u32 = kernel.workgroup.iter().product();
    assert!(
        invocations <= INVOCATIONS,
        "{name}: {invocations} invocations"
    );
    for (size, limit) in kernel.workgroup.iter().zip(WORKGROUP) {
        assert!(*size <= limit, "{name}: workgroup {:?}", kernel.workgroup);
    }

    let mut bindings = Vec::new();
    let mut workgroup_bytes = 0;
    for (_, variable) in module.global_variables.iter() {
        match variable.space {
            AddressSpace::Storage { access } => {
                // Tensors may share one wgpu buffer, which must not be bound read-only and
                // read-write at once.
                assert_eq!(
                    access,
                    StorageAccess::LOAD | StorageAccess::STORE,
                    "{name}: `{}` must be read_write",
                    variable.name.as_deref().unwrap_or("?")
                );
                let binding = variable
                    .binding
                    .as_ref()
                    .expect("a storage variable is bound");
                assert_eq!(binding.group, 0, "{name}: one bind group");
                bindings.push(binding.binding as usize);
            }
            AddressSpace::WorkGroup => {
                workgroup_bytes += module.types[variable.ty].inner.size(module.to_ctx());
            }
            AddressSpace::Private => {}
            other => panic!("{name}: {other:?} variables are not launched by `ops::launch`"),
        }
    }
    bindings.sort_unstable();
    let expected: Vec<usize> = (0..kernel.bindings).collect();
    assert_eq!(bindings, expected, "{name}: bindings");
    assert!(
        bindings.len() <= STORAGE_BUFFERS,
        "{name}: {} buffers",
        bindings.len()
    );
    assert!(
        workgroup_bytes <= WORKGROUP_BYTES,
        "{name}: {workgroup_bytes} bytes of workgroup"
    );
}

#[test]
fn every_kernel_is_valid_and_as_its_row_says() {
    ALL.iter().for_each(check);
}

#[test]
fn every_file_is_listed_once() {
    let files: BTreeSet<String> = on_disk();
    let kernels: BTreeSet<String> = files
        .iter()
        .filter(|f| !f.starts_with("shared/"))
        .cloned()
        .collect();
    let listed: BTreeSet<String> = ALL.iter().map(|k| k.name.to_owned()).collect();
    assert_eq!(listed.len(), ALL.len(), "a name is listed twice");
    assert_eq!(kernels, listed);
}

#[test]
fn shared_files_are_valid_and_bind_nothing() {
    for name in on_disk().iter().filter(|f| f.starts_with("shared/")) {
        let path = format!("{}/wgsl/{name}.wgsl", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("a file of the repository");
        let module = parse(name, &text);
        assert!(module.entry_points.is_empty(), "{name}");
        assert!(
            module
                .global_variables
                .iter()
                .all(|(_, v)| v.binding.is_none()),
            "{name} binds"
        );
    }
}

#[test]
fn every_kernel_says_what_it_is() {
    for kernel in ALL {
        let lines = kernel.wgsl.lines().take_while(|l| l.starts_with("//"));
        let head: String = lines.map(|l| l.to_lowercase() + "\n").collect();
        for word in ["twin: ", "dispatch"] {
            assert!(
                head.contains(word),
                "{}: its header has no `{word}`",
                kernel.name
            );
        }
    }
}

#[test]
fn records_are_the_same_in_rust() {
    let mut bound = BTreeSet::new();
    for kernel in ALL {
        let module = parse(kernel.name, kernel.wgsl);
        for (_, ty) in module.types.iter() {
            let (Some(name), TypeInner::Struct { members, span }) = (&ty.name, &ty.inner) else {
                continue;
            };
            let Some((name, expected, bytes)) = records::ALL.iter().find(|r| r.0 == name) else {
                continue;
            };
            let member = |m: &naga::StructMember| {
                let size = module.types[m.ty].inner.size(module.to_ctx());
                let name = m.name.clone().unwrap_or_default();
                (name, m.offset as usize, size as usize)
            };
            let found: Vec<_> = members.iter().map(member).collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, at, size)| (name.to_string(), *at, *size))
                .collect();
            assert_eq!(found, expected, "{name} in {}", kernel.name);
            let rounded = bytes.next_multiple_of(16);
            assert!(
                [*bytes, rounded].contains(&(*span as usize)),
                "{name} in {} has {span} bytes, in Rust {bytes}",
                kernel.name
            );
            bound.insert(*name);
        }
    }
    let all: BTreeSet<&str> = records::ALL.iter().map(|r| r.0).collect();
    assert_eq!(bound, all, "records that no kernel has");
}

#[test]
fn shared_text_is_the_same_everywhere() {
    for name in on_disk().iter().filter(|f| f.starts_with("shared/")) {
        let path = format!("{}/wgsl/{name}.wgsl", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("a file of the repository");
        let head = text
            .lines()
            .find(|l| l.starts_with("fn "))
            .expect("a function");
        let users = ALL.iter().filter(|kernel| kernel.wgsl.contains(head));
        let users: Vec<_> = users
            .inspect(|k| assert!(k.wgsl.contains(&text), "{}", k.name))
            .collect();
        assert!(users.len() > 1, "{name} is shared by {users:?}");
    }
}

/// WGSL has no include: two sizes of tiles gather, weigh and write in the same words.
#[test]
fn both_tiles_are_of_one_text() {
    let middle = |kernel: &Kernel| {
        let text = kernel.wgsl;
        let from = text.find("fn activated").expect("what follows the buffers");
        let to = text.find("@compute").expect("an entry point");
        text[from..to].to_owned()
    };
    let [a, b] = [CONV_TILES128, CONV_TILES32].map(|kernel| middle(&kernel));
    assert_eq!(a, b);
    let [half, other] = [CONV_TILES128_HALF, CONV_TILES32_HALF].map(|kernel| middle(&kernel));
    assert_eq!(half, other);
    let before = |text: &str| text[..text.find("// Four filters' sums").unwrap()].to_owned();
    assert_eq!(before(&half), before(&a));
    assert!(
        ["fn corner", "fn gather", "fn weight", "fn onto", "fn put"]
            .iter()
            .all(|f| a.contains(f))
    );
}

/// Regions are read and learned from in the same words: their levels, axes and samples.
#[test]
fn both_ways_of_regions_are_of_one_text() {
    let middle = |kernel: &Kernel, end: &str| {
        let text = kernel.wgsl;
        let from = text.find("// Where the samples").expect("an axis");
        let to = text.find(end).expect("what is its own");
        text[from..to].to_owned()
    };
    let forward = middle(&ROI_ALIGN, "fn mean_of");
    let back = middle(&ROI_ALIGN_GRADIENT, "// What a sample has of a place");
    assert_eq!(forward, back);
    assert!(
        ["fn axis_of", "fn sample_of", "fn level_of", "fn value_of"]
            .iter()
            .all(|f| forward.contains(f))
    );
}
