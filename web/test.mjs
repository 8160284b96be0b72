// Opens the page in headless Chromium and compares its detections with the native program's (web/dist/native.json).
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const dist = path.join(path.dirname(fileURLToPath(import.meta.url)), 'dist');
const types = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm', '.jpg': 'image/jpeg' };
const server = http.createServer((request, reply) => {
  const name = path.basename(new URL(request.url, 'http://localhost').pathname) || 'index.html';
  const file = path.join(dist, name);
  if (!fs.existsSync(file)) { reply.writeHead(404).end(); return; }
  reply.writeHead(200, { 'content-type': types[path.extname(file)] ?? 'application/octet-stream' });
  fs.createReadStream(file).pipe(reply);
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const address = `http://127.0.0.1:${server.address().port}/`;

const native = JSON.parse(fs.readFileSync(path.join(dist, 'native.json')));
assert.ok(native.length > 0, 'the native run finds something');

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
    '--disable-sync', '--disable-gpu-watchdog', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'],
});
let failed = 0;
// Every kernel compiles: the browser's compiler asks for more than naga does, such as barriers only where all invocations are seen to come.
// Those in f16 are compiled with f32 in its place where the adapter has no f16, as software ones: all else is asked of them.
const wgsl = path.join(dist, '../../shaders/wgsl');
const kernels = fs.readdirSync(wgsl, { recursive: true }).filter((name) => name.endsWith('.wgsl')).sort();
try {
  const page = await browser.newPage();
  await page.goto(`${address}index.html?device=none`);
  const texts = kernels.map((name) => fs.readFileSync(path.join(wgsl, name), 'utf8'));
  const errors = await page.evaluate(async (texts) => {
    const adapter = await navigator.gpu.requestAdapter();
    const half = adapter.features.has('shader-f16');
    const device = await adapter.requestDevice({ requiredFeatures: half ? ['shader-f16'] : [] });
    const single = (text) => (half ? text : text.replace(/^enable f16;/m, '').replace(/\bf16\b/g, 'f32'));
    const messages = async (code) => (await device.createShaderModule({ code }).getCompilationInfo()).messages;
    const told = (m) => `line ${m.lineNum}: ${m.message}`;
    return Promise.all(texts.map(async (text) => (await messages(single(text))).filter((m) => m.type === 'error').map(told)));
  }, texts);
  const wrong = kernels.flatMap((name, i) => errors[i].map((error) => `${name} ${error}`));
  assert.deepEqual(wrong, []);
  console.log(`ok     kernels: ${kernels.length} compile`);
  await page.close();
} catch (error) {
  failed += 1;
  console.log(`FAILED kernels: ${error.message}`);
}
for (const device of ['cpu', 'gpu']) {
  try {
    const page = await browser.newPage();
    page.on('pageerror', (error) => console.log(`page: ${error}`));
    page.on('console', (message) => message.type() === 'error' && console.log(`console: ${message.text()}`));
    await page.goto(`${address}?device=${device}`);
    await page.waitForFunction(() => window.found || window.failed, null, { timeout: 0 });
    assert.equal(await page.evaluate(() => window.failed), undefined);
    const found = await page.evaluate(() => window.found);
    compare(found, native);
    await page.screenshot({ path: path.join(dist, `page-${device}.png`) });
    console.log(`ok     ${device}: ${await page.textContent('#status')}; ${native.length} detections equal the native run's`);
    await page.close();
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${device}: ${error.message}`);
  }
}
// A pipeline on the GPU makes the picture that it makes on the CPU.
const pipeline = `train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(300, 200), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomAffine', max_rotate_degree=20.0),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='Pad', size_divisor=32)]`;
try {
  const page = await browser.newPage();
  await page.goto(`${address}?device=cpu`);
  const { sizes, far, most } = await page.evaluate(async (text) => {
    const { default: init, augment } = await import('./smalti_web.js');
    await init();
    const picture = new Uint8Array(await (await fetch('digits.jpg')).arrayBuffer());
    const made = [];
    for (const device of ['cpu', 'gpu']) {
      const pixels = await augment(text, picture, 3, device);
      made.push({ size: [pixels.width, pixels.height], rgb: pixels.rgb });
    }
    const [a, b] = made.map((m) => m.rgb);
    const differences = Array.from(a, (v, i) => Math.abs(v - b[i]));
    const most = differences.reduce((x, y) => Math.max(x, y), 0);
    return { sizes: made.map((m) => m.size), far: differences.filter((d) => d > 1).length / a.length, most };
  }, pipeline);
  assert.deepEqual(sizes[0], sizes[1]);
  assert.ok(sizes[0][0] % 32 === 0 && far < 1e-3, `${far} of the pixels differ, by up to ${most}`);
  console.log(`ok     augment: ${sizes[0].join('x')} px on the GPU as on the CPU (largest difference ${most})`);
} catch (error) {
  failed += 1;
  console.log(`FAILED augment: ${error.message}`);
}
await browser.close();
server.close();
console.log(`${4 - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);

/** Every native detection above 0.06 has one of the same class, score within 1e-3, sides within 0.1 px. */
function compare(found, expected) {
  const left = found.map((d) => ({ ...d }));
  for (const { bbox: [x, y, w, h], score, category_id } of expected.filter((d) => d.score > 0.06)) {
    const box = [x, y, x + w, y + h];
    const same = (d) => d.label === category_id && Math.abs(d.score - score) < 1e-3
      && d.bbox.every((v, i) => Math.abs(v - box[i]) < 0.1);
    const at = left.findIndex(same);
    assert.ok(at >= 0, `no detection like class ${category_id}, score ${score}, box ${box}`);
    left.splice(at, 1);
  }
}
