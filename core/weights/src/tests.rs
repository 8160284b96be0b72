//! Whole files: as PyTorch, numpy and others write them, and as an attacker would.
//!
//! The files under `tests/data/checkpoints/` were made by the original software (`make.py` there).

use super::*;

mod hostile;
mod training;

const ZIP: &[u8] = include_bytes!("../../../tests/data/checkpoints/zip.pth");
const LEGACY: &[u8] = include_bytes!("../../../tests/data/checkpoints/legacy.pth");
const DETECTRON2: [&[u8]; 6] = [
    include_bytes!("../../../tests/data/checkpoints/detectron2-p0.pkl"),
    include_bytes!("../../../tests/data/checkpoints/detectron2-p1.pkl"),
    include_bytes!("../../../tests/data/checkpoints/detectron2-p2.pkl"),
    include_bytes!("../../../tests/data/checkpoints/detectron2-p3.pkl"),
    include_bytes!("../../../tests/data/checkpoints/detectron2-p4.pkl"),
    include_bytes!("../../../tests/data/checkpoints/detectron2-p5.pkl"),
];

fn read(bytes: &[u8]) -> Checkpoint {
    Checkpoint::read(bytes.to_vec()).unwrap()
}

fn message(bytes: &[u8]) -> String {
    Checkpoint::read(bytes.to_vec()).unwrap_err().to_string()
}

/// How the zip archive keeps its entries.
#[derive(Clone, Copy, PartialEq)]
enum Packing {
    Stored,
    Deflated,
}

/// A zip archive with these entries.
fn zip_of(entries: &[(&str, &[u8])], packing: Packing) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let mut packed = Vec::with_capacity(bytes.len() + 100);
        if packing == Packing::Deflated {
            let mut deflater = flate2::Compress::new(flate2::Compression::best(), false);
            let finish = flate2::FlushCompress::Finish;
            deflater.compress_vec(bytes, &mut packed, finish).unwrap();
        } else {
            packed.extend_from_slice(bytes);
        }
        // Version, flags, method, time, date, checksum, sizes and the length of the name: the same in both headers.
        let mut common = vec![20, 0, 0, 0];
        common.extend([
            if packing == Packing::Deflated { 8 } else { 0 },
            0,
            0,
            0,
            0,
            0,
        ]);
        common.extend(crc.sum().to_le_bytes());
        common.extend((packed.len() as u32).to_le_bytes());
        common.extend((bytes.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend((file.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend(name.as_bytes());
        file.extend(&packed);
    }
    let start = file.len() as u32;
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([entries.len() as u16; 2].map(u16::to_le_bytes).concat());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0, 0]);
    file
}

/// The pickle of a float tensor over storage "0" of `count` elements; sizes below 256.
fn tensor_pickle(count: u8, offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let mut pickle = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK".to_vec();
    pickle.extend([count, b't', b'Q', b'K', offset]);
    for sizes in [shape, strides] {
        pickle.push(b'(');
        pickle.extend(sizes.iter().flat_map(|&size| [b'K', size]));
        pickle.push(b't');
    }
    pickle.extend(b"I00\nNtR");
    pickle
}

/// A dict with these keys and pickled values.
fn dict_pickle(items: &[(&str, &[u8])]) -> Vec<u8> {
    let mut pickle = vec![b'}'];
    for (key, value) in items {
        pickle.extend([&[0x8c, key.len() as u8], key.as_bytes(), *value, b"s"].concat());
    }
    pickle
}

fn torch_zip(items: &[(&str, &[u8])], storage: &[u8], packing: Packing) -> Vec<u8> {
    let pickle = [b"\x80\x02", &dict_pickle(items)[..], b"."].concat();
    zip_of(
        &[("any/data.pkl", &pickle), ("any/data/0", storage)],
        packing,
    )
}

fn floats(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn safetensors_of(header: &str, data: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend((0..data).map(|i| i as u8));
    file
}

fn two_tensors() -> Vec<u8> {
    safetensors_of(
        r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[2,1],"data_offsets":[4,6]}}"#,
        6,
    )
}

/// What burn-pack 0.22 writes for `conv.weight` (2x3, 0 to 5) and `mask` (bool).
fn burnpack_of_two() -> Vec<u8> {
    let text = |text: &str| [&[0x60 + text.len() as u8], text.as_bytes()].concat();
    let tensor = |dtype: Vec<u8>, shape: &[u8], start: u8, end: u8| {
        let shape = [&[0x80 + shape.len() as u8], shape].concat();
        let offsets = [&[0x82, 0x18, start, 0x18, end][..]].concat();
        [
            vec![0xa3],
            text("dtype"),
            dtype,
            text("shape"),
            shape,
            text("data_offsets"),
            offsets,
        ]
        .concat()
    };
    let header = [
        vec![0xa2],
        text("tensors"),
        vec![0xa2],
        text("conv.weight"),
        tensor(text("F32"), &[2, 3], 0, 24),
        text("mask"),
        tensor(
            [vec![0xa1], text("Bool"), text("Native")].concat(),
            &[2],
            24,
            26,
        ),
        text("metadata"),
        vec![0xa1],
        text("producer"),
        text("test"),
    ]
    .concat();
    let mut file = b"NRUB\x01\x00".to_vec();
    file.extend((header.len() as u32).to_le_bytes());
    file.extend(&header);
    file.resize(256, 0);
    file.extend(floats(&[0., 1., 2., 3., 4., 5.]));
    file.extend([1, 0]);
    file
}

#[test]
fn what_pytorch_and_mmengine_write() {
    for (bytes, format) in [(ZIP, Format::TorchZip), (LEGACY, Format::TorchLegacy)] {
        let c = read(bytes);
        assert_eq!(c.format(), format);
        let keys = [
            "a.weight",
            "a.tied",
            "a.transposed",
            "a.slice",
            "half",
            "bf16",
            "bn.num_batches_tracked",
            "empty",
            "flags",
            "sparse",
        ];
        assert_eq!(c.keys().collect::<Vec<_>>(), keys);
        let weight: Vec<f32> = (0..12).map(|i| i as f32 / 8.0).collect();
        assert_eq!(c.f32("a.weight").unwrap(), weight);
        let transposed: Vec<f32> = (0..12).map(|i| weight[i % 3 * 4 + i / 3]).collect();
        assert_eq!(c.f32("a.transposed").unwrap(), transposed);
        assert_eq!(c.f32("a.slice").unwrap(), [0.5, 0.75, 1.0, 1.25]);
        assert_eq!(c.f32("half").unwrap(), [1.5, -2.0]);
        assert_eq!(c.f32("bf16").unwrap(), [3.0, -0.5]);
        assert_eq!(c.f32("flags").unwrap(), [1.0, 0.0]);
        assert_eq!(c.f32("empty").unwrap(), [0f32; 0]);
        let counter = c.get("bn.num_batches_tracked").unwrap();
        assert_eq!((counter.shape(), counter.dtype()), (&[][..], DType::I64));
        assert_eq!(counter.i64().unwrap(), [7]);
        let [a, tied] = ["a.weight", "a.tied"].map(|key| c.get(key).unwrap());
        assert_eq!(a.storage(), tied.storage());
        assert_eq!(c.get("a.transposed").unwrap().strides(), [1, 4]);

        assert!(c.get("sparse").is_none());
        let why = "a sparse tensor; save it dense and in floating point";
        assert_eq!(c.unreadable().collect::<Vec<_>>(), [("sparse", why)]);
        assert_eq!(
            c.f32("a.wieght").unwrap_err().to_string(),
            "no tensor `a.wieght` in the checkpoint; the nearest is `a.weight`"
        );
        assert_eq!(c.state().section, "state_dict");
        assert_eq!(c.state().unwrapped, 10);

        let meta = c.meta();
        assert_eq!((meta.epoch, meta.iter), (Some(2), Some(40)));
        assert_eq!(meta.classes, ["cat", "dog"]);
        assert_eq!(meta.config.as_deref(), Some("max_epochs = 2\n"));
        let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(meta.facts, [fact("mmengine_version", "0.10.7")]);
        let others = [
            fact("ema_state_dict", "2 tensors"),
            fact("message_hub", "2 tensors"),
            fact("optimizer", "1 tensor"),
        ];
        assert_eq!(meta.others, others);

        let trained = Checkpoint::read_section(bytes.to_vec(), Some("ema_state_dict")).unwrap();
        assert_eq!(trained.f32("a.weight").unwrap()[0], 1.0);
        let none = Checkpoint::read_section(bytes.to_vec(), Some("model")).unwrap_err();
        assert_eq!(
            none.to_string(),
            "no named tensors in this file: it holds no tensors under `model`"
        );
    }
}

#[test]
fn numpy_arrays_of_every_protocol() {
    for bytes in DETECTRON2 {
        let c = read(bytes);
        assert_eq!(
            (c.format(), c.state().section.as_str()),
            (Format::Pickle, "model")
        );
        assert_eq!(
            c.f32("conv1.weight").unwrap(),
            [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
        );
        assert_eq!(c.get("conv1.weight").unwrap().shape(), [2, 3]);
        assert_eq!(c.f32("columns").unwrap(), [0., 1., 2., 3., 4., 5.]);
        assert_eq!(c.f32("big_endian").unwrap(), [1.5, -2.0]);
        assert_eq!(c.f32("bytes").unwrap(), [200., 255., 10., 13.]);
        let author = ("__author__".to_owned(), "'someone'".to_owned());
        assert_eq!(c.meta().others, [author]);
    }
}

#[test]
fn a_python_2_pickle_of_detectron() {
    // {'blobs': {'conv1_w': array([1.5, -2], float32)}} as Python 2 writes it: strings are bytes.
    let array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR(I1\n(I2\ntcnumpy\ndtype\n(U\x02f4I0\nI1\ntR(I3\nU\x01<NNNI-1\nI-1\nI0\ntbI00\nU\x08\x00\x00\xc0\x3f\x00\x00\x00\xc0tb";
    let pickle = [b"\x80\x02}U\x05blobs}U\x07conv1_w", &array[..], b"ss."].concat();
    let c = read(&pickle);
    assert_eq!(c.state().section, "blobs");
    assert_eq!(c.f32("conv1_w").unwrap(), [1.5, -2.0]);
}

#[test]
fn zip_archives_stored_and_deflated() {
    let tensor = tensor_pickle(6, 1, &[2, 2], &[3, 1]);
    let storage = floats(&[0., 1., 2., 3., 4., 5.]);
    for packing in [Packing::Stored, Packing::Deflated] {
        let c = read(&torch_zip(&[("w", &tensor)], &storage, packing));
        assert_eq!(c.f32("w").unwrap(), [1., 2., 4., 5.]);
    }
    // The same bytes on a machine of the other byte order.
    let pickle = [b"\x80\x02", &dict_pickle(&[("w", &tensor)])[..], b"."].concat();
    let swapped: Vec<u8> = storage
        .chunks(4)
        .flat_map(|b| b.iter().rev().copied())
        .collect();
    let entries: [(&str, &[u8]); 3] = [
        ("x/byteorder", b"big"),
        ("x/data.pkl", &pickle),
        ("x/data/0", &swapped),
    ];
    assert_eq!(
        read(&zip_of(&entries, Packing::Stored)).f32("w").unwrap(),
        [1., 2., 4., 5.]
    );
}

#[test]
fn a_broken_tensor_leaves_the_others_readable() {
    let good = tensor_pickle(2, 0, &[2], &[1]);
    let outside = tensor_pickle(2, 1, &[2], &[1]);
    let huge = tensor_pickle(200, 0, &[200], &[1]);
    let negative = b"ctorch._utils\n_rebuild_tensor_v2\n(NJ\xff\xff\xff\xff))tR";
    let items: [(&str, &[u8]); 5] = [
        ("good", &good),
        ("outside", &outside),
        ("huge", &huge),
        ("negative", negative),
        ("number", b"K\x05"),
    ];
    let c = read(&torch_zip(&items, &floats(&[1., 2.]), Packing::Stored));
    assert_eq!(c.f32("good").unwrap(), [1., 2.]);
    let unreadable: Vec<_> = c.unreadable().collect();
    assert_eq!(
        unreadable,
        [
            (
                "outside",
                "shape [2] of float32 needs 12 bytes of storage, there are 8"
            ),
            ("huge", "its storage has 8 bytes instead of 800"),
            ("negative", "without a storage"),
        ]
    );
    assert_eq!(
        c.state().not_tensors,
        [("number".to_owned(), "5".to_owned())]
    );
}

#[test]
fn state_dicts_in_all_their_places() {
    let t = tensor_pickle(1, 0, &[1], &[1]);
    let inner = dict_pickle(&[("w", &t)]);
    let case = |pickle: &[u8], section: &str, keys: &[&str]| {
        let pickle = [b"\x80\x02", pickle, b"."].concat();
        let file = zip_of(
            &[("a/data.pkl", &pickle), ("a/data/0", &[0; 4])],
            Packing::Stored,
        );
        let c = read(&file);
        assert_eq!(
            (c.state().section.as_str(), c.keys().collect::<Vec<_>>()),
            (section, keys.to_vec())
        );
    };
    case(&inner, "", &["w"]);
    case(
        &dict_pickle(&[("optimizer", &inner), ("model", &inner)]),
        "model",
        &["w"],
    );
    case(
        &dict_pickle(&[("model", &inner), ("state_dict", &inner)]),
        "state_dict",
        &["w"],
    );
    case(
        &dict_pickle(&[("model", &dict_pickle(&[("ema", &inner)]))]),
        "model.ema",
        &["w"],
    );
    case(
        &dict_pickle(&[("neck", &inner), ("head", &inner), ("optimizer", &inner)]),
        "",
        &["neck.w", "head.w"],
    );
    // A model whose own parameter is called `model`.
    case(
        &dict_pickle(&[("model", &t), ("w", &t)]),
        "",
        &["model", "w"],
    );
    // MMDetection 2.x's EMA hook; and a key that comes twice.
    let ema = dict_pickle(&[("a.w", &t), ("ema_a_w", &t), ("ema_own", &t), ("a.w", &t)]);
    case(&ema, "", &["a.w", "ema_own"]);
    // A dict subclass with default pickling (addict.Dict), and an OrderedDict of protocol 0.
    let addict = [
        b"caddict.addict\nDict\n)\x81",
        &inner[1..],
        b"}X\x01\x00\x00\x00_Nsb",
    ]
    .concat();
    case(&addict, "", &["w"]);
    let ordered = [b"ccollections\nOrderedDict\n((l(lS'w'\na", &t[..], b"aatR"].concat();
    case(&ordered, "", &["w"]);
    // The same as protocols 0 and 1 write a dict subclass.
    let old = [
        b"ccopy_reg\n_reconstructor\n(caddict.addict\nDict\nc__builtin__\ndict\n",
        &inner[..],
        b"tR",
    ]
    .concat();
    case(&old, "", &["w"]);
    // A dict that contains itself.
    let mut cycle = b"}q\x01X\x05\x00\x00\x00modelh\x01s".to_vec();
    cycle.extend(&inner[1..]);
    case(&cycle, "", &["w"]);
    // A whole module that was pickled.
    let dict = |items: &[(&str, &[u8])]| dict_pickle(items);
    let module = |parameters: &[u8], modules: &[u8]| {
        let state = dict(&[("_parameters", parameters), ("_modules", modules)]);
        [b"cmy.models\nNet\n)\x81", &state[..], b"b"].concat()
    };
    let conv = module(&dict(&[("w", &t), ("bias", b"N")]), b"}");
    case(&module(b"}", &dict(&[("conv", &conv)])), "", &["conv.w"]);
    case(
        &dict(&[("model", &module(b"}", &dict(&[("conv", &conv)])))]),
        "model",
        &["conv.w"],
    );
}

#[test]
fn what_scripts_save_as_a_tuple_a_module_dict_and_torchscript() {
    let t = tensor_pickle(1, 0, &[1], &[1]);
    let dict = |items: &[(&str, &[u8])]| dict_pickle(items);
    let file = |pickle: &[u8]| {
        let pickle = [b"\x80\x02", pickle, b"."].concat();
        zip_of(
            &[("a/data.pkl", &pickle), ("a/data/0", &[0; 4])],
            Packing::Stored,
        )
    };
    let found = |bytes: &[u8], section: Option<&str>| {
        let c = Checkpoint::read_section(bytes.to_vec(), section).unwrap();
        let keys: Vec<_> = c.keys().map(str::to_owned).collect();
        (c.state().section.clone(), keys.join(" "))
    };
    let pair = |section: &str, keys: &str| (section.to_owned(), keys.to_owned());
    // torch.save((epoch, model.state_dict(), {'model': ...}), ...)
    let inner = dict(&[("w", &t), ("b", &t)]);
    let tuple = [b"(K\x05", &inner[..], &dict(&[("model", &inner)]), b"t"].concat();
    assert_eq!(found(&file(&tuple), None), pair("1", "w b"));
    assert_eq!(
        found(&file(&tuple), Some("2.model")),
        pair("2.model", "w b")
    );
    assert!(Checkpoint::read_section(file(&tuple), Some("3")).is_err());
    // A whole `nn.ModuleDict` or `nn.ParameterDict`, which are no dicts.
    let module = |class: &str, parameters: &[u8], modules: &[u8]| {
        let state = dict(&[("_parameters", parameters), ("_modules", modules)]);
        [
            b"ctorch.nn\n",
            class.as_bytes(),
            b"\n)\x81",
            &state[..],
            b"b",
        ]
        .concat()
    };
    let parameters = module("ParameterDict", &inner, b"}");
    assert_eq!(found(&file(&parameters), None), pair("", "w b"));
    let modules = module("ModuleDict", b"}", &dict(&[("neck", &parameters)]));
    assert_eq!(found(&file(&modules), None), pair("", "neck.w neck.b"));
    // TorchScript: tensors and modules are plain attributes.
    let script = |class: &str, state: &[u8]| {
        [
            b"c__torch__.",
            class.as_bytes(),
            b"\nConv\n)\x81",
            state,
            b"b",
        ]
        .concat()
    };
    let conv = script("torch.nn", &dict(&[("w", &t), ("training", b"\x88")]));
    let net = script(
        "mine",
        &dict(&[("conv", &conv), ("buffer", &t), ("n", b"K\x01")]),
    );
    assert_eq!(found(&file(&net), None), pair("", "buffer conv.w"));
    // Frozen, its tensors are constants of its code.
    let script_archive = |root: &[u8]| {
        let pickle = [b"\x80\x02", root, b"."].concat();
        let entries: [(&str, &[u8]); 3] = [
            ("a/data.pkl", &pickle),
            ("a/data/0", &[0; 4]),
            ("a/constants.pkl", b"\x80\x02)."),
        ];
        zip_of(&entries, Packing::Stored)
    };
    let facts = read(&script_archive(&net)).meta().facts.clone();
    assert_eq!(facts, [("saved as".to_owned(), "TorchScript".to_owned())]);
    let frozen = message(&script_archive(&script("mine", &dict(&[("n", b"K\x01")]))));
    assert!(
        frozen.contains("TorchScript") && frozen.contains("state_dict()"),
        "{frozen}"
    );
    let old = message(&zip_of(&[("a/code/a.py", b"x")], Packing::Stored));
    assert!(old.contains("TorchScript"), "{old}");
}

#[test]
fn a_section_of_a_file_without_sections_is_an_error() {
    for (file, format) in [
        (two_tensors(), "safetensors"),
        (burnpack_of_two(), "burnpack"),
    ] {
        let error = Checkpoint::read_section(file.clone(), Some("model")).unwrap_err();
        let expected = format!(
            "cannot read section `model` of a file of {format}, which has no sections; leave the section out, and choose keys by their prefix"
        );
        assert_eq!(error.to_string(), expected);
        assert!(Checkpoint::read_section(file, Some("")).is_ok());
    }
}

#[test]
fn epochs_are_told_as_the_file_has_them() {
    let t = tensor_pickle(1, 0, &[1], &[1]);
    let inner = dict_pickle(&[("w", &t)]);
    let case = |epoch: &[u8]| {
        let pickle = [
            b"\x80\x02",
            &dict_pickle(&[("epoch", epoch), ("model", &inner)])[..],
            b".",
        ]
        .concat();
        let entries: [(&str, &[u8]); 2] = [("a/data.pkl", &pickle), ("a/data/0", &[0; 4])];
        let meta = read(&zip_of(&entries, Packing::Stored)).meta().clone();
        (
            meta.epoch,
            meta.others.first().map(|(_, value)| value.clone()),
        )
    };
    assert_eq!(case(b"J\xff\xff\xff\xff"), (Some(-1), None));
    assert_eq!(case(b"F12.0\n"), (Some(12), None));
    assert_eq!(case(b"F2.5\n"), (None, Some("2.5".to_owned())));
    assert_eq!(case(b"Fnan\n"), (None, Some("NaN".to_owned())));
    let big = i64::MAX - 1;
    assert_eq!(case(format!("I{big}\n").as_bytes()), (Some(big), None));
}

#[test]
fn safetensors() {
    let c = read(&two_tensors());
    assert_eq!(c.keys().collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(c.get("a").unwrap().shape(), [2, 1]);
    assert_eq!(c.f32("a").unwrap(), [4.0, 5.0]);
    assert_eq!(c.meta().facts, [("format".to_owned(), "pt".to_owned())]);

    let header = |body: &str| format!(r#"{{"a":{{{body}}}}}"#);
    for (body, data, why) in [
        (
            r#""dtype":"F32","shape":[1],"data_offsets":[0,4]"#,
            3,
            "reaches beyond the end",
        ),
        (
            r#""dtype":"F32","shape":[1],"data_offsets":[0,4]"#,
            5,
            "1 bytes after the last",
        ),
        (
            r#""dtype":"F32","shape":[1],"data_offsets":[1,5]"#,
            5,
            "it should start at 0",
        ),
        (
            r#""dtype":"F32","shape":[1],"data_offsets":[0,8]"#,
            8,
            "has 8 bytes for shape [1]",
        ),
        (
            r#""dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]"#,
            8,
            "reaches beyond",
        ),
        (
            r#""dtype":"F32","shape":[-1],"data_offsets":[0,4]"#,
            4,
            "in the header",
        ),
        (r#""dtype":"F32""#, 4, "in the header"),
    ] {
        let message = message(&safetensors_of(&header(body), data));
        assert!(message.starts_with("damaged safetensors file"), "{message}");
        assert!(message.contains(why), "{message}");
    }
    let mut long = u64::MAX.to_le_bytes().to_vec();
    long.extend(b"{}");
    assert!(message(&long).starts_with("refused: a safetensors header of"));
    let deep = safetensors_of(&format!("{{\"a\":{}", "[".repeat(100_000)), 0);
    assert!(message(&deep).starts_with("damaged safetensors file"));
    let odd = header(r#""dtype":"F4","shape":[2],"data_offsets":[0,1]"#);
    let c = read(&safetensors_of(&odd, 1));
    assert_eq!(
        c.unreadable().collect::<Vec<_>>(),
        [("a", "element type F4")]
    );
}

#[test]
fn burnpack() {
    let c = read(&burnpack_of_two());
    assert_eq!(c.format(), Format::Burnpack);
    assert_eq!(c.f32("conv.weight").unwrap(), [0., 1., 2., 3., 4., 5.]);
    assert_eq!(c.f32("mask").unwrap(), [1.0, 0.0]);
    assert_eq!(c.get("conv.weight").unwrap().shape(), [2, 3]);
    assert_eq!(c.meta().facts, [("producer".to_owned(), "test".to_owned())]);
}

#[test]
fn what_is_no_checkpoint_says_what_it_is() {
    for (bytes, expected) in [
        (&b""[..], "the file is empty"),
        (b"\n<!DOCTYPE html><html>", "it is a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "Git LFS pointer",
        ),
        (b"model = dict(type='RetinaNet')", "it is a text file"),
        (b"\x1f\x8b\x08\x00", "gzip data"),
        (b"\x00\x01\x02\x03", "it begins with the bytes 00 01 02 03"),
    ] {
        let message = message(bytes);
        assert!(message.starts_with("not a checkpoint: "), "{message}");
        assert!(message.contains(expected), "{message}");
    }
    let message = message(&zip_of(&[("a.npy", b"x")], Packing::Stored));
    assert!(message.contains("it has no data.pkl"), "{message}");
}

/// The tricks of the picklescan corpus, in files of our own.
#[test]
fn hostile_pickles_execute_nothing() {
    let tensor = tensor_pickle(1, 0, &[1], &[1]);
    for evil in [
        &b"cos\nsystem\n(S'touch /tmp/pwned'\ntR"[..],
        b"(S'touch /tmp/pwned'\nios\nsystem\n",
        b"\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R",
        b"cbuiltins\nexec\n(X\x01\x00\x00\x00xtR",
        b"c__builtin__\ngetattr\n(cos\npopen\nS'read'\ntR(tR",
        // An object whose state would call something.
        b"cpip\nmain\n)\x81}X\x01\x00\x00\x00aNsb",
        // A memo entry that is replaced, and a name made of parts.
        b"\x8c\x02osq\x05cbuiltins\nstr\n\x8c\x06systemh\x05\x8c\x06system\x930",
        b"\x82\x01",
    ] {
        // Alone: a typed error. Beside a tensor: the tensor.
        let alone = [b"\x80\x04", evil, b"."].concat();
        assert!(Checkpoint::read(alone).is_err());
        let beside = dict_pickle(&[("evil", evil), ("w", &tensor)]);
        let pickle = [b"\x80\x04", &beside[..], b"."].concat();
        let file = zip_of(
            &[("a/data.pkl", &pickle), ("a/data/0", &[0; 4])],
            Packing::Stored,
        );
        if let Ok(c) = Checkpoint::read(file) {
            assert_eq!(c.keys().collect::<Vec<_>>(), ["w"]);
        }
    }
}

#[test]
fn zip_bombs_and_false_sizes_are_refused() {
    // 110 MB of zeros in 110 kB.
    let zeros = vec![0u8; 110 << 20];
    let bomb = zip_of(&[("a/data.pkl", &zeros)], Packing::Deflated);
    assert!(
        message(&bomb).starts_with("refused: a zip archive that inflates to"),
        "{}",
        message(&bomb)
    );
    drop(zeros);

    let tensor = tensor_pickle(2, 0, &[2], &[1]);
    let file = torch_zip(&[("w", &tensor)], &floats(&[1., 2.]), Packing::Deflated);
    // Another size in the directory than in the data: the last entry's unpacked size.
    let record = file.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    for size in [7u32, 9, 50_000, u32::MAX - 1] {
        let mut lie = file.clone();
        lie[record + 24..record + 28].copy_from_slice(&size.to_le_bytes());
        match Checkpoint::read(lie) {
            Ok(c) => assert!(c.f32("w").is_err(), "{size}"),
            Err(error) => assert!(error.to_string().starts_with("refused"), "{error}"),
        }
    }
    // A wrong checksum.
    let mut lie = file.clone();
    lie[record + 16] ^= 1;
    let error = read(&lie).f32("w").unwrap_err().to_string();
    assert!(error.contains("the entry's checksum is wrong"), "{error}");
    // Encrypted.
    let mut lie = file;
    lie[record + 8] |= 1;
    let c = read(&lie);
    assert!(c.unreadable().next().unwrap().1.contains("encrypted"));
}

#[test]
fn a_name_that_comes_twice_and_a_wrong_count() {
    let tensor = tensor_pickle(1, 0, &[1], &[1]);
    let pickle = [b"\x80\x02", &dict_pickle(&[("w", &tensor)])[..], b"."].concat();
    let one = floats(&[1.0]);
    let entries: [(&str, &[u8]); 4] = [
        ("a/data.pkl", b"no pickle"),
        ("a/data/0", &[0; 4]),
        ("a/data.pkl", &pickle),
        ("a/data/0", &one),
    ];
    // the later one counts, as for Python's zipfile
    let mut file = zip_of(&entries, Packing::Stored);
    assert_eq!(read(&file).f32("w").unwrap(), [1.0]);
    let count = file.len() - 22 + 10;
    file[count] = 5;
    assert!(message(&file).contains("fewer entries than the end record says"));
}

/// Reads a file and every tensor of it; whatever happens, it must end and not panic.
fn exercise(bytes: Vec<u8>) -> bool {
    let Ok(checkpoint) = Checkpoint::read(bytes) else {
        return false;
    };
    for key in checkpoint.keys() {
        let _ = checkpoint.f32(key);
    }
    true
}

fn small_files() -> Vec<Vec<u8>> {
    let tensor = tensor_pickle(2, 0, &[2], &[1]);
    let deflated = torch_zip(&[("w", &tensor)], &floats(&[1., 2.]), Packing::Deflated);
    let mut files: Vec<_> = DETECTRON2.iter().map(|bytes| bytes.to_vec()).collect();
    files.extend([
        ZIP.to_vec(),
        LEGACY.to_vec(),
        deflated,
        two_tensors(),
        burnpack_of_two(),
    ]);
    files
}

#[test]
fn files_cut_anywhere_give_errors() {
    for file in small_files() {
        assert!(exercise(file.clone()));
        for end in 0..file.len() {
            assert!(
                !exercise(file[..end].to_vec()),
                "cut at {end} of {}",
                file.len()
            );
        }
    }
}

#[test]
fn changed_bytes_never_panic() {
    // A small generator (xorshift), so that the run is the same everywhere.
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for file in small_files() {
        for at in 0..file.len() {
            for value in [
                0x00,
                0xff,
                file[at] ^ 0x80,
                file[at].wrapping_add(1),
                random() as u8,
            ] {
                let mut changed = file.clone();
                changed[at] = value;
                exercise(changed);
            }
        }
        for _ in 0..2000 {
            let mut changed = file.clone();
            for _ in 0..1 + random() % 8 {
                let at = random() as usize % changed.len();
                changed[at] = random() as u8;
            }
            exercise(changed);
        }
    }
}

/// A checkpoint with these keys, each a tensor of the shape [n].
fn with_keys(keys: &[(&str, u8)]) -> Checkpoint {
    let values: Vec<_> = keys
        .iter()
        .map(|(_, n)| tensor_pickle(9, 0, &[*n], &[1]))
        .collect();
    let items: Vec<_> = keys
        .iter()
        .zip(&values)
        .map(|((key, _), value)| (*key, &value[..]))
        .collect();
    read(&torch_zip(&items, &[0; 36], Packing::Stored))
}

fn wanted(keys: &[(&str, usize)]) -> Vec<Wanted> {
    let one = |&(key, n): &(&str, usize)| Wanted {
        key: key.to_owned(),
        shape: vec![n],
        once: None,
        square: None,
    };
    keys.iter().map(one).collect()
}

#[test]
fn positions_of_another_picture_are_resized() {
    let wanted = |extra| Wanted {
        key: "pos_embed".into(),
        shape: vec![1, 7, 4],
        once: None,
        square: extra,
    };
    assert!(wanted(Some(1)).takes(&[1, 5, 4]), "a token and four places");
    assert!(wanted(Some(0)).takes(&[1, 8, 4]), "a token too many");
    assert!(!wanted(Some(1)).takes(&[1, 4, 4]));
    assert!(!wanted(Some(1)).takes(&[1, 5, 3]));
    assert!(!wanted(None).takes(&[1, 5, 4]));
}

#[test]
fn an_older_name_counts() {
    let c = with_keys(&[("rpn_head.w", 2), ("old.b", 3)]);
    let mut model = wanted(&[("bbox_head.w", 2), ("bbox_head.b", 3)]);
    model[0].once = Some("rpn_head.w".into());
    let found = report(&model, &c, None);
    let matched = [("bbox_head.w".to_owned(), "rpn_head.w".to_owned())];
    assert_eq!(found.matched, matched);
    assert_eq!(
        (found.missing, found.unexpected),
        (vec!["bbox_head.b".into()], vec!["old.b".into()])
    );
}

#[test]
fn the_report_counts_and_names() {
    let c = with_keys(&[
        ("module.a.w", 2),
        ("module.a.b", 3),
        ("module.bn.running_mean", 1),
        ("module.bn.num_batches_tracked", 1),
        ("module.old", 1),
    ]);
    let model = wanted(&[
        ("a.w", 2),
        ("a.b", 4),
        ("bn.running_mean", 1),
        ("new", 1),
        ("n.num_batches_tracked", 1),
    ]);
    let report = report(&model, &c, None);
    assert!(!report.is_complete());
    assert_eq!(
        report.to_string(),
        "matched 2, missing 1, unexpected 1, wrong shape 1
missing (in the model, not in the file; they keep their initial values):
  new
wrong shape (not loaded):
  a.b: file [3], model [4]
unexpected (in the file, not in the model; not used):
  old"
    );
}

#[test]
fn the_report_finds_the_prefix() {
    let file = [("backbone.a.w", 2), ("backbone.b.w", 3), ("head.fc", 1)];
    let c = with_keys(&file);
    let model = wanted(&[("a.w", 2), ("b.w", 3), ("c", 1)]);
    let without = report(&model, &c, None);
    assert_eq!(without.prefix_hint.as_deref(), Some("backbone."));
    assert!(
        without
            .to_string()
            .ends_with("\nhelp: 2 of 3 keys match if `prefix='backbone.'` is given")
    );
    for prefix in ["backbone", "backbone."] {
        let with = report(&model, &c, Some(prefix));
        assert_eq!(with.matched.len(), 2);
        assert_eq!(
            with.matched[0],
            ("a.w".to_owned(), "backbone.a.w".to_owned())
        );
        assert_eq!(
            (with.missing, with.unexpected.len()),
            (vec!["c".to_owned()], 0)
        );
        assert_eq!(with.prefix_hint, None);
    }
    // The prefix of a file that was saved from DataParallel may be given as it is in the file.
    let parallel = file.map(|(key, n)| (format!("module.{key}"), n));
    let parallel: Vec<_> = parallel.iter().map(|(key, n)| (key.as_str(), *n)).collect();
    let c = with_keys(&parallel);
    assert_eq!(
        report(&model, &c, Some("module.backbone.")).matched.len(),
        2
    );
    assert_eq!(report(&model, &c, Some("backbone.")).matched.len(), 2);

    // Given where none is needed.
    let bare = with_keys(&[("a.w", 2), ("b.w", 3)]);
    let wrong = report(&model, &bare, Some("backbone."));
    assert!(
        wrong
            .to_string()
            .ends_with("\nhelp: 2 of 3 keys match if `prefix` is left out")
    );
    // A file that is for a part of the model.
    let detector = wanted(&[("backbone.a.w", 2), ("backbone.b.w", 3), ("neck", 1)]);
    let part = report(&detector, &bare, None);
    assert_eq!(part.part_hint.as_deref(), Some("backbone."));
    assert!(
        part.to_string()
            .contains("2 of the file's 2 keys fit the model's `backbone.` alone")
    );
    // Nothing fits: no advice.
    let other = report(&wanted(&[("x", 7), ("y", 8)]), &bare, None);
    assert_eq!((other.prefix_hint, other.part_hint), (None, None));
}

#[test]
fn names_of_wrappers_are_taken_out_of_keys() {
    let c = with_keys(&[
        ("_orig_mod.a.w", 1),
        ("module._orig_mod.b.w", 1),
        ("backbone._orig_mod.layer.w", 1),
        (
            "backbone._fsdp_wrapped_module.stage._checkpoint_wrapped_module.w",
            1,
        ),
        ("neck.module.w", 1),
        ("head._orig_mod_of_mine.w", 1),
    ]);
    let keys: Vec<_> = c.keys().collect();
    let right = [
        "a.w",
        "b.w",
        "backbone.layer.w",
        "backbone.stage.w",
        "neck.module.w",
        "head._orig_mod_of_mine.w",
    ];
    assert_eq!(keys, right);
    assert_eq!(c.state().unwrapped, 4);
    // A prefix may be given as it is in the file.
    assert_eq!(c.prefix(Some("backbone._orig_mod")), "backbone.");
}

#[test]
fn the_report_names_parts_that_are_mostly_missing_and_prefers_the_teacher() {
    let keys = ["backbone.a", "backbone.b", "backbone.c", "head.a", "head.b"];
    let model = wanted(&keys.map(|key| (key, 2)));
    let some = with_keys(&[("backbone.a", 2), ("head.a", 2)]);
    let found = report(&model, &some, None);
    assert_eq!(found.lacking(), [("backbone", 2, 3)]);

    let both = ["student", "teacher"]
        .into_iter()
        .flat_map(|who| keys.map(|key| format!("{who}.{key}")));
    let both: Vec<_> = both.collect();
    let both: Vec<_> = both.iter().map(|key| (key.as_str(), 2)).collect();
    let found = report(&model, &with_keys(&both), None);
    assert_eq!(found.lacking(), [("backbone", 3, 3), ("head", 2, 2)]);
    assert_eq!(found.prefix_hint.as_deref(), Some("teacher."));
    let found = report(&model, &with_keys(&both), Some("student"));
    assert!(found.is_complete() && found.lacking().is_empty());
}

/// The archive with a byte of its storage changed.
fn with_a_flipped_bit(file: &[u8], storage: &[u8]) -> Vec<u8> {
    let at = file.windows(storage.len()).position(|w| w == storage);
    let mut changed = file.to_vec();
    changed[at.unwrap() + 5] ^= 1;
    changed
}

#[test]
fn a_checksum_that_is_wrong_makes_a_tensor_unreadable() {
    let storage = floats(&[1.5, 2.5, 3.5]);
    let items: [(&str, &[u8]); 1] = [("w", &tensor_pickle(3, 0, &[3], &[1]))];
    let file = torch_zip(&items, &storage, Packing::Stored);
    let good = Checkpoint::read(file.clone()).unwrap();
    assert_eq!(good.get("w").unwrap().f32().unwrap(), [1.5, 2.5, 3.5]);

    let bad = Checkpoint::read(with_a_flipped_bit(&file, &storage)).unwrap();
    let error = bad.get("w").unwrap().f32().unwrap_err().to_string();
    assert!(error.contains("checksum is wrong"), "{error}");
    let model = wanted(&[("w", 3)]);
    let found = report(&model, &bad, None).after_reading(&bad);
    assert!(found.matched.is_empty() && !found.is_complete());
    assert!(found.unreadable[0].1.contains("checksum"), "{found}");
    let good_one = report(&model, &good, None).after_reading(&good);
    assert!(good_one.is_complete());

    // A damaged pickle is no checkpoint, though it may still parse.
    let pickle = [b"\x80\x02", &dict_pickle(&items)[..], b"."].concat();
    let entries: [(&str, &[u8]); 3] = [
        ("any/data.pkl", &pickle),
        ("any/version", b"3\n"),
        ("any/data/0", &storage),
    ];
    let mut file = zip_of(&entries, Packing::Stored);
    assert!(Checkpoint::read(file.clone()).is_ok());
    let at = file.windows(4).position(|w| w == b"cpuK").unwrap();
    file[at] ^= 0x20;
    assert!(message(&file).contains("checksum is wrong"));
}

#[test]
fn an_archive_without_checksums_is_read() {
    let storage = floats(&[1.5, 2.5, 3.5]);
    let items: [(&str, &[u8]); 1] = [("w", &tensor_pickle(3, 0, &[3], &[1]))];
    let mut file = torch_zip(&items, &storage, Packing::Stored);
    let records: Vec<_> = file
        .windows(4)
        .enumerate()
        .filter(|(_, w)| *w == b"PK\x01\x02")
        .map(|(at, _)| at)
        .collect();
    for at in records {
        file[at + 16..at + 20].fill(0);
    }
    let read = Checkpoint::read(file).unwrap();
    assert_eq!(read.get("w").unwrap().f32().unwrap(), [1.5, 2.5, 3.5]);
}

#[test]
fn a_tensor_that_is_another_s_negative_or_conjugate_is_unreadable() {
    let plain = tensor_pickle(3, 0, &[3], &[1]);
    let noted = |name: &str, value: u8| {
        let mut pickle = plain[..plain.len() - 2].to_vec();
        pickle.extend([b'}', 0x8c, name.len() as u8]);
        pickle.extend(name.as_bytes());
        pickle.extend([value, b's', b't', b'R']);
        pickle
    };
    let (neg, conj, no) = (noted("neg", 0x88), noted("conj", 0x88), noted("neg", 0x89));
    let items: [(&str, &[u8]); 4] = [("a", &plain), ("b", &neg), ("c", &conj), ("d", &no)];
    let file = torch_zip(&items, &floats(&[1.0, 2.0, 3.0]), Packing::Stored);
    let read = Checkpoint::read(file).unwrap();
    let faults: Vec<_> = read.unreadable().collect();
    let neg = "its negative bit is set: save `x.resolve_neg()`";
    let conj = "its conjugate bit is set: save `x.resolve_conj()`";
    assert_eq!(faults, [("b", neg), ("c", conj)]);
    assert_eq!(read.fault("b"), Some(neg));
    assert_eq!(read.fault("nowhere"), None);
    assert_eq!(read.get("d").unwrap().f32().unwrap(), [1.0, 2.0, 3.0]);
}
