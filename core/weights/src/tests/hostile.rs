//! Small files that would take long, or much memory: measured by steps, counts and typed errors, not by the clock.

use super::*;
use crate::pickle::parse;

/// What is found in a plain pickle, and the steps that it took.
fn steps(pickle: &[u8]) -> (Result<Parts, CheckpointError>, u64) {
    let budget = Budget::new();
    let read = parse(pickle, 0, &budget).and_then(|pickle| {
        let mut storages = Storages::new(Vec::<u8>::new());
        let mut graph = Graph::new(&pickle, None, Outside::Nowhere, false);
        read_graph(&mut graph, None, &mut storages)
    });
    (read, budget.spent())
}

fn is_too_large<T>(read: Result<T, CheckpointError>) -> bool {
    matches!(read, Err(CheckpointError::TooLarge { .. }))
}

/// Opcodes for a text of any length.
fn text(text: &[u8]) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text].concat()
}

/// Opcodes that keep the value on top of the stack as memo entry `n`, and take it off.
fn kept(value: &[u8], n: u8) -> Vec<u8> {
    [value, &[b'q', n, b'0']].concat()
}

#[test]
fn a_long_key_that_a_dict_has_a_hundred_thousand_times_is_not_decoded_each_time() {
    let (utf8, latin1) = (text(&[b'a'; 4096]), "é".repeat(2047).into_bytes());
    let latin1 = [b"T\x00\x10\x00\x00", &latin1[..], b"a\xff"].concat();
    for key in [utf8, latin1] {
        let pairs = 100_000;
        let pickle = [&kept(&key, 0)[..], b"}(", &b"h\x00N".repeat(pairs), b"u."].concat();
        let (read, spent) = steps(&pickle);
        assert!(matches!(read, Err(CheckpointError::NoTensors { .. })));
        // Each of 4096 bytes would be 400 million at every look-up.
        assert!(spent < 2000 * pairs as u64, "{spent}");
    }
}

/// A dict with `count` keys, each with the value that these opcodes make.
fn many(count: usize, value: &[u8]) -> Vec<u8> {
    let pairs = (0..count).map(|i| [&text(i.to_string().as_bytes())[..], value].concat());
    [b"}(", &pairs.collect::<Vec<_>>().concat()[..], b"u"].concat()
}

#[test]
fn an_honest_checkpoint_takes_a_small_part_of_the_steps() {
    let tensors = 10_000;
    let names = (0..tensors).map(|i| {
        let name = format!("backbone.layers.{i}.attention.output.dense.weight");
        [
            text(name.as_bytes()),
            tensor_pickle(1, 0, &[64, 3, 7, 7], &[147, 49, 7, 1]),
        ]
        .concat()
    });
    let state = [b"}(", &names.collect::<Vec<_>>().concat()[..], b"u"].concat();
    let (read, spent) = steps(&[&dict_pickle(&[("state_dict", &state)])[..], b"."].concat());
    assert_eq!(read.unwrap().0.len(), tensors);
    assert!(spent < tensors as u64 * 3000, "{spent}");
}

#[test]
fn values_that_refer_to_one_large_value_again_and_again_are_paid_for() {
    let count = 30_000;
    let dict = kept(&many(count, b"N"), 0);
    let list = [b"](", &b"NN\x86".repeat(count)[..], b"e"].concat();
    let list = kept(&list, 0);
    let class = |name: &str| kept(format!("cmy\n{name}\n").as_bytes(), 1);
    let states = kept(&[b"(", &b"h\x00".repeat(count)[..], b"t"].concat(), 2);
    for (name, pickle) in [
        // Each value wraps the same dict of 30,000 pairs ...
        (
            "dict",
            [dict.clone(), class("Dict"), many(count, b"h\x01h\x00\x85R")].concat(),
        ),
        // ... or list of pairs ...
        (
            "list",
            [list, class("OrderedDict"), many(count, b"h\x01h\x00\x85R")].concat(),
        ),
        // ... or is a module whose attributes are in it.
        (
            "module",
            [
                dict.clone(),
                class("Net"),
                many(count, b"h\x01)\x81h\x00h\x00\x86b"),
            ]
            .concat(),
        ),
    ] {
        let (read, spent) = steps(&[&pickle[..], b"."].concat());
        assert!(is_too_large(read), "{name}");
        assert_eq!(spent, pickle::MAX_STEPS, "{name}");
    }
    // A state that is no pair is none of `__slots__`: its 30,000 dicts are not looked through.
    let states = [
        dict,
        class("Net"),
        states,
        many(1, b"h\x01)\x81h\x02b"),
        b".".to_vec(),
    ];
    let (_, spent) = steps(&states.concat());
    assert!(spent < 50_000_000, "{spent}");
}

#[test]
fn dicts_that_hold_the_one_before_many_times_are_looked_into_once() {
    let mut pickle = kept(b"}", 0);
    for level in 1..200u8 {
        let pairs = [
            &text(b"state_dict")[..],
            &[b'h', level - 1],
            &text(b"model"),
            &[b'h', level - 1],
        ];
        pickle.extend(kept(&[b"}(", &pairs.concat()[..], b"u"].concat(), level));
    }
    pickle.extend(b"h\xc7.");
    let (read, spent) = steps(&pickle);
    assert!(matches!(read, Err(CheckpointError::NoTensors { .. })));
    assert!(spent < 1_000_000, "{spent}");
}

#[test]
fn opcodes_and_items_are_paid_for() {
    // A tenth of the budget, to have the test quick.
    let refused = |pickle: &[u8]| {
        let budget = Budget::new();
        let _ = budget.spend((pickle::MAX_STEPS / 10 * 9) as usize);
        is_too_large(parse(pickle, 0, &budget))
    };
    let opcodes = |count| [&b"N0".repeat(count)[..], b"N."].concat();
    assert!(!refused(&opcodes(1_000_000)));
    assert!(refused(&opcodes(7_000_000)));
    let list = [&b"("[..], &b"N".repeat(500_000), b"l0"].concat();
    let items = |count| [&list.repeat(count)[..], b"N."].concat();
    assert!(!refused(&items(1)));
    assert!(refused(&items(4)));
    let line = [&b"V"[..], &[b'a'; 10_000_000], b"\n0"].concat();
    let lines = |count| [&line.repeat(count)[..], b"N."].concat();
    assert!(!refused(&lines(1)));
    assert!(refused(&lines(3)));
}

#[test]
fn a_tensor_whose_name_is_too_long_is_named_and_unreadable() {
    let tensor = tensor_pickle(1, 0, &[1], &[1]);
    for len in [state::MAX_KEY, state::MAX_KEY + 1, 100_000] {
        let name = ".".repeat(len);
        let header = format!(
            r#"{{"w":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}},"{name}":{{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}}}"#
        );
        let pickle = [
            b"}(",
            &text(b"w")[..],
            &tensor,
            &text(name.as_bytes()),
            &tensor,
            b"u.",
        ]
        .concat();
        let entries: [(&str, &[u8]); 2] = [("a/data.pkl", &pickle), ("a/data/0", &[0; 4])];
        for c in [
            read(&safetensors_of(&header, 2)),
            read(&zip_of(&entries, Packing::Stored)),
        ] {
            assert!(c.get("w").is_some());
            let unreadable: Vec<_> = c.unreadable().collect();
            if len == state::MAX_KEY {
                assert_eq!((c.state().len(), unreadable.len()), (2, 0));
                continue;
            }
            let shown = format!("{}...", &name[..200]);
            assert_eq!(unreadable, [(&*shown, "its name is longer than 512 bytes")]);
        }
    }
}

#[test]
fn more_tensors_than_any_model_has_are_refused() {
    let tensor = kept(&tensor_pickle(1, 0, &[1], &[1]), 0);
    for (count, refused) in [(state::MAX_TENSORS, false), (state::MAX_TENSORS + 1, true)] {
        let pickle = [&tensor[..], &many(count, b"h\x00"), b"."].concat();
        let entries: [(&str, &[u8]); 2] = [("a/data.pkl", &pickle), ("a/data/0", &[0; 4])];
        let read = Checkpoint::read(zip_of(&entries, Packing::Stored));
        assert_eq!(is_too_large(read), refused);
    }
}

/// A burnpack file with this header and no data.
fn burnpack_header(header: &[u8]) -> Vec<u8> {
    let len = (header.len() as u32).to_le_bytes();
    let mut file = [b"NRUB\x01\x00", &len[..], header].concat();
    file.resize(file.len().next_multiple_of(256), 0);
    file
}

#[test]
fn lists_in_headers_are_bounded_while_they_are_read() {
    let json = |items: &str| safetensors_of(&format!("{{{items}}}"), 0);
    let empty =
        |shape: &str| format!(r#"{{"dtype":"F32","shape":[{shape}],"data_offsets":[0,0]}}"#);
    // One tensor of a million sides.
    let sides = vec!["0"; 1_000_000].join(",");
    let c = read(&json(&format!(r#""w":{}"#, empty(&sides))));
    assert_eq!(c.fault("w"), Some("more than 32 dimensions"));
    // 100,000 facts.
    let facts: Vec<_> = (0..100_000).map(|i| format!(r#""{i}":"""#)).collect();
    let facts = format!(
        r#""__metadata__":{{{}}},"w":{}"#,
        facts.join(","),
        empty("0")
    );
    let c = read(&json(&facts));
    let last = ("...".to_owned(), "99000 more".to_owned());
    assert_eq!(
        (c.meta().facts.len(), c.meta().facts.last()),
        (1001, Some(&last))
    );
    // A name twice, and too many of them.
    let message = |items: &str| message(&json(items));
    let twice = message(&format!(r#""w":{0},"w":{0}"#, empty("0")));
    assert!(twice.contains("`w` comes twice"), "{twice}");
    let names = (0..=state::MAX_TENSORS).map(|i| format!(r#""{i}":{}"#, empty("0")));
    let many = Checkpoint::read(json(&names.collect::<Vec<_>>().join(",")));
    assert!(is_too_large(many));
    // What is wrong is quoted in part.
    let long = message(&format!(r#""w":"{}""#, "x".repeat(100_000)));
    assert!(long.len() < 600, "{long}");

    let empty = |shape: &[u8]| {
        [
            b"\xa3\x65dtype\x63F32\x65shape",
            shape,
            b"\x6cdata_offsets\x82\x00\x00",
        ]
        .concat()
    };
    let tensors =
        |items: &[u8]| burnpack_header(&[b"\xa1\x67tensors\xbf", items, b"\xff"].concat());
    let sides = [&b"\x9f"[..], &[0; 1_000_000], b"\xff"].concat();
    let c = read(&tensors(&[b"\x61w", &empty(&sides)[..]].concat()));
    assert_eq!(c.fault("w"), Some("more than 32 dimensions"));
    let named = |i: usize| [b"\x66", format!("{i:06}").as_bytes(), &empty(b"\x81\x00")].concat();
    let many: Vec<_> = (0..=state::MAX_TENSORS).map(named).collect();
    assert!(is_too_large(Checkpoint::read(tensors(&many.concat()))));
    let mut long = burnpack_header(b"\xa0");
    long[6..10].copy_from_slice(&(33u32 << 20).to_le_bytes());
    assert!(is_too_large(Checkpoint::read(long)));
}

/// The archive with the record of its last entry leading to the data of the one before.
fn with_shared_data(mut file: Vec<u8>) -> Vec<u8> {
    let records = file.windows(4).enumerate();
    let records = records
        .filter(|(_, w)| *w == b"PK\x01\x02")
        .map(|(at, _)| at);
    let [.., one, two] = records.collect::<Vec<_>>()[..] else {
        panic!("fewer than two entries")
    };
    // Checksum and sizes, and where the local header is.
    file.copy_within(one + 16..one + 28, two + 16);
    file.copy_within(one + 42..one + 46, two + 42);
    file
}

#[test]
fn entries_that_share_bytes_are_refused() {
    let storage = [1; 64];
    let entries: [(&str, &[u8]); 3] = [
        ("a/data.pkl", b"}."),
        ("a/data/0", &storage),
        ("a/data/1", &storage),
    ];
    for packing in [Packing::Stored, Packing::Deflated] {
        let file = zip_of(&entries, packing);
        assert!(zip::Archive::read(&file).is_ok());
        let error = zip::Archive::read(&with_shared_data(file)).unwrap_err();
        assert!(
            error.to_string().contains("two entries share bytes"),
            "{error}"
        );
    }
}

#[test]
fn compressed_storages_are_inflated_once_for_all_tensors_in_turn() {
    // 100 tensors that are each one element of the same two storages.
    let tensors: Vec<_> = (0..100)
        .map(|i| tensor_pickle(2, i % 2, &[1], &[1]))
        .collect();
    let names: Vec<_> = (0..100).map(|i| i.to_string()).collect();
    let items: Vec<_> = names
        .iter()
        .zip(&tensors)
        .map(|(n, t)| (n.as_str(), &t[..]))
        .collect();
    let c = read(&torch_zip(&items, &floats(&[1., 2.]), Packing::Deflated));
    assert_eq!(c.storages.inflated(), 0);
    for _ in 0..3 {
        for key in c.keys() {
            assert_eq!(c.f32(key).unwrap().len(), 1);
        }
    }
    assert_eq!(c.storages.inflated(), 8);
}

#[test]
fn facts_inflate_no_storage_of_a_model() {
    let fact = |count: u8| tensor_pickle(count, 0, &[], &[]);
    let case = |storage: &[u8], count: u8| {
        let meta = dict_pickle(&[("loss", &fact(count))]);
        let inner = dict_pickle(&[("w", &tensor_pickle(1, 0, &[1], &[1]))]);
        let items: [(&str, &[u8]); 2] = [("meta", &meta), ("state_dict", &inner)];
        let c = read(&torch_zip(&items, storage, Packing::Deflated));
        (c.meta().facts.len(), c.storages.inflated())
    };
    assert_eq!(case(&floats(&[0.5]), 1), (1, 4));
    assert_eq!(case(&[0; 8192], 1), (0, 0));
}

#[test]
fn an_archive_with_too_many_entries_is_refused() {
    let names: Vec<_> = (0..=150_000).map(|i| format!("{i:06}")).collect();
    // As the end record counts to 65,535 only, reading ends at the records themselves.
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let read = Checkpoint::read(zip_of(&entries, Packing::Stored));
    assert!(is_too_large(read));
}
