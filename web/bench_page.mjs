// Times the digit detector at 320x320 in headless Chromium, on the CPU and on WebGPU, beside onnxruntime-web in the same browser:
//
//     web/build.sh
//     npm install --prefix DIR onnxruntime-web
//     core/benches/peer_onnx.py --config configs/demo/retinanet_mobilenetv3-small_fpn_digits.py --checkpoint configs/demo/digits.pth --export digits.onnx
//     node web/bench_page.mjs --onnx digits.onnx --onnxruntime DIR [--rounds 3] [--runs 10] [--only cpu|gpu]
//
// What is timed is as in bench.mjs: ours from pixels to boxes, theirs the network alone, one thread each. `first` is a page's first result: fetching and
// compiling the engine, loading the model, one run. A round is a fresh page of each, in turns; ratios (ours / theirs, below 1 is faster) are taken within a
// round, and their median is printed. Without a GPU Chromium's WebGPU is a program on the CPU (SwiftShader): a comparison of two, and no speed of a GPU.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { middle } from './outputs.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({
  options: {
    dist: { type: 'string', default: path.join(here, 'dist') },
    onnx: { type: 'string' },
    onnxruntime: { type: 'string', default: here },
    rounds: { type: 'string', default: '3' },
    runs: { type: 'string', default: '10' },
    only: { type: 'string' },
  },
});
assert.ok(options.onnx, 'give --onnx FILE: the head of this file says how it is made');
const [rounds, runs] = [Number(options.rounds), Number(options.runs)];
const folders = {
  '/bench/': here,
  '/ours/': options.dist,
  '/theirs/': path.join(options.onnxruntime, 'node_modules/onnxruntime-web/dist'),
  '/network/': path.dirname(path.resolve(options.onnx)),
};
const types = { '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm' };
const server = http.createServer((request, reply) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  const place = Object.keys(folders).find((place) => pathname.startsWith(place));
  const file = place && path.join(folders[place], path.normalize(pathname.slice(place.length)));
  if (pathname === '/') reply.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><link rel="icon" href="data:,">');
  else if (!file || !fs.existsSync(file)) reply.writeHead(404).end();
  else {
    reply.writeHead(200, { 'content-type': types[path.extname(file)] ?? 'application/octet-stream' });
    fs.createReadStream(file).pipe(reply);
  }
});
await new Promise((done) => { server.listen(0, '127.0.0.1', done); });
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--disable-gpu-watchdog', '--enable-unsafe-webgpu', ...(process.env.HARDWARE ? [] : ['--use-webgpu-adapter=swiftshader'])],
});

/** Both measure themselves: `{ first, steady, about }`, ms. */
const ours = async ({ device, runs }) => {
  const start = performance.now();
  const { Detector } = await import('/ours/smalti/smalti.js');
  const config = await (await fetch('/ours/digits.py')).text();
  const detector = await Detector.load({ config, weights: '/ours/digits.safetensors', device });
  const picture = new ImageData(320, 320);
  picture.data.forEach((_, i) => {
    const [x, y, c] = [(i >> 2) % 320, Math.floor(i / 1280), i % 4];
    picture.data[i] = c === 3 ? 255 : 127 + 100 * Math.sin(((c + 1) * x) / 40 + y / 60);
  });
  await detector.detect(picture);
  const first = performance.now() - start;
  const times = [];
  for (let i = 0; i < runs; i += 1) {
    const begin = performance.now();
    await detector.detect(picture);
    times.push(performance.now() - begin);
  }
  return { first, times, about: detector.device };
};
const theirs = async ({ device, runs, name }) => {
  const start = performance.now();
  const ort = await import(device === 'gpu' ? '/theirs/ort.webgpu.min.mjs' : '/theirs/ort.wasm.min.mjs');
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = '/theirs/';
  const floats = async (end) => new Float32Array(await (await fetch(`/network/${name}${end}`)).arrayBuffer());
  const options = { executionProviders: [device === 'gpu' ? 'webgpu' : 'wasm'], graphOptimizationLevel: 'all' };
  const session = await ort.InferenceSession.create(`/network/${name}`, options);
  const feed = { batch: new ort.Tensor('float32', await floats('.input'), [1, 3, 320, 320]) };
  const made = await session.run(feed);
  const first = performance.now() - start;
  const expected = await floats('.outputs');
  const { difference } = await import('/bench/outputs.mjs');
  const far = difference(session.outputNames.map((output) => made[output].data), expected, 1e-2);
  const times = [];
  for (let i = 0; i < runs; i += 1) {
    const begin = performance.now();
    await session.run(feed);
    times.push(performance.now() - begin);
  }
  return { first, times, about: `version ${ort.env.versions?.web ?? ''}, PyTorch's outputs within ${far.toExponential(1)}` };
};

async function once(measure, given) {
  const page = await browser.newPage();
  page.setDefaultTimeout(0);
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const { first, times, about } = await page.evaluate(measure, given);
  await page.close();
  return { first, steady: middle(times), about };
}

console.log(`digit detector 320x320, ${rounds} rounds of ${runs} runs, one thread, Chromium ${browser.version()}`);
for (const device of ['cpu', 'gpu'].filter((device) => [undefined, device].includes(options.only))) {
  const seen = [];
  for (let round = 0; round < rounds; round += 1) {
    const mine = await once(ours, { device, runs });
    const other = await once(theirs, { device, runs, name: path.basename(options.onnx) });
    seen.push({ mine, other });
  }
  console.log(`${device === 'gpu' ? 'WebGPU' : 'WASM'}: smalti on ${seen[0].mine.about}; onnxruntime-web ${seen[0].other.about}`);
  for (const what of ['first', 'steady']) {
    const column = (pick) => middle(seen.map(pick));
    console.log(`  ${what.padEnd(8)} ${column((s) => s.mine[what]).toFixed(0).padStart(7)} ms ${column((s) => s.other[what]).toFixed(0).padStart(7)} ms   ratio ${column((s) => s.mine[what] / s.other[what]).toFixed(2)}`);
  }
}
await browser.close();
server.close();
