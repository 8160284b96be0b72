#!/usr/bin/env bash
# Builds the npm package into web/dist-package, and the pages into web/dist, to be served with any web server from any folder: the small one,
# which uses the package, and the window (app.html).
set -euo pipefail
cd "$(dirname "$0")/.."
unset RUSTC_WORKSPACE_WRAPPER # .ci/test has Clippy stand in for the compiler
VERSION=0.2.130 # of wasm-bindgen, as in web/Cargo.toml
TOOLS=${SMALTI_CI_CACHE:-$HOME/.cache/smalti}/tools
BINDGEN=$TOOLS/bin/wasm-bindgen
if ! "$BINDGEN" --version 2>/dev/null | grep -q "$VERSION"; then
  # It runs for seconds: quick to build beats quick to run.
  CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install -q wasm-bindgen-cli --version "$VERSION" --root "$TOOLS"
fi
TARGET=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
VERSION_OURS=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
PACKAGE=web/dist-package
rm -rf $PACKAGE web/dist
mkdir -p $PACKAGE web/dist
bindgen() {
  "$BINDGEN" "$TARGET/wasm32-unknown-unknown/web/$1.wasm" --target web --no-typescript --out-dir "$2" \
    --remove-name-section --remove-producers-section
}
# One set of flags for all, and one of features below burn (core/Cargo.toml), so that they share what is built.
export RUSTFLAGS='-C target-feature=+simd128'
# Three at once, as the last step of each takes one thread alone: the config checker, a module of its own without the engine; the engine for the
# CPU; and the window, which paints by WebGL and detects on the CPU, or by the package on WebGPU.
cargo build -p smalti-web-config -p smalti-web -p smalti-web-app --no-default-features --target wasm32-unknown-unknown --profile web
bindgen smalti_web_config $PACKAGE/check
bindgen smalti_web $PACKAGE/cpu
bindgen smalti_web_app web/dist/app
# The engine twice more: to train on the CPU, and with WebGPU.
cargo build -p smalti-web --no-default-features --features train --target wasm32-unknown-unknown --profile web
bindgen smalti_web $PACKAGE/train
cargo build -p smalti-web --target wasm32-unknown-unknown --profile web
bindgen smalti_web $PACKAGE/gpu
# Its module is made a function, which gives an instance of its own at each call: one whose device is lost is given up.
GLUE=$PACKAGE/gpu/smalti_web.js
NAMES=$(sed -En 's/^export (class|function) (\w+).*/\2/p' $GLUE | paste -sd,)
sed -Ei 's/^export (class|function) /\1 /; s/^export \{ initSync, __wbg_init as default \};/return { default: __wbg_init, compiled: () => wasmModule, '"$NAMES"' };\n}/; 1i export function instance() {' $GLUE
grep -q '^return { default' $GLUE # as this wasm-bindgen writes it
cp web/package/* LICENSE-* $PACKAGE/
sed -i "s/\"version\": \"[^\"]*\"/\"version\": \"$VERSION_OURS\"/" $PACKAGE/package.json

cp -r web/page/* web/dist/
cp -r $PACKAGE web/dist/smalti
cp configs/demo/retinanet_mobilenetv3-small_fpn_digits.py web/dist/digits.py
cp configs/demo/digits.safetensors configs/demo/digits.jpg web/dist/
for wasm in $PACKAGE/*/*.wasm web/dist/app/*.wasm; do
  printf '%s: %d bytes, %d with gzip\n' "${wasm#$PACKAGE/}" "$(wc -c <"$wasm")" "$(gzip -9c "$wasm" | wc -c)"
done
