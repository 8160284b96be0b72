// Drives the window on its page (web/dist/app.html) in headless Chromium, served from a sub-folder under a strict policy. Screenshots lie in web/dist.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { SOFTWARE_GPU, browse, compare, complaintsOf, serve, zipOf } from './shared.mjs';

const dist = path.join(path.dirname(fileURLToPath(import.meta.url)), 'dist');
const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'";
const { address: root, close } = await serve(dist, { at: '/some/where/', policy: POLICY });
const address = `${root}app.html`;

let browser = await browse(['--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist', ...SOFTWARE_GPU]);

let [passed, failed] = [0, 0];
/** Those whose name has this in it; all, if it is not given. */
const chosen = process.argv[2] ?? '';
/** A test on a page of its own, on which nothing may complain. */
async function test(name, step, { size = { width: 1280, height: 800 }, hash = '', missing } = {}) {
  if (!name.includes(chosen)) return;
  const context = await browser.newContext({ viewport: size, permissions: ['clipboard-read', 'clipboard-write'] });
  const page = await context.newPage();
  const complaints = complaintsOf(page, missing);
  try {
    await page.goto(address + hash);
    await page.waitForFunction(() => window.ready || window.failed, null, { timeout: 120000 });
    const said = await step(page);
    assert.deepEqual(complaints, []);
    passed += 1;
    console.log(`ok     ${name}${said ? `: ${said}` : ''}`);
  } catch (error) {
    failed += 1;
    await page.screenshot({ path: path.join(dist, 'app-failed.png') }).catch(() => {});
    console.log(`FAILED ${name}: ${error.message} ${complaints.join('; ')}`);
  }
  await context.close();
}
const state = (page) => page.evaluate(() => JSON.parse(window.smalti.state()));
/** Until what the window shows is such, and it rests. */
async function until(page, what, holds) {
  assert.equal(await page.evaluate(() => window.failed), undefined);
  for (let tries = 0; tries < 600; tries += 1) {
    const now = await state(page);
    if (now?.idle && holds(now)) {
      // what a job made is shown by the next frame, which may begin another
      await page.waitForTimeout(150);
      const then = await state(page);
      if (then.idle && holds(then)) return then;
    }
    await page.waitForTimeout(100);
  }
  throw new Error(`waited in vain until ${what}: ${JSON.stringify(await state(page)).slice(0, 2000)}`);
}
const look = (page, name) => page.screenshot({ path: path.join(dist, `app-${name}.png`) });
/** How many colours there are in a part of the window. */
async function colours(page, clip) {
  const png = (await page.screenshot({ clip })).toString('base64');
  return page.evaluate(async (png) => {
    const bytes = Uint8Array.from(atob(png), (c) => c.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes]));
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
    context.drawImage(bitmap, 0, 0);
    return new Set(new Uint32Array(context.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer)).size;
  }, png);
}
const drop = (page, files) => page.evaluate((files) => {
  const transfer = new DataTransfer();
  for (const [name, text] of Object.entries(files)) {
    transfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
  }
  document.querySelector('canvas').dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, cancelable: true, bubbles: true }));
}, Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')])));
/** A folder `voc` of Pascal VOC's form with one picture, whose annotation is in GBK. */
function voc(parent) {
  const root = path.join(parent, 'voc');
  const put = (name, content) => {
    const file = path.join(root, 'VOC2007', name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, content);
  };
  const [before, after] = ['<object><name>', '</name><bndbox><xmin>20</xmin><ymin>140</ymin><xmax>80</xmax><ymax>230</ymax></bndbox></object></annotation>'];
  const head = '<?xml version="1.0" encoding="gbk"?>\n<annotation><size><width>320</width><height>320</height><depth>3</depth></size>';
  put('ImageSets/Main/train.txt', '000001\n');
  put('Annotations/000001.xml', Buffer.concat([Buffer.from(head + before), Buffer.from([0xc6, 0xbb, 0xb9, 0xfb]), Buffer.from(after)]));
  put('JPEGImages/000001.jpg', fs.readFileSync(path.join(dist, 'digits.jpg')));
  return root;
}
/** Does what has this name in the palette. */
async function act(page, name) {
  await page.keyboard.press('Control+p');
  await page.waitForTimeout(300);
  await page.keyboard.type(name);
  await page.waitForTimeout(300);
  await page.keyboard.press('Enter');
}
const view = async (page, number, name) => {
  await page.keyboard.press(`Alt+${number}`);
  return until(page, `${name} is in front`, (s) => s.view === name);
};

const digits = fs.readFileSync(path.join(dist, 'digits.py'), 'utf8');
const wrong = digits.replace("type='RetinaHead'", "type='RetinaHed'");
const MOSAIC = 'retinanet_mobilenetv3-small_fpn_mosaic_digits.py';

await test('the window', async (page) => {
  const { device } = await until(page, 'it rests', (s) => s.view === 'Start' && s.device !== 'opening the device');
  await look(page, 'start');
  assert.equal(device, 'CPU');
  assert.ok(await colours(page, { x: 0, y: 0, width: 1280, height: 800 }) > 50, 'something is painted');
  return `on ${device}`;
});

await test('an error, its fix, a reload, a link', async (page) => {
  await until(page, 'it rests', () => true);
  await drop(page, { 'wrong.py': wrong });
  const { errors } = await until(page, 'the error is found', (s) => s.document === 'wrong.py' && s.errors?.length === 1);
  await look(page, 'error');
  await page.keyboard.press('F8');
  await page.waitForTimeout(300);
  await page.keyboard.press('Control+.');
  const { text } = await until(page, 'the fix is taken', (s) => s.errors?.length === 0);
  assert.equal(text, digits);
  await look(page, 'fixed');
  await page.waitForTimeout(1500);
  await page.reload();
  await page.waitForFunction(() => window.ready || window.failed, null, { timeout: 120000 });
  const again = await until(page, 'edits are there again', (s) => s.text === digits);
  assert.equal(again.document, 'wrong.py');
  await page.locator('canvas').focus();
  await act(page, 'Copy a link');
  await until(page, 'the link is copied', (s) => s.messages.some((m) => /link is copied/.test(m)));
  const link = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(link, /app\.html#config=/);
  await page.evaluate(() => localStorage.clear());
  await page.goto('about:blank');
  await page.goto(link);
  await page.waitForFunction(() => window.ready || window.failed, null, { timeout: 120000 });
  await until(page, 'the config of the link is open', (s) => s.text === digits && s.document === 'wrong.py');
  // edited, and loaded again: the edits, and no second document
  await page.keyboard.type('# mine ');
  const { text: mine } = await until(page, 'it is edited', (s) => s.text !== digits);
  await page.waitForTimeout(1500);
  await page.reload();
  await page.waitForFunction(() => window.ready || window.failed, null, { timeout: 120000 });
  await until(page, 'the edits of the link are there', (s) => s.text === mine && s.document === 'wrong.py');
  return errors[0];
});

await test('two pages', async (page) => {
  await drop(page, { 'mine.py': digits });
  await until(page, 'it is open', (s) => s.document === 'mine.py');
  await page.keyboard.type('# mine ');
  const { text } = await until(page, 'it is edited', (s) => s.text !== digits);
  await page.waitForTimeout(1500);
  const other = await page.context().newPage();
  await other.goto(address);
  await other.waitForFunction(() => window.ready || window.failed, null, { timeout: 120000 });
  assert.equal((await until(other, 'it rests', () => true)).document, null, 'the edits are those of the first');
  await page.close();
  await other.reload();
  await other.waitForFunction(() => window.ready || window.failed, null, { timeout: 120000 });
  await until(other, 'the edits of the first are there', (s) => s.text === text);
});

await test('a chosen file, saved', async (page) => {
  await until(page, 'it rests', () => true);
  const [chooser] = await Promise.all([page.waitForEvent('filechooser'), page.keyboard.press('Control+o')]);
  await chooser.setFiles({ name: 'chosen.py', mimeType: 'text/x-python', buffer: Buffer.from(digits) });
  await until(page, 'it is open', (s) => s.document === 'chosen.py' && s.errors?.length === 0);
  await page.keyboard.type('# mine ');
  const { text } = await until(page, 'it is edited', (s) => s.text !== digits && s.errors?.length === 0);
  const [download] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Control+s')]);
  assert.equal(fs.readFileSync(await download.path(), 'utf8'), text);
  return download.suggestedFilename();
});

await test('Mosaic on the sample', async (page) => {
  await until(page, 'it rests', () => true);
  await page.evaluate((name) => window.smalti.open([name]), MOSAIC);
  await until(page, 'the config is read', (s) => s.document === MOSAIC && s.errors?.length === 0);
  await view(page, 3, 'Augment');
  await page.waitForTimeout(500);
  await until(page, 'a sample is made', () => true);
  await look(page, 'mosaic');
  const count = await colours(page, { x: 320, y: 200, width: 400, height: 400 });
  assert.ok(count > 1000, `a picture is shown: ${count} colours`);
  await page.evaluate(() => window.smalti.open(['digits/train.json']));
  await until(page, 'the data are shown', (s) => s.view === 'Data');
  await page.waitForTimeout(1000);
  await until(page, 'the data are read', () => true);
  await look(page, 'data');
  for (const [number, name] of [[5, 'Train'], [8, 'Model']]) {
    await view(page, number, name);
    await page.waitForTimeout(500);
    await until(page, 'it rests', () => true);
    await look(page, name.toLowerCase());
  }
  return `${count} colours`;
});

await test('a data set in an archive', async (page) => {
  await until(page, 'it rests', () => true);
  const folder = path.join(dist, 'digits');
  const names = fs.readdirSync(path.join(folder, 'val'));
  const pictures = names.map((name) => [`val/${name}`, fs.readFileSync(path.join(folder, 'val', name))]);
  const all = { 'val.json': fs.readFileSync(path.join(folder, 'val.json')), ...Object.fromEntries(pictures) };
  await drop(page, { 'mine.zip': zipOf(all) });
  await until(page, 'it is shown', (s) => s.view === 'Data');
  await page.waitForTimeout(1000);
  await until(page, 'it is read', () => true);
  await look(page, 'archive');
  // a config of the sample whose data are those that were dropped
  const text = digits.replace("data_root = 'digits/'", "data_root = 'mine/'").replaceAll('train.json', 'val.json').replaceAll("'train/'", "'val/'");
  await drop(page, { 'mine.py': text });
  await until(page, 'the config is read', (s) => s.document === 'mine.py' && s.errors?.length === 0);
  await view(page, 3, 'Augment');
  await page.waitForTimeout(500);
  await until(page, 'a sample is made', () => true);
  await look(page, 'dropped');
  assert.ok(await colours(page, { x: 320, y: 200, width: 400, height: 400 }) > 1000, 'a picture is shown');
  return `${names.length} pictures`;
});

await test('the demo detects', async (page) => {
  await until(page, 'it rests', () => true);
  await act(page, 'Try the demo');
  const { detections } = await until(page, 'it has detected', (s) => s.view === 'Detect' && s.detections > 0);
  await look(page, 'detect');
  assert.ok(await colours(page, { x: 320, y: 200, width: 400, height: 400 }) > 1000, 'the picture is shown');
  await drop(page, { 'mine.safetensors': fs.readFileSync(path.join(dist, 'digits.safetensors')) });
  await until(page, 'the checkpoint is open', (s) => s.checkpoint === 'mine.safetensors');
  await view(page, 6, 'Checkpoint');
  await look(page, 'checkpoint');
  return `${detections} run`;
});

await test('the demo detects on WebGPU', async (page) => {
  const first = await until(page, 'it rests', (s) => s.adapters.length > 0);
  assert.equal(first.device, 'CPU', 'a software adapter is not taken unasked');
  await page.evaluate(() => {
    const ask = window.smaltiPage.detect;
    window.smaltiPage.detect = async (...words) => { window.answered = await ask(...words); return window.answered; };
  });
  await page.keyboard.press('Control+,');
  await page.waitForTimeout(500);
  await look(page, 'settings');
  await page.mouse.click(520, 318); // the first adapter, below the CPU
  await until(page, 'the adapter is taken', (s) => s.device === first.adapters[0]);
  await look(page, 'settings-gpu');
  await page.keyboard.press('Control+,');
  await act(page, 'Try the demo');
  const { detector } = await until(page, 'it has detected', (s) => s.view === 'Detect' && s.detections > 0);
  await look(page, 'gpu');
  assert.match(detector[0], /WebGPU/);
  const { boxes, scores, labels } = await page.evaluate(() => JSON.parse(window.answered));
  const native = JSON.parse(fs.readFileSync(path.join(dist, 'native.json')));
  compare(boxes.map((bbox, i) => ({ bbox, score: scores[i], label: labels[i] })), native);
  // an engine that cannot be had: the CPU does it, and that is said
  await page.route('**/smalti/gpu/*', (route) => route.abort());
  await page.reload();
  await page.waitForFunction(() => window.ready || window.failed, null, { timeout: 120000 });
  await page.locator('canvas').focus();
  await act(page, 'Try the demo');
  const { detector: fallen } = await until(page, 'it has detected', (s) => s.view === 'Detect' && s.detections > 0);
  await look(page, 'gpu-failed');
  assert.equal(fallen[0], 'CPU');
  assert.match(fallen[1], /does not run this detector, so the CPU does/);
  return `${boxes.length} objects, as the native run's; ${detector[0]}`;
}, { missing: /smalti\/gpu\// });

await test('a dropped folder, a pasted picture', async (page) => {
  await until(page, 'it rests', () => true);
  // as the browser gives a folder of the desktop
  const session = await page.context().newCDPSession(page);
  const folder = voc(fs.mkdtempSync(path.join(os.tmpdir(), 'smalti-voc-')));
  for (const type of ['dragEnter', 'dragOver', 'drop']) {
    await session.send('Input.dispatchDragEvent', { type, x: 600, y: 400, data: { items: [], files: [folder], dragOperationsMask: 1 } });
  }
  await page.waitForTimeout(1500);
  await until(page, 'the folder is there', () => true);
  fs.rmSync(path.dirname(folder), { recursive: true });
  // names of classes in an encoding of which only the browser has the table
  const text = digits.replace(/^dataset_type.*$/m, "dataset_type = 'VOCDataset'").replace("data_root = 'digits/'", "data_root = 'voc/'")
    .replace(/^metainfo.*$/m, "metainfo = dict(classes=('苹果',))").replace("ann_file='train.json'", "ann_file='VOC2007/ImageSets/Main/train.txt'")
    .replace("data_prefix=dict(img='train/')", "data_prefix=dict(sub_data_root='VOC2007/')");
  await drop(page, { 'voc.py': text });
  await until(page, 'the config is read', (s) => s.document === 'voc.py' && s.errors?.length === 0);
  await view(page, 3, 'Augment');
  await page.waitForTimeout(500);
  await until(page, 'a sample is made', () => true);
  await look(page, 'voc');
  assert.ok(await colours(page, { x: 320, y: 200, width: 400, height: 400 }) > 1000, 'a picture is shown');
  await page.evaluate(async () => {
    const blob = await (await fetch('digits.jpg')).blob();
    const bitmap = await createImageBitmap(blob);
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext('2d').drawImage(bitmap, 0, 0);
    await navigator.clipboard.write([new ClipboardItem({ 'image/png': await canvas.convertToBlob() })]);
  });
  await view(page, 4, 'Detect');
  await page.locator('canvas').focus();
  await page.keyboard.press('Control+v');
  await until(page, 'the picture is looked at', (s) => s.view === 'Detect' && s.detections > 0);
  await look(page, 'pasted');
});

await test('a phone', async (page) => {
  await until(page, 'it rests', (s) => s.view === 'Start');
  await look(page, 'phone');
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 390, `nothing is beyond the screen, ${wide}`);
}, { size: { width: 390, height: 844 } });

await browser.close();
browser = await browse(['--disable-gpu', '--disable-3d-apis']);
await test('no WebGL', async (page) => {
  assert.match(await page.textContent('#said'), /WebGL/);
  assert.ok(await page.locator('#instead').isVisible());
  await look(page, 'no-webgl');
});

await browser.close();
close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
