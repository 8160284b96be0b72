// Times the digit detector at 320x320 in Node, in WASM on the CPU, beside onnxruntime-web's WASM backend, one thread each:
//
//     web/build.sh
//     npm install --prefix DIR onnxruntime-web
//     core/benches/peer_onnx.py --config configs/demo/retinanet_mobilenetv3-small_fpn_digits.py --checkpoint configs/demo/digits.pth --export digits.onnx
//     node web/bench.mjs --onnx digits.onnx --onnxruntime DIR [--rounds 5] [--runs 10] [--dist web/dist]
//
// The JavaScript API has no forward pass alone, so ours is a whole `detect` of an uncompressed picture: preprocessing, network, boxes. Theirs is the
// network alone, up to logits and deltas, checked against PyTorch's. A round is --runs of each, one after the other; the ratio (ours / theirs, below 1 is
// faster) is taken within each round, and its median is printed, since such machines are noisy. Without --onnx only ours is timed.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { difference, middle } from './outputs.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({
  options: {
    dist: { type: 'string', default: path.join(here, 'dist') },
    onnx: { type: 'string' },
    onnxruntime: { type: 'string', default: here },
    rounds: { type: 'string', default: '5' },
    runs: { type: 'string', default: '10' },
  },
});
const [rounds, runs] = [Number(options.rounds), Number(options.runs)];

const ours = await smalti(options.dist);
const theirs = options.onnx && await onnxruntime(options.onnx, options.onnxruntime);
for (const run of [ours.run, theirs?.run]) if (run) await median(run, 2); // warm-up: the engine compiles what is run often
const seen = [];
for (let round = 0; round < rounds; round += 1) {
  const mine = await median(ours.run, runs);
  const other = theirs ? await median(theirs.run, runs) : NaN;
  seen.push({ mine, other, ratio: mine / other });
}
const column = (key) => middle(seen.map((row) => row[key]));
console.log(`digit detector 320x320, ${rounds} rounds of ${runs} runs, one thread, Node ${process.version}, ${os.cpus()[0].model}`);
console.log(`smalti, picture to boxes    ${column('mine').toFixed(1)} ms   (on ${ours.device})`);
if (theirs) {
  console.log(`onnxruntime-web, forward    ${column('other').toFixed(1)} ms   (${theirs.version}; PyTorch's outputs within ${theirs.difference.toExponential(1)} of the largest value)`);
  console.log(`ratio                       ${column('ratio').toFixed(2)}`);
}
process.exit(0);

/** Our module: a detector of digits, and a run of it on a picture in the simplest of file formats. */
async function smalti(dist) {
  const read = (name) => fs.readFileSync(path.join(dist, name));
  const { Detector } = await import(pathToFileURL(path.join(dist, 'smalti/smalti.js')));
  const detector = await Detector.load({
    config: read('digits.py').toString(), weights: read('digits.safetensors'), device: 'cpu', wasm: read('smalti/cpu/smalti_web_bg.wasm'),
  });
  const found = await detector.detect(read('digits.jpg'));
  assert.ok(found.length > 0, 'it finds the digits of the picture that comes with it');
  const header = Buffer.from('P6 320 320 255\n');
  const pixels = Buffer.from(Array.from({ length: 320 * 320 * 3 }, (_, i) => {
    const [x, y, c] = [Math.floor(i / 3) % 320, Math.floor(i / 960), i % 3];
    return 127 + 100 * Math.sin(((c + 1) * x) / 40 + y / 60);
  }));
  const picture = Buffer.concat([header, pixels]);
  return { device: detector.device, run: () => detector.detect(picture) };
}

/** Their module on the exported network, after a look at its outputs. */
async function onnxruntime(file, folder) {
  const require = createRequire(path.join(path.resolve(folder), 'package.json'));
  const ort = require('onnxruntime-web');
  const version = ort.env.versions?.web ?? '';
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(fs.readFileSync(file), { executionProviders: ['wasm'], graphOptimizationLevel: 'all' });
  const floats = (name) => new Float32Array(new Uint8Array(fs.readFileSync(name)).buffer);
  const feed = { batch: new ort.Tensor('float32', floats(`${file}.input`), [1, 3, 320, 320]) };
  const expected = floats(`${file}.outputs`);
  const made = await session.run(feed);
  const outputs = session.outputNames.map((name) => made[name].data);
  return { version: `version ${version}`, difference: difference(outputs, expected, 1e-3), run: () => session.run(feed) };
}

async function median(run, count) {
  const times = [];
  for (let i = 0; i < count; i += 1) {
    const start = performance.now();
    await run();
    times.push(performance.now() - start);
  }
  return middle(times);
}
