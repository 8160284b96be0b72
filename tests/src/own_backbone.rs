//! A crate outside the workspace brings a backbone and uses it from a config. Its source is compiled here against the public
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
