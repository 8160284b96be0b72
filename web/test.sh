#!/usr/bin/env bash
# Builds the package and the page, runs both in headless Chromium on WebGPU (software) and on the CPU: the same detections as the native program.
# Then the package as npm packs it, in a fresh folder with a bundler.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v chromium >/dev/null || ! command -v npm >/dev/null; then
  echo "skipped: the page's test needs chromium and npm" >&2
  [ "${CI:-}" != true ]
  exit
fi
web/build.sh
node web/config/test.mjs
# The same build as the tests': see .ci/test.
cargo build -q --workspace --exclude 'smalti-web*' --all-targets
TARGET=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
"$TARGET/debug/smalti" demo --device cpu --out web/dist/native.png --json web/dist/native.json
"$TARGET/debug/smalti" convert format web/dist/digits.safetensors web/dist/digits.pth
(cd web && npm install --no-audit --no-fund --silent)
node web/test.mjs
node web/test_app.mjs
node web/test_package.mjs
