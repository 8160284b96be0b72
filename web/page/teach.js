// "Teach it": pictures with boxes drawn by hand, a trainer in a worker of its own, its loss as it falls, and the weights that come of it.
import { Board } from './board.js';
import { drawCurve, means } from './curve.js';
import { download } from './files.js';

const $ = (id) => document.getElementById(id);
const make = (tag, values, ...inner) => {
  const element = Object.assign(document.createElement(tag), values);
  element.append(...inner);
  return element;
};

/** Pictures with boxes: `{ file, bitmap, objects: [{ box, name }] }`. */
const lesson = [];
let at;
let chosen;
let worker;
let losses = [];
let total = 1;
let made;
/** The colour of a class. */
let colourOf = () => '#b8b8b8';

const classes = () => [...new Set(lesson.flatMap(({ objects }) => objects.map(({ name }) => name)))];
const board = new Board($('board'), {
  drawn: (box) => {
    const name = $('class').value.trim() || 'object';
    forget();
    at.objects.push({ box: box.map((v) => Math.round(v * 10) / 10), name });
    $('class').value = name;
    choose(at.objects.at(-1));
  },
  chosen: (object) => choose(object),
  colourOf: ({ name }) => colourOf(classes().indexOf(name)),
});

function say(text, wrong = false) {
  $('teach-status').textContent = text;
  $('teach-status').classList.toggle('wrong', wrong);
}

/** A complaint that may hold no more. */
function forget() {
  if ($('teach-status').classList.contains('wrong')) say('');
}

function choose(object) {
  chosen = object;
  if (object) $('class').value = object.name;
  show();
}

function remove(object) {
  at.objects.splice(at.objects.indexOf(object), 1);
  const known = classes();
  if (known.length > 0 && !known.includes($('class').value)) $('class').value = known.at(-1);
  choose(undefined);
}

/** All that follows from the lesson. */
function show() {
  const known = classes();
  $('classes').replaceChildren(...known.map((value) => make('option', { value })));
  $('lesson').replaceChildren(...lesson.map((entry, i) => {
    const count = entry.objects.length;
    const picture = make('canvas', { width: 96, height: 72 });
    const { width, height } = entry.bitmap;
    const scale = Math.min(96 / width, 72 / height);
    picture.getContext('2d').drawImage(entry.bitmap, (96 - width * scale) / 2, (72 - height * scale) / 2, width * scale, height * scale);
    const button = make('button', { type: 'button' }, picture, `${count} ${count === 1 ? 'box' : 'boxes'}`);
    button.setAttribute('aria-pressed', String(entry === at));
    button.setAttribute('aria-label', `Picture ${i + 1}, ${count} boxes`);
    button.onclick = () => { at = entry; choose(undefined); };
    return make('li', {}, button);
  }));
  $('boxes').replaceChildren(...(at?.objects ?? []).map((object, i) => {
    const pick = make('button', { type: 'button', textContent: object.name });
    pick.setAttribute('aria-pressed', String(object === chosen));
    pick.style.borderLeft = `6px solid ${colourOf(known.indexOf(object.name))}`;
    pick.onclick = () => choose(object);
    const drop = make('button', { type: 'button', textContent: '×', title: 'Delete this box' });
    drop.setAttribute('aria-label', `Delete box ${i + 1}, ${object.name}`);
    drop.onclick = () => remove(object);
    return make('li', {}, pick, drop);
  }));
  board.set(at, chosen);
  const boxes = lesson.reduce((sum, { objects }) => sum + objects.length, 0);
  const pictures = lesson.filter(({ objects }) => objects.length > 0).length;
  $('lesson-sum').textContent = lesson.length === 0 ? 'No picture yet.'
    : `${boxes} ${boxes === 1 ? 'box' : 'boxes'} in ${pictures} of ${lesson.length} ${lesson.length === 1 ? 'picture' : 'pictures'}`
      + `${known.length > 0 ? `; classes: ${known.join(', ')}` : ''}`;
  $('unlearn').hidden = !at;
}

/** Adds a picture, or shows it if it is there already. */
export async function addPicture(file) {
  const same = lesson.find((entry) => entry.file === file);
  if (!same) lesson.push({ file, bitmap: await createImageBitmap(file), objects: [] });
  at = same ?? lesson.at(-1);
  forget();
  choose(undefined);
}

/**
 * `own` is what the page's detector is made of; `use` has the page take another one, `picture` gives what it shows, as a file, and `colour` a
 * class's colour.
 */
export function teach({ own, use, picture, colour }) {
  colourOf = colour;
  $('lesson-file').onchange = async ({ target }) => {
    for (const file of target.files) {
      try { await addPicture(file); } catch { say(`${file.name}: this browser reads no picture in it`, true); }
    }
    target.value = '';
  };
  $('take').onclick = async () => {
    const shown = await picture();
    if (shown) await addPicture(shown);
    else say('Nothing is shown yet.', true);
  };
  $('unlearn').onclick = () => {
    lesson.splice(lesson.indexOf(at), 1);
    at = lesson.at(-1);
    choose(undefined);
  };
  $('class').oninput = () => {
    const name = $('class').value.trim();
    if (chosen && name) {
      chosen.name = name;
      show();
    }
  };
  $('board').onkeydown = (event) => {
    if (chosen && (event.key === 'Delete' || event.key === 'Backspace')) remove(chosen);
  };
  $('start').onclick = () => start(own, use).catch((error) => ended(String(error.message ?? error), true));
  $('stop').onclick = () => {
    worker?.postMessage({ stop: true });
    say('Stopping after this step…');
  };
  for (const [id, name, what] of [['teach-weights', 'taught.safetensors', 'weights'], ['teach-config', 'taught.py', 'config']]) {
    $(id).onclick = () => download(made[what], name);
  }
  new ResizeObserver(() => losses.length > 0 && drawCurve($('curve'), losses, total)).observe($('curve'));
  show();
}

function ended(text, wrong = false) {
  worker?.terminate();
  worker = undefined;
  $('start').disabled = false;
  $('stop').hidden = true;
  say(text, wrong);
  window.taught = { wrong, text };
}

/** How much of the weights fits the model of these classes. */
function takenOver(report) {
  const [, matched, missing, shape] = /matched (\d+), missing (\d+), .*wrong shape (\d+)/.exec(report) ?? [];
  const rest = Number(missing) + Number(shape);
  if (!(rest > 0)) return '';
  return `${matched} of ${Number(matched) + rest} tensors are taken over; ${rest === Number(shape) ? 'those that tell the classes apart begin' : 'the rest begins'} anew.`;
}

const time = (seconds) => (seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`);

async function start(own, use) {
  window.taught = undefined;
  const pictures = lesson.filter(({ objects }) => objects.length > 0).map(({ file, objects }) => ({ picture: file, objects }));
  if (pictures.length === 0) {
    ended(lesson.length === 0 ? 'Open a picture first, then draw a box around each object in it.' : 'Draw a box around an object first: press on the picture, and drag.', true);
    return;
  }
  const steps = Number($('steps').value);
  if (!(Number.isInteger(steps) && steps > 0)) {
    ended('The number of steps must be 1 or more.', true);
    return;
  }
  $('start').disabled = true;
  $('stop').hidden = false;
  $('downloads').hidden = true;
  say('Loading the trainer…');
  [losses, total] = [[], steps];
  const names = classes();
  const { config, files, name } = own;
  const weights = typeof own.weights === 'string' ? new URL(own.weights, document.baseURI).href : own.weights;
  const frozen = $('whole').checked ? [] : ['backbone'];
  worker = new Worker(new URL('./train-worker.js', import.meta.url), { type: 'module' });
  let [since, notes] = [0, ''];
  worker.onmessage = async ({ data }) => {
    if (data.error) ended(`It could not be taught: ${data.error}`, true);
    if (data.begun) {
      notes = [takenOver(data.begun.report), ...data.begun.notes].join(' ').trim();
      say(`Learning, on the CPU… ${notes}`);
      since = performance.now();
    }
    if (data.step) {
      losses.push(data.step.loss);
      drawCurve($('curve'), losses, total);
      $('curve').hidden = false;
      const each = (performance.now() - since) / 1000 / losses.length;
      say(`Step ${losses.length} of ${total}, loss ${means(losses).at(-1).toPrecision(2)}; ${each.toFixed(2)} s a step on the CPU, about ${time(each * (total - losses.length))} left. ${notes}`);
      window.losses = losses;
    }
    if (data.ended) {
      const { done, weights: bytes, config: text } = data.ended;
      if (!bytes) {
        ended('Stopped before the first step.');
        return;
      }
      made = { weights: new Blob([bytes]), config: text };
      $('downloads').hidden = false;
      try {
        await use({ config: text, weights: made.weights });
        ended(`${done} ${done === 1 ? 'step' : 'steps'} in ${time((performance.now() - since) / 1000)}. This page now finds ${names.join(', ')}.`);
      } catch (error) {
        ended(`It was taught, but the page cannot use it: ${error.message ?? error}`, true);
      }
    }
  };
  worker.onerror = (event) => ended(`It could not be taught: ${event.message || 'the trainer did not start'}`, true);
  worker.postMessage({ load: { config, files, name, weights, pictures, classes: names, steps, frozen } });
}
