//! A crate outside the workspace brings a backbone, a hook and samples, and uses them from a config. Its source is compiled here against the public
//! interface, as `cargo run` in `tests/own_backbone` does with a build of its own.

#[path = "../own_backbone/src/lib.rs"]
mod theirs;

#[test]
fn a_crate_outside_the_workspace_brings_its_own_backbone() {
    assert_eq!(
        theirs::describe(),
        "backbone: shape [1, 8, 32, 32]\n\
         backbone: shape [1, 16, 16, 16]\n\
         backbone: shape [1, 32, 8, 8]\n\
         neck: shape [1, 8, 32, 32]\n\
         neck: shape [1, 8, 16, 16]\n\
         neck: shape [1, 8, 8, 8]\n\
         first key: backbone.convs.0.conv.weight\n"
    );
}

#[test]
fn a_crate_outside_the_workspace_brings_its_own_hook() {
    let folder = std::env::temp_dir().join(format!("smalti-own-hook-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let seen = theirs::watch(&folder);
    let _ = std::fs::remove_dir_all(&folder);
    let both = |line: &str| format!("first: {line}\nsecond: {line}\n");
    let losses = "[\"loss_cls\", \"loss_bbox\"]";
    let iter = |iter: u64| both(&format!("after_train_iter {iter}: {losses}"));
    let judged = || both("after_val_epoch [(\"mine/good\", 0.5)]");
    let expected = [
        both("before_train, 29 parameters"),
        both("before_train_epoch 0"),
        iter(0),
        iter(1),
        judged(),
        both("before_train_epoch 1"),
        iter(2),
        // by epochs, the one that was begun is ended
        iter(3),
        judged(),
        both("after_train"),
        "Early(\"it has seen enough\")\n".into(),
    ];
    assert_eq!(seen.unwrap_or_else(|e| panic!("{e}")), expected.concat());
}
