#!/usr/bin/env bash
# Builds the page into web/dist, to be served with any web server, and the config checker into web/dist-config.
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
# The config checker is a module of its own, without the engine.
cargo build -p smalti-web-config --target wasm32-unknown-unknown --profile web
rm -rf web/dist-config
"$BINDGEN" "$TARGET/wasm32-unknown-unknown/web/smalti_web_config.wasm" --target web --out-dir web/dist-config \
  --remove-name-section --remove-producers-section
RUSTFLAGS='-C target-feature=+simd128' cargo build -p smalti-web --target wasm32-unknown-unknown --profile web
rm -rf web/dist
mkdir -p web/dist
"$BINDGEN" "$TARGET/wasm32-unknown-unknown/web/smalti_web.wasm" --target web --no-typescript --out-dir web/dist \
  --remove-name-section --remove-producers-section
cp web/page/* web/dist/
cp configs/demo/retinanet_mobilenetv3-small_fpn_digits.py web/dist/digits.py
cp configs/demo/digits.safetensors configs/demo/digits.jpg web/dist/
ls -l web/dist/*.wasm
