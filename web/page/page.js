// Loads the digit detector and a picture, runs it, draws the boxes. `?device=cpu|gpu` chooses where.
import init, { Detector } from './smalti_web.js';

const $ = (id) => document.getElementById(id);
const say = (text) => { $('status').textContent = text; };
const bytes = async (url) => {
  const reply = await fetch(url);
  if (!reply.ok) throw new Error(`${url}: ${reply.status} ${reply.statusText}`);
  return new Uint8Array(await reply.arrayBuffer());
};

let detector;
let picture;

async function load() {
  say('Loading the detector…');
  const config = new TextDecoder().decode(await bytes('digits.py'));
  detector?.free();
  detector = undefined;
  detector = await Detector.load(config, await bytes('digits.safetensors'), $('device').value);
}

async function show() {
  say(`Looking, on ${detector.device}…`);
  await new Promise((done) => setTimeout(done)); // let the page paint
  const start = performance.now();
  const found = JSON.parse(await detector.detect(picture));
  const ms = Math.round(performance.now() - start);
  await draw(found.filter((d) => d.score >= 0.3));
  say(`${found.filter((d) => d.score >= 0.3).length} digits in ${ms} ms on ${detector.device}`);
  window.found = found;
}

async function draw(found) {
  const bitmap = await createImageBitmap(new Blob([picture]));
  const canvas = $('canvas');
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const pen = canvas.getContext('2d');
  pen.drawImage(bitmap, 0, 0);
  const size = Math.max(10, Math.round(canvas.width / 26));
  pen.font = `600 ${size}px system-ui, sans-serif`;
  pen.textBaseline = 'bottom';
  pen.lineWidth = Math.max(1, canvas.width / 240);
  for (const { bbox: [x1, y1, x2, y2], score, label, name } of found) {
    const colour = `hsl(${(label * 137) % 360} 85% 40%)`;
    pen.strokeStyle = colour;
    pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
    const text = `${name} ${score.toFixed(2)}`;
    const width = pen.measureText(text).width + 4;
    const left = Math.min(Math.max(0, x1), canvas.width - width);
    const bottom = Math.max(size + 2, y1);
    pen.fillStyle = colour;
    pen.fillRect(left, bottom - size - 2, width, size + 2);
    pen.fillStyle = 'white';
    pen.fillText(text, left + 2, bottom);
  }
}

async function run(step) {
  try {
    await step();
    await show();
  } catch (error) {
    say(`It did not work: ${error.message ?? error}`);
    window.failed = String(error.message ?? error);
  }
}

$('device').value = new URLSearchParams(location.search).get('device') ?? 'auto';
$('device').onchange = () => run(load);
$('file').onchange = async (event) => {
  const [file] = event.target.files;
  if (file) run(async () => { picture = new Uint8Array(await file.arrayBuffer()); });
};
await run(async () => {
  await init();
  picture = await bytes('digits.jpg');
  await load();
});
