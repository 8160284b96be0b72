// The package as somebody gets it: packed by npm, installed in a fresh folder, its types checked, bundled by vite and run in headless Chromium.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { browse, serve } from './shared.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'smalti-package-'));
const run = (program, ...words) => execFileSync(program, words, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
const put = (name, text) => fs.writeFileSync(path.join(folder, name), text);

const [packed] = JSON.parse(run('npm', 'pack', '--json', '--pack-destination', folder, path.join(here, 'dist-package')));
put('package.json', JSON.stringify({ name: 'fresh', private: true, type: 'module' }));
run('npm', 'install', '--no-audit', '--no-fund', '--silent', path.join(folder, packed.filename), 'vite@8.3.8', 'typescript@7.0.2');
put('main.ts', `import { Detector, DeviceLostError, Trainer, checkConfig, type Detection, type Labelled, type Step } from 'smalti';
import { checkConfig as alone } from 'smalti/config';
const config = await (await fetch('/digits.py')).text();
const detector = await Detector.load({ config, weights: '/digits.safetensors', device: 'cpu' });
const found = await detector.detect(await (await fetch('/digits.jpg')).blob(), { scoreThreshold: 0.3 });
const names: string[] = [...found].map((one: Detection) => one.name);
const wrong = [...await checkConfig('a = [1'), ...await alone("_base_ = 'b.py'", { 'b.py': 'a = 1' })].map((finding) => finding.places[0].line);
detector.dispose();
const pictures: Labelled[] = [{ picture: await (await fetch('/digits.jpg')).blob(), objects: [{ box: [15, 140, 80, 230], name: 'seven' }] }];
const trainer = await Trainer.load({ config, weights: '/digits.safetensors', pictures, steps: 1 });
const step: Step = await trainer.step();
const taught = await Detector.load({ config: trainer.config, weights: await trainer.weights(), device: 'cpu' });
const learned = [taught.classes.join(), step.step, step.loss > 0, new DeviceLostError('why') instanceof Error];
trainer.dispose();
taught.dispose();
Object.assign(window, { done: { names, wrong, boxes: found.boxes.length, learned } });
`);
put('index.html', '<!doctype html><link rel="icon" href="data:,"><script type="module" src="/main.ts"></script>');
put('tsconfig.json', JSON.stringify({
  compilerOptions: { strict: true, noEmit: true, target: 'es2022', module: 'esnext', moduleResolution: 'bundler', lib: ['es2022', 'esnext.disposable', 'dom'], types: [] },
  files: ['main.ts'],
}));
fs.mkdirSync(path.join(folder, 'public'));
for (const name of ['digits.py', 'digits.safetensors', 'digits.jpg']) fs.copyFileSync(path.join(here, 'dist', name), path.join(folder, 'public', name));
run('npx', 'tsc');
run('npx', 'vite', 'build', '--target', 'es2022', '--logLevel', 'warn');

const { address, close } = await serve(path.join(folder, 'dist'));
const browser = await browse();
const page = await browser.newPage();
const complained = new Promise((_, reject) => { page.on('pageerror', reject); });
await page.goto(address);
const done = await Promise.race([complained, page.waitForFunction(() => window.done, null, { timeout: 0 })]);
const { names, wrong, boxes, learned } = await done.jsonValue();
const native = JSON.parse(fs.readFileSync(path.join(here, 'dist/native.json'))).filter((d) => d.score >= 0.3);
assert.deepEqual([...names].sort(), native.map((d) => String(d.category_id)).sort());
assert.equal(boxes, 4 * native.length);
assert.deepEqual(wrong, [1]);
assert.deepEqual(learned, ['seven', 1, true, true]);
await browser.close();
close();
fs.rmSync(folder, { recursive: true });
console.log(`ok     the package: ${packed.filename}, ${packed.size} bytes packed, types, vite, ${names.length} objects`);
