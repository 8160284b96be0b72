// The digit detector at work on a picture, a drawing or a webcam; configs and checkpoints of one's own. `?device=cpu|gpu` chooses where.
import { Detector, checkConfig, checkModel } from './smalti/smalti.js';
import { candidates, fetchBases, filesOf, missingBases, namedLike } from './configs.js';
import { download, walk } from './files.js';
import { linked, packed } from './links.js';
import { mark } from './marks.js';
import { addPicture, teach } from './teach.js';
import { unzip } from './zip.js';

const $ = (id) => document.getElementById(id);
const canvas = $('canvas');
const pen = canvas.getContext('2d', { willReadFrequently: true });

/** What is looked at: `{ picture, file }`, an ImageBitmap and what it was read from, `{ drawing }`, a canvas, or `{ video }`. */
let shown = {};
/** The config's text, the files beside it, its path, the weights. */
const own = { config: '', files: {}, name: 'digits.py', weights: 'digits.safetensors' };
let detector;
let found;

function say(text, wrong = false) {
  $('status').textContent = text;
  $('status').classList.toggle('wrong', wrong);
  if (wrong) window.failed = text;
}

/** Runs one thing after another; errors are told. */
let turn = Promise.resolve();
function run(step) {
  turn = turn.then(step).catch((error) => say(`It did not work: ${error.message ?? error}`, true));
  return turn;
}

async function fetched(url) {
  const reply = await fetch(url);
  if (!reply.ok) throw new Error(`${url}: ${reply.status} ${reply.statusText}`);
  return reply;
}

async function load() {
  say('Loading the detector…');
  window.found = undefined;
  const { config, files, name, weights } = own;
  const next = await Detector.load({ config, files, name, weights, device: $('device').value });
  detector?.dispose();
  detector = next;
  $('note').textContent = next.notes.join(' ');
  window.detector = next;
}

async function look() {
  if (!detector) return;
  const { picture, drawing, video } = shown;
  if (video) return;
  say(`Looking, on ${detector.device}…`);
  await new Promise((done) => { setTimeout(done); }); // let the page paint
  const start = performance.now();
  found = await detector.detect(drawing ?? shown.file ?? picture).catch((error) => {
    // a format that browsers alone read
    if (shown.file && shown.picture === picture) return detector.detect(picture);
    throw error;
  });
  const ms = Math.round(performance.now() - start);
  show();
  const count = kept().length;
  say(`${count} ${count === 1 ? 'object' : 'objects'} in ${ms} ms on ${detector.device}`);
  tellLoss(detector);
  window.found = [...found].map(({ box, ...rest }) => ({ bbox: box, ...rest }));
}

/** Of a GPU that was lost the detector says so itself, from then on. */
function tellLoss({ recovered, notes }) {
  if (recovered > 0) $('note').textContent = notes.join(' ');
}

const kept = () => [...(found ?? [])].filter((d) => d.score >= Number($('least').value));

const colourOf = (label) => detector?.colour(label) ?? '#b8b8b8';

/** The picture with its boxes. */
function show() {
  const source = shown.drawing ?? shown.picture ?? shown.video;
  if (!source) return;
  const [width, height] = shown.video ? [source.videoWidth, source.videoHeight] : [source.width, source.height];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  pen.drawImage(source, 0, 0, width, height);
  const chip = Math.max(14, Math.round(width / 20));
  // the best on top
  for (const { box, score, label, name } of kept().reverse()) {
    mark(pen, box, {
      colour: colourOf(label), text: `${name} ${score.toFixed(2)}`, unit: Math.max(0.75, width / 480), height: chip, within: [width, height],
    });
  }
}

async function open(blob) {
  stopWebcam();
  draw(false);
  shown = { picture: await createImageBitmap(blob), file: blob };
  await addPicture(blob);
  found = undefined;
  show();
  await look();
}

// Files: pictures, configs, checkpoints, folders and zips of configs.
const IS_CONFIG = /\.(py|ya?ml|json)$/i;
const IS_WEIGHTS = /\.(pth|pt|pkl|safetensors)$/i;
const IS_PICTURE = /\.(jpe?g|png|webp|gif|bmp|avif)$/i;
const IS_ZIP = /\.zip$/i;
/** Of those that come together so many are kept to be taught. */
const MOST_PICTURES = 50;
const wanted = (path) => [IS_CONFIG, IS_WEIGHTS, IS_PICTURE].some((kind) => kind.test(path));

/** All that were dropped together and may be configs: `[path, text]`. */
let texts = [];

/** Takes one of the texts for the config. */
async function chooseConfig(name) {
  const [, config] = texts.find(([path]) => path === name);
  Object.assign(own, { name, config, files: filesOf(name, texts) });
  $('config').value = config;
  $('which-config').value = name;
  await check();
}

async function take(given) {
  const files = (await Promise.all(given.map(([path, file]) => (IS_ZIP.test(path) ? unzip(file, path, wanted) : [[path, file]])))).flat();
  const configs = files.filter(([path]) => IS_CONFIG.test(path));
  const weights = files.find(([path]) => IS_WEIGHTS.test(path));
  const pictures = files.map(([, file]) => file).filter((file) => file.type.startsWith('image/'));
  const [picture] = pictures;
  if (weights) {
    [, own.weights] = weights;
    $('weights-name').textContent = weights[0];
  }
  let unclear = false;
  if (configs.length > 0) {
    texts = await Promise.all(configs.map(async ([path, file]) => [path, await file.text()]));
    const found = candidates(texts);
    const named = found.length === 1 ? found[0] : namedLike(found, weights?.[0]);
    unclear = !named;
    $('which').hidden = found.length < 2;
    $('which-config').replaceChildren(...found.map((path) => new Option(path, path)));
    $('own').open = true;
    await chooseConfig(named ?? found[0]);
  }
  const missing = configs.length > 0 && !$('missing').hidden;
  if (unclear) say(`${$('which-config').length} of these files could be the config: choose one below, then "Use this config".`);
  else if (missing) say('This config has bases that are missing: see below.');
  else if (weights) await load();
  else if (configs.length > 0) say('Now drop or open its weights (.pth, .safetensors), or take "Use this config" with those that are there.');
  for (const other of pictures.slice(1, MOST_PICTURES)) await addPicture(other);
  if (picture) await open(picture);
  else if (weights && !unclear && !missing) await look();
  if (!weights && !picture && configs.length === 0) say(`Nothing here can be read: a picture, a config (.py, .yaml, .json), weights (.pth, .safetensors), or a .zip of these.`, true);
}

async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = entries.length > 0 ? (await Promise.all(entries.map(walk))).flat() : [...transfer.files].map((file) => [file.name, file]);
  return files;
}

// Drawing.
// As the detector was taught: coloured, not large.
const [STROKE, INK] = [10, '#2060ff'];

function draw(on) {
  $('draw').setAttribute('aria-pressed', String(on));
  $('clear').hidden = !on;
  canvas.classList.toggle('drawing', on);
  if (!on) return;
  stopWebcam();
  const drawing = Object.assign(document.createElement('canvas'), { width: 320, height: 320 });
  shown = { drawing };
  found = undefined;
  const ink = drawing.getContext('2d', { willReadFrequently: true });
  ink.fillStyle = 'white';
  ink.fillRect(0, 0, 320, 320);
  Object.assign(ink, { strokeStyle: INK, lineWidth: STROKE, lineCap: 'round', lineJoin: 'round' });
  show();
  say('Draw digits with the mouse or a finger, a quarter of the picture high.');
}

let stroke;
const place = (event) => {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  return [(event.clientX - left) * canvas.width / width, (event.clientY - top) * canvas.height / height];
};
canvas.onpointerdown = (event) => {
  if (!shown.drawing) return;
  canvas.setPointerCapture(event.pointerId);
  stroke = place(event);
};
canvas.onpointermove = (event) => {
  if (!stroke) return;
  const ink = shown.drawing.getContext('2d');
  const to = place(event);
  ink.beginPath();
  ink.moveTo(...stroke);
  ink.lineTo(...to);
  ink.stroke();
  stroke = to;
  found = undefined;
  show();
};
canvas.onpointerup = () => {
  if (!stroke) return;
  stroke = undefined;
  run(look);
};

// The webcam.
function stopWebcam() {
  shown.video?.srcObject?.getTracks().forEach((track) => track.stop());
  if (shown.video) shown = {};
  $('webcam').setAttribute('aria-pressed', 'false');
}

async function webcam() {
  if (!navigator.mediaDevices) throw new Error('this browser gives no camera here: a page needs https, or localhost');
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment', width: { ideal: 640 } } });
  draw(false);
  const video = Object.assign(document.createElement('video'), { srcObject: stream, muted: true, playsInline: true });
  await video.play();
  shown = { video };
  $('webcam').setAttribute('aria-pressed', 'true');
  let [frames, since] = [0, performance.now()];
  while (shown.video === video) {
    found = await detector.detect(video);
    if (shown.video !== video) break;
    show();
    frames += 1;
    const passed = performance.now() - since;
    if (passed > 1000) {
      say(`${kept().length} objects, ${(frames * 1000 / passed).toFixed(1)} frames a second on ${detector.device}`);
      tellLoss(detector);
      [frames, since] = [0, performance.now()];
    }
    await new Promise((done) => { requestAnimationFrame(done); });
  }
}

// The config: checked as one types; a fix is a click.
async function check() {
  const text = $('config').value;
  const findings = await checkModel(text, own.files, { name: own.name });
  if (text !== $('config').value) return;
  window.findings = findings;
  const missing = missingBases(findings);
  $('missing').hidden = missing.length === 0;
  $('missing-list').textContent = missing.join(', ');
  $('missing-of').textContent = own.name;
  $('findings').replaceChildren(...findings.map((finding) => {
    const row = Object.assign(document.createElement('li'), { className: finding.severity });
    const [at] = finding.places;
    row.append(finding.message);
    if (at) row.append(Object.assign(document.createElement('small'), { textContent: `${at.file}:${at.line}:${at.column}${finding.help ? `: ${finding.help}` : ''}` }));
    for (const fix of finding.fixes.filter((fix) => fix.file === own.name)) {
      const button = Object.assign(document.createElement('button'), { type: 'button', textContent: fix.label });
      button.onclick = () => {
        const box = $('config');
        box.setRangeText(fix.text, fix.start, fix.end, 'end');
        edited();
      };
      row.append(button);
    }
    return row;
  }));
}

const KEPT = 'smalti config';
let wait;
function edited() {
  own.config = $('config').value;
  try { localStorage.setItem(KEPT, JSON.stringify({ name: own.name, files: own.files, config: own.config })); } catch { /* it is not kept, then */ }
  clearTimeout(wait);
  wait = setTimeout(() => { check().catch((error) => say(String(error), true)); }, 150);
}
$('config').oninput = edited;
$('apply').onclick = () => run(async () => { await load(); await look(); });
$('save').onclick = () => download(own.config, own.name.split('/').pop());

// Bases that are missing, fetched when that is asked for. The address is kept for the next time.
const BASES = 'smalti bases';
try { $('bases').value = localStorage.getItem(BASES) ?? ''; } catch { /* nothing is kept here */ }

$('fetch-bases').onclick = () => run(async () => {
  const address = $('bases').value.trim();
  if (!address) {
    $('bases').focus();
    throw new Error('give the address of the folder first, where its files are plain texts');
  }
  say('Fetching what is missing…');
  const { files, count } = await fetchBases(address, own.files, (all) => checkConfig(own.config, all, { name: own.name }));
  own.files = files;
  try { localStorage.setItem(BASES, address); } catch { /* it is not kept, then */ }
  edited();
  await check();
  say(`${count} ${count === 1 ? 'base' : 'bases'} fetched. Now "Use this config", with its weights.`);
});

$('which-config').onchange = () => run(async () => {
  await chooseConfig($('which-config').value);
  say(`${own.name} is chosen. Now "Use this config", with its weights.`);
});

$('share').onclick = () => run(async () => {
  const { name, config, files } = own;
  location.hash = `config=${await packed(JSON.stringify({ name, config, files }))}`;
  await navigator.clipboard?.writeText(location.href).catch(() => {});
  say('The address has the config now, and is copied.');
});

/** The config of the link, else what was edited before. */
async function keptConfig() {
  const { name, config, files } = JSON.parse((await linked())?.text ?? localStorage.getItem(KEPT) ?? '{}');
  return typeof config === 'string' ? { name: String(name ?? 'config.py'), config, files: files ?? {} } : null;
}

teach({
  own,
  colour: colourOf,
  picture: async () => {
    const source = shown.drawing ?? shown.video ?? shown.picture;
    if (shown.file || !source) return shown.file;
    const [width, height] = shown.video ? [source.videoWidth, source.videoHeight] : [source.width, source.height];
    const copy = Object.assign(document.createElement('canvas'), { width, height });
    copy.getContext('2d').drawImage(source, 0, 0);
    return new Promise((done) => { copy.toBlob(done); });
  },
  use: (taught) => {
    const before = { ...own };
    const done = turn.then(async () => {
      Object.assign(own, taught, { name: 'taught.py', files: {} });
      await load();
      $('config').value = own.config;
      $('weights-name').textContent = 'taught.safetensors';
      await look();
      await check();
    });
    turn = done.catch(() => { Object.assign(own, before); });
    return done;
  },
});

$('device').value = new URLSearchParams(location.search).get('device') ?? 'auto';
$('device').onchange = () => run(async () => { await load(); await look(); });
$('least').oninput = () => {
  $('least-value').textContent = Number($('least').value).toFixed(2);
  show();
};
$('file').onchange = ({ target }) => run(() => target.files[0] && open(target.files[0]));
$('weights').onchange = ({ target }) => run(() => take([...target.files].map((file) => [file.name, file])).finally(() => { target.value = ''; }));
$('draw').onclick = () => draw(!shown.drawing);
$('clear').onclick = () => draw(true);
$('webcam').onclick = () => (shown.video ? stopWebcam() : webcam().catch((error) => say(`No camera: ${error.message ?? error}`, true)));
document.ondragover = (event) => { event.preventDefault(); $('stage').classList.add('over'); };
document.ondragleave = () => $('stage').classList.remove('over');
document.ondrop = (event) => {
  event.preventDefault();
  $('stage').classList.remove('over');
  const files = dropped(event.dataTransfer);
  run(async () => take(await files));
};
document.onpaste = (event) => {
  const files = [...event.clipboardData.files];
  if (files.length > 0) run(() => take(files.map((file) => [file.name, file])));
};

await run(async () => {
  own.config = await (await fetched('digits.py')).text();
  $('config').value = own.config;
  const file = await (await fetched('digits.jpg')).blob();
  shown = { picture: await createImageBitmap(file), file };
  show();
  await load();
  await look();
  const before = await keptConfig();
  if (before && before.config !== own.config) {
    Object.assign(own, before);
    $('config').value = own.config;
    $('own').open = true;
  }
  await check();
  window.ready = true;
});
