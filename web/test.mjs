// Drives the page and the package in headless Chromium, served from a sub-folder under a strict policy. Detections are compared with the native
// program's (web/dist/native.json). Screenshots lie in web/dist.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { SOFTWARE_GPU, browse, compare, complaintsOf, serve, zipOf } from './shared.mjs';

const dist = path.join(path.dirname(fileURLToPath(import.meta.url)), 'dist');
const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
  + "connect-src 'self'; worker-src 'self'";
// A worker that detects in a bitmap that was given to it, and gives the arrays away.
const WORKER = `import { Detector } from './smalti/smalti.js';
onmessage = async ({ data: { bitmap, device } }) => {
  const detector = await Detector.load({ config: await (await fetch('digits.py')).text(), weights: 'digits.safetensors', device });
  const found = await detector.detect(bitmap, { scoreThreshold: 0.3 });
  const { boxes, scores, labels, length } = found;
  postMessage({ boxes, scores, labels, length, device: detector.device }, found.transferables);
  detector.dispose();
  postMessage({ given: scores.byteLength === 0 });
};`;
/** What lies at another address: bases for those who ask. */
const RAW = {
  'raw/v1/digits/parent.py': "_base_ = ['../_base_/digits.py']\n",
  'raw/v1/_base_/digits.py': fs.readFileSync(path.join(dist, 'digits.py'), 'utf8'),
};
let asked = 0;
const { address, close } = await serve(dist, {
  at: '/some/where/',
  policy: POLICY,
  made: { ...RAW, 'worker.js': WORKER, 'blank.html': '<!doctype html><link rel="icon" href="data:,">' },
  told: (name) => { asked += name.startsWith('raw/') ? 1 : 0; },
});

const native = JSON.parse(fs.readFileSync(path.join(dist, 'native.json')));
assert.ok(native.length > 0, 'the native run finds something');

const browser = await browse([...SOFTWARE_GPU, '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream']);

let [passed, failed] = [0, 0];
/** Those whose name has this in it; all, if it is not given. */
const chosen = process.argv[2] ?? '';
/** A test on a page of its own, on which nothing may complain but of what is `missing`, by its address. */
async function test(name, where, step, { size = { width: 1280, height: 800 }, missing } = {}) {
  if (!name.includes(chosen)) return;
  const page = await browser.newPage({ viewport: size, permissions: ['camera'] });
  const complaints = complaintsOf(page, missing);
  // the devices that are asked for, so that a test can lose one
  await page.addInitScript(() => {
    window.devices = [];
    const ask = window.GPUAdapter?.prototype.requestDevice;
    if (ask) window.GPUAdapter.prototype.requestDevice = async function requestDevice(...words) { window.devices.push(await ask.apply(this, words)); return window.devices.at(-1); };
  });
  try {
    await page.goto(address + where);
    const said = await step(page);
    assert.deepEqual(complaints, []);
    passed += 1;
    console.log(`ok     ${name}${said ? `: ${said}` : ''}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}: ${error.message} ${complaints.join('; ')}`);
  }
  await page.close();
}
/** Until the page has found what it was to find. */
async function ready(page) {
  await page.waitForFunction(() => window.ready || window.failed, null, { timeout: 0 });
  assert.equal(await page.evaluate(() => window.failed), undefined);
}

// Every kernel compiles: the browser's compiler asks for more than naga does, such as barriers only where all invocations are seen to come.
// Those in f16 are compiled with f32 in its place where the adapter has no f16, as software ones: all else is asked of them.
const wgsl = path.join(dist, '../../shaders/wgsl');
const kernels = fs.readdirSync(wgsl, { recursive: true }).filter((name) => name.endsWith('.wgsl')).sort();
await test('kernels', 'blank.html', async (page) => {
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
  assert.deepEqual(kernels.flatMap((name, i) => errors[i].map((error) => `${name} ${error}`)), []);
  return `${kernels.length} compile`;
});

for (const device of ['cpu', 'gpu']) {
  await test(`the page, ${device}`, `?device=${device}`, async (page) => {
    await ready(page);
    compare(await page.evaluate(() => window.found), native);
    await page.screenshot({ path: path.join(dist, `page-${device}.png`) });
    const said = await page.textContent('#status');
    if (device === 'gpu') {
      // the device is lost, and the page goes on
      await page.evaluate(() => { window.found = undefined; window.devices.at(-1).destroy(); });
      await page.setInputFiles('#file', { name: 'again.jpg', mimeType: 'image/jpeg', buffer: fs.readFileSync(path.join(dist, 'digits.jpg')) });
      await page.waitForFunction(() => window.found || window.failed, null, { timeout: 0 });
      assert.equal(await page.evaluate(() => window.failed), undefined);
      compare(await page.evaluate(() => window.found), native);
      assert.match(await page.textContent('#note'), /^The GPU was lost .*: all was loaded again\.[^]*$/);
      assert.doesNotMatch(await page.textContent('#status'), /lost/, 'it is said once');
      await page.screenshot({ path: path.join(dist, 'page-recovered.png') });
    }
    return `${said}; ${native.length} detections equal the native run's`;
  });
}

await test('a phone', '?device=cpu', async (page) => {
  await ready(page);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 390, `nothing is beyond the screen, ${wide}`);
  await page.screenshot({ path: path.join(dist, 'page-phone.png') });
}, { size: { width: 390, height: 844 } });

await test('a drawn digit', '?device=cpu', async (page) => {
  await ready(page);
  await page.click('#draw');
  const { x, y, width } = await page.locator('#canvas').boundingBox();
  const at = (px, py) => [x + px * width / 320, y + py * width / 320];
  // a seven
  const way = [[120, 100], [174, 100], [168, 112], [153, 142], [141, 178]];
  await page.evaluate(() => { window.found = undefined; });
  await page.mouse.move(...at(...way[0]));
  await page.mouse.down();
  for (const [px, py] of way.slice(1)) await page.mouse.move(...at(px, py), { steps: 8 });
  await page.mouse.up();
  await page.waitForFunction(() => window.found, null, { timeout: 0 });
  const [best] = (await page.evaluate(() => window.found)).sort((a, b) => b.score - a.score);
  await page.screenshot({ path: path.join(dist, 'page-drawn.png') });
  assert.ok(best?.name === '7' && best.score > 0.3, JSON.stringify(best));
  return `${best.name} with a score of ${best.score.toFixed(2)}`;
});

await test('a dropped config and .pth', '?device=cpu', async (page) => {
  await ready(page);
  const config = fs.readFileSync(path.join(dist, 'digits.py'), 'utf8');
  const files = {
    'mine/base.py': config,
    'mine/child.py': "_base_ = './base.py'\nmodel = dict(test_cfg=dict(score_thr=0.5))\n",
    'digits.pth': fs.readFileSync(path.join(dist, 'digits.pth')).toString('base64'),
  };
  await page.evaluate((files) => {
    window.found = undefined;
    const transfer = new DataTransfer();
    for (const [name, text] of Object.entries(files)) {
      const content = name.endsWith('.pth') ? Uint8Array.from(atob(text), (c) => c.charCodeAt(0)) : text;
      transfer.items.add(new File([content], name.split('/').pop()));
    }
    document.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, cancelable: true }));
  }, files);
  await page.waitForFunction(() => window.found || window.failed, null, { timeout: 0 });
  assert.equal(await page.evaluate(() => window.failed), undefined);
  const found = await page.evaluate(() => window.found);
  assert.ok(found.length > 0 && found.every((d) => d.score >= 0.5), 'its own threshold holds');
  compare(found, native.filter((d) => d.score >= 0.5));
  return `${found.length} objects, of the child of two configs`;
});

const opened = (name, buffer) => ({ name, mimeType: 'application/octet-stream', buffer: Buffer.from(buffer) });

await test('a zip, and a choice', '?device=cpu', async (page) => {
  await ready(page);
  const config = fs.readFileSync(path.join(dist, 'digits.py'), 'utf8');
  const zip = zipOf({
    'pack/': '',
    'pack/_base_/base.py': config,
    'pack/mine/low.py': "_base_ = ['../_base_/base.py']\n",
    'pack/mine/high.py': "_base_ = './low.py'\nmodel = dict(test_cfg=dict(score_thr=0.9))\n",
    'pack/mine/middle.py': "_base_ = './low.py'\nmodel = dict(test_cfg=dict(score_thr=0.5))\n",
    'pack/setup.py': "print('no config')\n",
    '__MACOSX/pack/._high.py': 'x',
    'pack/digits.pth': fs.readFileSync(path.join(dist, 'digits.pth')),
  });
  await page.evaluate(() => { window.found = undefined; });
  await page.setInputFiles('#weights', opened('pack.zip', zip));
  await page.getByText('2 of these files could be the config').waitFor();
  assert.deepEqual(await page.locator('#which-config option').allTextContents(), ['pack/mine/high.py', 'pack/mine/middle.py']);
  await page.selectOption('#which-config', 'pack/mine/middle.py');
  await page.getByText('pack/mine/middle.py is chosen').waitFor();
  await page.screenshot({ path: path.join(dist, 'page-choice.png') });
  await page.click('#apply');
  await page.waitForFunction(() => window.found || window.failed, null, { timeout: 0 });
  assert.equal(await page.evaluate(() => window.failed), undefined);
  const found = await page.evaluate(() => window.found);
  assert.ok(found.length > 0 && found.every((d) => d.score >= 0.5), 'its own threshold holds');
  compare(found, native.filter((d) => d.score >= 0.5));
  // broken ones
  const broken = Buffer.from(zip);
  broken[broken.indexOf('score_thr=0.9') > 0 ? broken.indexOf('score_thr=0.9') : 200] ^= 1;
  for (const [bytes, why] of [[broken, /broken/], [zip.subarray(0, zip.length - 60), /no zip, or not all of it/], [Buffer.from('hello'), /no zip/]]) {
    await page.evaluate(() => { window.failed = undefined; });
    await page.setInputFiles('#weights', opened('broken.zip', bytes));
    await page.waitForFunction(() => window.failed);
    assert.match(await page.evaluate(() => window.failed), why);
  }
  return `${found.length} objects, of the second of two configs`;
});

await test('bases that are missing', '?device=cpu', async (page) => {
  await ready(page);
  const child = "_base_ = './parent.py'\nmodel = dict(test_cfg=dict(score_thr=0.5))\n";
  await page.evaluate(() => { window.found = undefined; });
  await page.setInputFiles('#weights', [opened('child.py', child), opened('digits.pth', fs.readFileSync(path.join(dist, 'digits.pth')))]);
  await page.getByText('has bases that are missing').waitFor();
  assert.equal(await page.textContent('#missing-list'), 'parent.py');
  assert.equal(asked, 0, 'nothing is fetched unasked');
  await page.fill('#bases', `${address}raw/v0/digits`);
  await page.click('#fetch-bases');
  await page.getByText(/raw\/v0\/digits\/parent\.py: 404/).waitFor();
  await page.evaluate(() => { window.failed = undefined; });
  await page.screenshot({ path: path.join(dist, 'page-missing.png') });
  await page.fill('#bases', `${address}raw/v1/digits`);
  await page.click('#fetch-bases');
  await page.getByText('2 bases fetched').waitFor();
  assert.equal(await page.isHidden('#missing'), true);
  await page.click('#apply');
  await page.waitForFunction(() => window.found || window.failed, null, { timeout: 0 });
  assert.equal(await page.evaluate(() => window.failed), undefined);
  compare(await page.evaluate(() => window.found), native.filter((d) => d.score >= 0.5));
  await page.reload();
  await ready(page);
  assert.equal(await page.inputValue('#bases'), `${address}raw/v1/digits`, 'it is kept');
}, { missing: /raw\/v0\/digits\/parent\.py$/ });

await test('an error and its fix', '?device=cpu', async (page) => {
  await ready(page);
  await page.click('#own summary');
  const config = await page.inputValue('#config');
  await page.fill('#config', config.replace("type='RetinaHead'", "type='RetinaHed'"));
  await page.getByText('unknown').first().waitFor();
  await page.screenshot({ path: path.join(dist, 'page-error.png'), fullPage: true });
  await page.getByRole('button', { name: 'Use RetinaHead' }).click();
  await page.waitForFunction(() => window.findings.length === 0);
  assert.equal(await page.inputValue('#config'), config);
  // edits survive a reload
  await page.fill('#config', `${config}\nmine = 1\n`);
  await page.reload();
  await ready(page);
  assert.equal(await page.inputValue('#config'), `${config}\nmine = 1\n`);
  // and go along with a link
  await page.click('#share');
  await page.waitForFunction(() => location.hash.startsWith('#config='));
  const link = page.url();
  await page.evaluate(() => localStorage.clear());
  await page.goto(`${address}?device=cpu&again`);
  await page.goto(link.replace('?device=cpu', '?device=cpu&linked'));
  await ready(page);
  assert.equal(await page.inputValue('#config'), `${config}\nmine = 1\n`);
});

/** Pictures of 96 px with a red disc and a blue bar each, as files, and where these are. */
async function lesson(page, count) {
  return page.evaluate(async (count) => {
    const made = [];
    for (let i = 0; i < count; i += 1) {
      const canvas = Object.assign(document.createElement('canvas'), { width: 96, height: 96 });
      const pen = canvas.getContext('2d');
      pen.fillStyle = ['#f2efe6', '#e4ecef', '#efe9ef'][i % 3];
      pen.fillRect(0, 0, 96, 96);
      const [x, y, r] = [[26, 28, 15], [66, 30, 17], [64, 66, 14]][i % 3];
      pen.fillStyle = '#d02818';
      pen.beginPath();
      pen.arc(x, y, r, 0, 7);
      pen.fill();
      const bar = [[44, 58, 40, 18], [10, 60, 44, 17], [8, 20, 42, 18]][i % 3];
      pen.fillStyle = '#1840c0';
      pen.fillRect(...bar);
      made.push({
        file: canvas.toDataURL('image/png').split(',')[1],
        boxes: { disc: [x - r, y - r, x + r, y + r], bar: [bar[0], bar[1], bar[0] + bar[2], bar[1] + bar[3]] },
      });
    }
    return made;
  }, count);
}
/** Of two boxes, corner to corner. */
function overlap(a, b) {
  const side = (i) => Math.max(0, Math.min(a[i + 2], b[i + 2]) - Math.max(a[i], b[i]));
  const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
  const both = side(0) * side(1);
  return both / (area(a) + area(b) - both);
}
/** Opens the pictures of a lesson below "Teach it". */
async function openLesson(page, count) {
  await page.click('#teach summary');
  await page.click('#start');
  await page.getByText('Open a picture first').waitFor();
  const pictures = await lesson(page, count);
  await page.setInputFiles('#lesson-file', pictures.map(({ file }, i) => ({ name: `${i}.png`, mimeType: 'image/png', buffer: Buffer.from(file, 'base64') })));
  await page.locator('#lesson li').nth(count - 1).waitFor();
  return pictures;
}
/** Draws a box of the page's picture of 96 px. */
async function drawBox(page, [x1, y1, x2, y2], name) {
  await page.click('#board', { position: { x: 2, y: 2 } }); // none is chosen
  await page.fill('#class', name);
  await page.locator('#board').scrollIntoViewIfNeeded();
  const { x, y, width } = await page.locator('#board').boundingBox();
  const at = (px, py) => [x + px * width / 96, y + py * width / 96];
  await page.mouse.move(...at(x1, y1));
  await page.mouse.down();
  await page.mouse.move(...at((x1 + x2) / 2, y2), { steps: 2 });
  await page.mouse.move(...at(x2, y2), { steps: 2 });
  await page.mouse.up();
}
async function taught(page) {
  await page.waitForFunction(() => window.taught, null, { timeout: 0 });
  const { wrong, text } = await page.evaluate(() => window.taught);
  assert.ok(!wrong, text);
  return text;
}

await test('teaching', '?device=cpu', async (page) => {
  await ready(page);
  // smaller, to be quick
  const config = await page.inputValue('#config');
  await page.click('#own summary');
  await page.fill('#config', config.replace('img_scale = (320, 320)', 'img_scale = (128, 128)'));
  await page.click('#own summary');
  const pictures = await openLesson(page, 3);
  await page.click('#start');
  await page.getByText('Draw a box around an object first').waitFor();
  for (const [i, { boxes }] of pictures.entries()) {
    await page.locator('#lesson button').nth(i).click();
    for (const name of ['disc', 'bar']) await drawBox(page, boxes[name], name);
  }
  // one too many, deleted again
  await drawBox(page, [2, 80, 20, 94], 'mistake');
  await page.getByRole('button', { name: 'Delete box 3, mistake' }).click();
  assert.match(await page.textContent('#lesson-sum'), /^6 boxes in 3 of 3 pictures; classes: disc, bar$/);
  await page.fill('#steps', '100');
  const begun = performance.now();
  await page.click('#start');
  await page.waitForFunction(() => window.losses?.length >= 30, null, { timeout: 0 });
  // the page stays live
  assert.match(await page.textContent('#teach-status'), /^Step \d+ of 100, loss .* s a step on the CPU, about \d+ s left/);
  await page.screenshot({ path: path.join(dist, 'page-teaching.png'), fullPage: true });
  const said = await taught(page);
  const seconds = (performance.now() - begun) / 1000;
  const losses = await page.evaluate(() => window.losses);
  const mean = (values) => values.reduce((a, b) => a + b) / values.length;
  const [first, last] = [mean(losses.slice(0, 5)), mean(losses.slice(-5))];
  assert.ok(losses.length === 100 && last < 0.4 * first, `the loss falls: ${first} to ${last}`);
  const content = async (button) => {
    const [file] = await Promise.all([page.waitForEvent('download'), page.click(button)]);
    return fs.readFileSync(await file.path());
  };
  const [weights, text] = [await content('#teach-weights'), (await content('#teach-config')).toString()];
  fs.writeFileSync(path.join(dist, 'taught.safetensors'), weights);
  fs.writeFileSync(path.join(dist, 'taught.py'), text);
  fs.writeFileSync(path.join(dist, 'taught.png'), Buffer.from(pictures[0].file, 'base64'));
  // what was downloaded is a detector of its own
  const found = await page.evaluate(async ([weights, config, picture]) => {
    const { Detector } = await import('./smalti/smalti.js');
    const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const detector = await Detector.load({ config, weights: bytes(weights), device: 'cpu' });
    return [...await detector.detect(bytes(picture), { scoreThreshold: 0.3 })];
  }, [weights.toString('base64'), text, pictures[0].file]);
  for (const [name, box] of Object.entries(pictures[0].boxes)) {
    const best = found.find((d) => d.name === name);
    assert.ok(best && overlap(best.box, box) > 0.6, `${name} is found: ${JSON.stringify(found)}`);
  }
  // and so is the page's
  await page.setInputFiles('#file', { name: '1.png', mimeType: 'image/png', buffer: Buffer.from(pictures[1].file, 'base64') });
  await page.waitForFunction(() => window.found?.some((d) => d.name === 'bar' && d.score > 0.3), null, { timeout: 10_000 });
  await page.screenshot({ path: path.join(dist, 'page-taught.png'), fullPage: true });
  // stopped early, what was learned so far is kept
  await page.fill('#steps', '1000');
  await page.evaluate(() => { window.losses = []; });
  await page.click('#start');
  await page.waitForFunction(() => window.losses.length >= 2, null, { timeout: 0 });
  await page.click('#stop');
  assert.match(await taught(page), /^\d+ steps in .* now finds disc, bar/);
  return `${said} ${(seconds / 100).toFixed(2)} s a step, loss ${first.toFixed(2)} to ${last.toFixed(2)}`;
});

await test('teaching on a phone', '?device=cpu', async (page) => {
  await ready(page);
  const [{ boxes }] = await openLesson(page, 2);
  await page.locator('#lesson button').first().click();
  await drawBox(page, boxes.disc, 'a disc of a long name');
  await drawBox(page, boxes.bar, 'bar');
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 390, `nothing is beyond the screen, ${wide}`);
  await page.screenshot({ path: path.join(dist, 'page-teaching-phone.png'), fullPage: true });
  // weights of another model
  await page.setInputFiles('#weights', { name: 'other.safetensors', mimeType: 'application/octet-stream', buffer: otherWeights() });
  await page.waitForFunction(() => window.failed, null, { timeout: 0 });
  await page.click('#start');
  await page.waitForFunction(() => window.taught, null, { timeout: 0 });
  const { wrong, text } = await page.evaluate(() => window.taught);
  assert.ok(wrong && /nothing .*fits this model/.test(text), text);
}, { size: { width: 390, height: 844 } });

await test('a trainer of the package', 'blank.html', async (page) => {
  const pictures = await lesson(page, 2);
  const { errors, steps, classes, report } = await page.evaluate(async (pictures) => {
    const { Detector, Trainer } = await import('./smalti/smalti.js');
    const config = (await (await fetch('digits.py')).text()).replace('img_scale = (320, 320)', 'img_scale = (96, 96)');
    const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const weights = 'digits.safetensors';
    const bitmap = await createImageBitmap(new Blob([bytes(pictures[0].file)]));
    const disc = { box: pictures[0].boxes.disc, name: 'disc' };
    const lesson = [{ picture: bitmap, objects: [disc] }, { picture: bytes(pictures[1].file), objects: [] }];
    const errors = [];
    const failing = async (options) => {
      try { (await Trainer.load({ config, weights, pictures: lesson, ...options })).dispose(); errors.push('none'); } catch (error) { errors.push(error.message); }
    };
    await failing({ pictures: [{ picture: bitmap, objects: [] }], classes: ['disc'] });
    await failing({ classes: ['bar'] });
    await failing({ classes: ['disc', 'disc'] });
    await failing({ pictures: [{ picture: bitmap, objects: [{ box: [200, 0, 300, 10], name: 'far' }] }] });
    await failing({ pictures: [{ picture: bytes(pictures[0].file), objects: [{ box: [NaN, 0, 9, 9], name: 'odd' }] }] });
    await failing({ pictures: [{ picture: new Uint8Array([1, 2, 3]), objects: [disc] }] });
    await failing({ steps: 0 });
    await failing({ learningRate: -1 });
    await failing({ frozen: ['backbone', 'neck', 'bbox_head'] });
    await failing({ config: 'model = dict(' });
    await failing({ config: config.replace('train_dataloader', 'my_dataloader') });
    await failing({ learningRate: 1e-5, frozen: ['nowhere'] });
    // asked for twice at once, one comes after the other
    const trainer = await Trainer.load({ config, weights, pictures: lesson, steps: 4, classes: ['disc', 'bar'], frozen: [] });
    const steps = (await Promise.all([trainer.step(), trainer.step()])).map(({ step }) => step);
    const { classes } = await Detector.load({ config: trainer.config, weights: await trainer.weights(), device: 'cpu' });
    // weights go on from where they were
    const next = await Trainer.load({ config: trainer.config, weights: await trainer.weights(), pictures: lesson, classes, steps: 1 });
    const { report } = next;
    next.dispose();
    trainer.dispose();
    await trainer.step().catch((error) => errors.push(error.message));
    return { errors, steps, classes, report };
  }, pictures);
  const wanted = [/no box to learn from/, /class `disc`, which is none of `classes`: bar/, /`disc` is there twice/, /less than a pixel/, /less than a pixel/, /picture/,
    /`steps` must be/, /`learningRate` must be/, /all of the model is frozen/, /config\.py:1/, /no `train_dataloader`/, /^none$/, /disposed/];
  assert.equal(errors.length, wanted.length, errors.join('; '));
  wanted.forEach((words, i) => assert.match(errors[i], words));
  assert.deepEqual(steps, [1, 2]);
  assert.deepEqual(classes, ['disc', 'bar']);
  assert.match(report, /missing 0, unexpected 0, wrong shape 0/);
});

/** A `.safetensors` of one tensor that no detector has. */
function otherWeights() {
  const header = JSON.stringify({ other: { dtype: 'F32', shape: [1], data_offsets: [0, 4] } });
  const bytes = Buffer.alloc(8 + header.length + 4);
  bytes.writeBigUInt64LE(BigInt(header.length));
  bytes.write(header, 8);
  return bytes;
}

await test('a webcam', '?device=cpu', async (page) => {
  await ready(page);
  await page.click('#webcam');
  await page.waitForFunction(() => /frames a second/.test(document.querySelector('#status').textContent), null, { timeout: 0 });
  const said = await page.textContent('#status');
  await page.click('#webcam');
  return said;
});

await test('what a picture may be', 'blank.html', async (page) => {
  const { lengths, after, masks } = await page.evaluate(async () => {
    const { Detector, maskPixels } = await import('./smalti/smalti.js');
    const config = await (await fetch('digits.py')).text();
    const detector = await Detector.load({ config, weights: await fetch('digits.safetensors'), device: 'cpu' });
    const blob = await (await fetch('digits.jpg')).blob();
    const bitmap = await createImageBitmap(blob);
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext('2d').drawImage(bitmap, 0, 0);
    const image = new Image();
    image.src = URL.createObjectURL(blob);
    await image.decode();
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const frame = new VideoFrame(bitmap, { timestamp: 0 });
    const lengths = [];
    for (const picture of [await blob.arrayBuffer(), blob, bitmap, canvas, image, pixels, frame]) {
      lengths.push((await detector.detect(picture, { scoreThreshold: 0.3 })).length);
    }
    frame.close();
    const errors = [];
    const failing = async (step) => { try { await step(); } catch (error) { errors.push(String(error.message)); } };
    await failing(() => detector.detect('digits.jpg'));
    await failing(() => detector.detect(new Uint8Array([1, 2, 3])));
    await failing(() => Detector.load({ config: 'model = dict(', weights: 'digits.safetensors' }));
    await failing(() => Detector.load({ config, weights: 'nowhere.pth' }));
    const last = detector.detect(pixels);
    detector.dispose();
    lengths.push((await last).scores.filter((s) => s >= 0.3).length);
    await failing(() => detector.detect(pixels));
    return { lengths, after: errors, masks: maskPixels({ size: [4, 5], counts: '522000OO2' }).join('') };
  });
  assert.deepEqual(lengths, lengths.map(() => native.filter((d) => d.score >= 0.3).length));
  assert.equal(after.length, 5);
  assert.match(after[0], /a picture is/);
  assert.match(after[1], /picture/);
  assert.match(after[2], /config\.py:1/);
  assert.match(after[3], /nowhere\.pth: 404/);
  assert.match(after[4], /disposed/);
  // by pycocotools
  assert.equal(masks, '00001011100111000000');
}, { missing: /nowhere\.pth$/ });

await test('a lost device', 'blank.html', async (page) => {
  const { found, recovered, notes, error, again } = await page.evaluate(async () => {
    const { Detector, DeviceLostError } = await import('./smalti/smalti.js');
    const config = (await (await fetch('digits.py')).text()).replace('img_scale = (320, 320)', 'img_scale = (96, 96)');
    const load = () => Detector.load({ config, weights: 'digits.safetensors', device: 'gpu' });
    const [one, other] = [await load(), await load()];
    const picture = await createImageBitmap(await (await fetch('digits.jpg')).blob());
    const look = async (detector) => [...await detector.detect(picture)].map(({ box, score, label }) => [...box, score, label]);
    const lose = async () => { window.devices.at(-1).destroy(); await window.devices.at(-1).lost; };
    const found = [await look(one)];
    await lose();
    // all at once, of the same instance
    found.push(...await Promise.all([look(one), look(one), look(other)]));
    // in the middle of it
    const under = look(one);
    await lose();
    found.push(await under);
    const recovered = [one.recovered, other.recovered];
    const notes = one.notes;
    // no way back
    const ask = navigator.gpu.requestAdapter;
    navigator.gpu.requestAdapter = async () => null;
    await lose();
    const error = await look(one).then(() => 'none', (e) => [e instanceof DeviceLostError, e.message]);
    // and then there is one
    navigator.gpu.requestAdapter = ask;
    const again = (await look(one)).length;
    one.dispose();
    other.dispose();
    return { found, recovered, notes, error, again };
  });
  const [first, ...rest] = found;
  assert.ok(first.length > 0);
  for (const next of rest) {
    assert.equal(next.length, first.length);
    next.forEach((d, i) => d.forEach((v, k) => assert.ok(Math.abs(v - first[i][k]) < 1e-3, `${d} was ${first[i]}`)));
  }
  assert.deepEqual(recovered, [2, 1]);
  assert.match(notes[0], /The GPU was lost.*all was loaded again/);
  assert.ok(error[0] && /the GPU was lost.*loading again failed: no GPU adapter found/.test(error[1]), String(error));
  assert.equal(again, first.length);
  return `${first.length} objects, before and after`;
});

await test('a worker', 'blank.html', async (page) => {
  const [first, then] = await page.evaluate(async () => {
    const worker = new Worker('worker.js', { type: 'module' });
    const messages = [];
    const done = new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => { messages.push(data); if (messages.length === 2) resolve(); };
      worker.onerror = (event) => reject(new Error(event.message));
    });
    const bitmap = await createImageBitmap(await (await fetch('digits.jpg')).blob());
    worker.postMessage({ bitmap, device: 'cpu' }, [bitmap]);
    await done;
    return messages.map((m) => ({ ...m, boxes: m.boxes?.length }));
  });
  assert.equal(first.length, native.filter((d) => d.score >= 0.3).length);
  assert.equal(first.boxes, 4 * first.length);
  assert.ok(then.given, 'the arrays were given away');
});

await test('a thousand detections', 'blank.html', async (page) => {
  const { memory, early, late } = await page.evaluate(async () => {
    const { Detector, prepare } = await import('./smalti/smalti.js');
    const { memory: heap } = await prepare('cpu');
    const detector = await Detector.load({ config: await (await fetch('digits.py')).text(), weights: 'digits.safetensors', device: 'cpu' });
    const bitmap = await createImageBitmap(await (await fetch('digits.jpg')).blob());
    const [memory, times] = [[], []];
    for (let i = 0; i < 1000; i += 1) {
      const start = performance.now();
      await detector.detect(bitmap);
      times.push(performance.now() - start);
      if (i % 100 === 99) memory.push(heap.buffer.byteLength);
    }
    const middle = (part) => part.sort((a, b) => a - b)[part.length >> 1];
    return { memory, early: middle(times.slice(100, 300)), late: middle(times.slice(800)) };
  });
  assert.equal(memory.at(-1), memory[0], `memory grows: ${memory}`);
  return `${early.toFixed(0)} ms each at first, ${late.toFixed(0)} ms at last, ${(memory[0] / 2 ** 20).toFixed(0)} MiB`;
});

// A pipeline on the GPU makes the picture that it makes on the CPU.
const pipeline = `train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(300, 200), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomAffine', max_rotate_degree=20.0),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='Pad', size_divisor=32)]`;
await test('augment', 'blank.html', async (page) => {
  const { sizes, far, most } = await page.evaluate(async (config) => {
    const { augment } = await import('./smalti/smalti.js');
    const made = [];
    for (const device of ['cpu', 'gpu']) made.push(await augment({ config, picture: 'digits.jpg', seed: 3, device }));
    const [a, b] = made.map((m) => m.data);
    const differences = Array.from(a, (v, i) => Math.abs(v - b[i]));
    const most = differences.reduce((x, y) => Math.max(x, y), 0);
    return { sizes: made.map((m) => [m.width, m.height]), far: differences.filter((d) => d > 1).length / a.length, most };
  }, pipeline);
  assert.deepEqual(sizes[0], sizes[1]);
  assert.ok(sizes[0][0] % 32 === 0 && far < 1e-3, `${far} of the pixels differ, by up to ${most}`);
  return `${sizes[0].join('x')} px on the GPU as on the CPU (largest difference ${most})`;
});

await browser.close();
close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
