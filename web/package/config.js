// Checks MMDetection's configs without the engine: a module of 0.3 MB with gzip.
import init, { check } from './check/smalti_web_config.js';

let ready;

/** What is wrong with a config's text: see config.d.ts. */
export async function checkConfig(text, files, { name, wasm } = {}) {
  ready ??= init(wasm === undefined ? undefined : { module_or_path: wasm }).catch((error) => { ready = undefined; throw error; });
  await ready;
  return check(text, files, name);
}
