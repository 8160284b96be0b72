//! A crate outside the workspace registers a backbone and uses it from a config (`tests/own_backbone`).

use std::path::Path;
use std::process::Command;

#[test]
fn a_crate_outside_the_workspace_brings_its_own_backbone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let there = root.join("own_backbone");
    // The same versions as here, so that nothing is fetched and what is built already is used.
    std::fs::copy(root.join("../Cargo.lock"), there.join("Cargo.lock")).unwrap();
    let target = std::env::var("CARGO_TARGET_DIR").map(Into::into);
    let target = target.unwrap_or_else(|_| root.join("../target"));
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--manifest-path"])
        .arg(there.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", target.join("own_backbone"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        text,
        "8 channels, stride 2, shape [1, 8, 32, 32]\n\
         16 channels, stride 4, shape [1, 16, 16, 16]\n\
         32 channels, stride 8, shape [1, 32, 8, 8]\n\
         first key: backbone.convs.0.conv.weight\n"
    );
}
