// Detectors of MMDetection's configs and checkpoints, in a page or a worker. Types and words: smalti.d.ts.

export { checkConfig } from './config.js';

// There are three engines: a small one for the CPU, one that has the GPU too, and one that learns. Each is fetched when it is first wanted.
const engines = {};
const importing = {
  cpu: () => import('./cpu/smalti_web.js'),
  // Its module can be had more than once: an instance whose device is lost is given up.
  gpu: async () => (await import('./gpu/smalti_web.js')).instance(),
  train: () => import('./train/smalti_web.js'),
};
const compiled = {};

/** The device is lost, and there is no way back: its engine could not be begun anew, or lost the next one too. */
export class DeviceLostError extends Error {
  constructor(reason, options) {
    super(`the GPU was lost${reason ? ` (${reason.trim()})` : ''}`, options);
    this.name = 'DeviceLostError';
  }
}

async function engine(kind, wasm) {
  const module = await importing[kind]();
  const source = compiled[kind] ?? wasm;
  const exports = await module.default(source === undefined ? undefined : { module_or_path: source });
  compiled[kind] = module.compiled?.();
  const made = { ...module, memory: exports.memory };
  made.lost = new Promise((_, reject) => {
    module.on_lost?.((reason) => {
      made.isLost = true;
      made.reason = reason;
      if (engines[kind] === promise) engines[kind] = undefined;
      reject(new DeviceLostError(reason));
    });
  });
  made.lost.catch(() => {});
  const promise = engines[kind];
  return made;
}

function engineOf(kind, wasm) {
  engines[kind] ??= engine(kind, wasm).catch((error) => { engines[kind] = undefined; throw error; });
  return engines[kind];
}

/** Whether an engine's device is lost, now that something failed: word of it may come a moment later. */
async function isLost(home) {
  if (home.isLost === undefined && home.on_lost) {
    await Promise.race([home.lost.catch(() => {}), new Promise((done) => { setTimeout(done, 100); })]);
  }
  return home.isLost === true;
}

/** Whether there is hardware for WebGPU. */
async function hasGpu() {
  const adapter = await globalThis.navigator?.gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter) && !(adapter.info?.isFallbackAdapter ?? false);
}

/** Loads the engine of a device once; `load` does it by itself. */
export async function prepare(device = 'auto', wasm = undefined) {
  const kind = device === 'cpu' || (device === 'auto' && !(await hasGpu())) ? 'cpu' : 'gpu';
  return engineOf(kind, wasm);
}

/** What is wrong with a config and the model in it. */
export async function checkModel(text, files, { name, wasm } = {}) {
  const { check } = await (engines.gpu ?? engineOf('cpu', wasm));
  return check(text, files, name);
}

/** What the `train_pipeline` of a config makes of a picture. */
export async function augment({ config, picture, seed = 0, device = 'auto', wasm }) {
  const home = await prepare(device, wasm);
  const made = await Promise.race([home.augment(await textOf(config), await bytesOf(picture, 'picture'), seed, device), home.lost]);
  const { width, height, rgb } = made;
  made.free();
  const rgba = new Uint8ClampedArray(width * height * 4);
  for (let i = 0; i < width * height; i += 1) {
    rgba.set(rgb.subarray(3 * i, 3 * i + 3), 4 * i);
    rgba[4 * i + 3] = 255;
  }
  return new ImageData(rgba, width, height);
}

/** A detector of an engine, and the engine. */
async function built({ config, weights, prefix, files, name, device, wasm }) {
  const [home, bytes] = await Promise.all([prepare(device, wasm), bytesOf(weights, 'weights')]);
  return { home, engine: await Promise.race([home.Detector.load(config, name, files, bytes, prefix, device), home.lost]) };
}

export class Detector {
  #made;
  #options;
  #classes;
  #pending = new Set();
  #mending;
  #notes = [];

  constructor(made, options) {
    this.#made = made;
    this.#options = options;
    this.#classes = made.engine.classes;
    this.recovered = 0;
  }

  static async load({ config, weights, prefix, files, name, device = 'auto', wasm }) {
    // as they are needed again if the device is lost
    const options = { config: await textOf(config), weights: is(weights, 'Response') ? await bytesOf(weights, 'weights') : weights, prefix, files, name, device, wasm };
    return new Detector(await built(options), options);
  }

  get device() { return this.#alive().engine.device; }

  get notes() { return [...this.#notes, ...this.#alive().engine.notes]; }

  get classes() { return this.#classes; }

  colour(label) { return this.#alive().home.colour(label); }

  async detect(picture, { scoreThreshold = 0 } = {}) {
    this.#alive();
    const run = this.#look(picture, scoreThreshold).then((found) => new Detections(found, this.#classes));
    this.#pending.add(run);
    try {
      return await run;
    } finally {
      this.#pending.delete(run);
    }
  }

  /** Gives its memory back, once what it is at has ended. */
  dispose() {
    const made = this.#made;
    this.#made = undefined;
    if (made) Promise.allSettled([...this.#pending]).then(() => release(made));
  }

  async #look(picture, least) {
    const made = this.#made;
    const ask = ({ home, engine }) => Promise.race([look(engine, picture, least), home.lost]);
    try {
      return await ask(made);
    } catch (error) {
      if (!(await isLost(made.home))) throw error;
    }
    return ask(await this.#again(made));
  }

  /** Loads all once more, in a new instance of the engine; for all who wait at once. */
  #again(made) {
    if (this.#made !== made) return this.#alive();
    this.#mending ??= (async () => {
      try {
        const next = await built(this.#options);
        if (this.#made !== made) {
          release(next);
          return this.#alive();
        }
        this.#made = next;
        this.recovered += 1;
        this.#notes = [`The GPU was lost${made.home.reason ? ` (${made.home.reason.trim()})` : ''}: all was loaded again.`];
        return next;
      } catch (cause) {
        throw new DeviceLostError(`${made.home.reason ?? ''}; loading again failed: ${cause.message ?? cause}`, { cause });
      } finally {
        this.#mending = undefined;
      }
    })();
    return this.#mending;
  }

  #alive() {
    if (!this.#made) throw new Error('this detector is disposed of');
    return this.#made;
  }
}

/** What is of a lost device goes with its instance. */
function release({ home, engine }) {
  if (!home.isLost) engine.free();
}

if (Symbol.dispose) Detector.prototype[Symbol.dispose] = Detector.prototype.dispose;

export class Detections {
  constructor(found, classes) {
    this.width = found.width;
    this.height = found.height;
    this.boxes = found.boxes;
    this.scores = found.scores;
    this.labels = found.labels;
    this.masks = found.masks ? JSON.parse(found.masks) : null;
    this.classes = classes;
    found.free?.();
  }

  get length() { return this.scores.length; }

  /** The memory of the arrays, for `postMessage`. */
  get transferables() { return [this.boxes.buffer, this.scores.buffer, this.labels.buffer]; }

  * [Symbol.iterator]() {
    for (let i = 0; i < this.length; i += 1) {
      const label = this.labels[i];
      yield {
        box: [...this.boxes.subarray(4 * i, 4 * i + 4)],
        score: this.scores[i],
        label,
        name: this.classes[label],
        mask: this.masks?.[i] ?? null,
      };
    }
  }
}

/** Learns from a few pictures, step by step. */
export class Trainer {
  #engine;
  #turn = Promise.resolve();

  constructor(engine, classes) {
    this.#engine = engine;
    this.classes = classes;
  }

  static async load({
    config, weights, files, name, pictures, classes, steps = 200, batchSize = 2, learningRate, frozen = ['backbone'], seed = 0, wasm,
  }) {
    const names = classes ?? [...new Set(pictures.flatMap(({ objects }) => objects.map((object) => object.name)))];
    const [{ Trainer: Engine, Pictures }, text, bytes] = await Promise.all([engineOf('train', wasm), textOf(config), bytesOf(weights, 'weights')]);
    const lesson = new Pictures();
    try {
      for (const { picture, objects } of pictures) await addTo(lesson, picture, objects, names);
    } catch (error) {
      lesson.free();
      throw error;
    }
    // from here on the lesson is the engine's
    const made = await Engine.load(text, name, files, bytes, lesson, names, steps, batchSize, learningRate, frozen, seed);
    return new Trainer(made, names);
  }

  get steps() { return this.#alive().steps; }

  get report() { return this.#alive().report; }

  get notes() { return this.#alive().notes; }

  get config() { return this.#alive().config; }

  async step() { return JSON.parse(await this.#next((engine) => engine.step())); }

  weights() { return this.#next((engine) => engine.weights()); }

  /** Gives its memory back, once what it is at has ended. */
  dispose() {
    const engine = this.#engine;
    this.#engine = undefined;
    if (engine) this.#turn.then(() => engine.free());
  }

  #next(ask) {
    const engine = this.#alive();
    const asked = this.#turn.then(() => ask(engine));
    this.#turn = asked.catch(() => {});
    return asked;
  }

  #alive() {
    if (!this.#engine) throw new Error('this trainer is disposed of');
    return this.#engine;
  }
}

if (Symbol.dispose) Trainer.prototype[Symbol.dispose] = Trainer.prototype.dispose;

async function addTo(lesson, picture, objects, names) {
  const boxes = Float32Array.from(objects.flatMap(({ box }) => [...box]));
  const labels = Uint32Array.from(objects, ({ name, label }) => {
    const index = name === undefined ? label : names.indexOf(name);
    if (!(index >= 0)) throw new Error(`an object of class \`${name ?? label}\`, which is none of \`classes\`: ${names.join(', ')}`);
    return index;
  });
  const add = (bytes) => lesson.add(bytes, boxes, labels);
  if (isBytes(picture)) return add(await bytesOf(picture, 'picture'));
  if (!(picture instanceof Blob)) return add(await pngOf(picture));
  const bytes = await bytesOf(picture, 'picture');
  try {
    return add(bytes);
  } catch (error) {
    // a format that browsers alone read
    const bitmap = await createImageBitmap(picture).catch(() => { throw error; });
    return add(await pngOf(bitmap));
  }
}

/** A file of what a canvas can draw. */
async function pngOf(picture) {
  const pixels = pixelsOf(picture);
  const { width, height } = pixels;
  const canvas = typeof OffscreenCanvas === 'undefined'
    ? Object.assign(document.createElement('canvas'), { width, height }) : new OffscreenCanvas(width, height);
  canvas.getContext('2d').putImageData(pixels, 0, 0);
  const blob = canvas.convertToBlob ? await canvas.convertToBlob() : await new Promise((done) => { canvas.toBlob(done); });
  return bytesOf(blob, 'picture');
}

/** The pixels of a mask in COCO's run lengths: 1 where the object is, row by row. */
export function maskPixels({ size: [height, width], counts }) {
  const pixels = new Uint8Array(width * height);
  const runs = [];
  for (let at = 0; at < counts.length;) {
    let [value, shift, code] = [0, 0, 0];
    do {
      code = counts.charCodeAt(at) - 48;
      at += 1;
      value |= (code & 31) << shift;
      shift += 5;
    } while (code & 32);
    if (code & 16) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  let place = 0;
  runs.forEach((length, i) => {
    for (const end = place + length; place < end; place += 1) {
      // they go down the columns
      if (i % 2) pixels[(place % height) * width + Math.floor(place / height)] = 1;
    }
  });
  return pixels;
}

async function look(engine, picture, least) {
  if (isBytes(picture) || picture instanceof Blob) return engine.detect_file(await bytesOf(picture, 'picture'), least);
  const { data, width, height } = pixelsOf(picture);
  return engine.detect_pixels(width, height, new Uint8Array(data.buffer, data.byteOffset, data.byteLength), least);
}

const is = (value, name) => typeof globalThis[name] === 'function' && value instanceof globalThis[name];

/** An `ImageData` of anything that a canvas can draw. */
function pixelsOf(picture) {
  if (is(picture, 'ImageData')) return picture;
  if (picture && ArrayBuffer.isView(picture.data) && picture.width > 0) return picture;
  const [width, height] = sizeOf(picture);
  if (!(width > 0 && height > 0)) {
    throw new TypeError('a picture is bytes of a file, a Blob, an ImageData, or what a canvas can draw and has a size: '
      + 'ImageBitmap, VideoFrame, canvas, <img>, <video>');
  }
  const canvas = is(picture, 'HTMLElement') || typeof OffscreenCanvas === 'undefined'
    ? Object.assign(document.createElement('canvas'), { width, height }) : new OffscreenCanvas(width, height);
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  pen.drawImage(picture, 0, 0, width, height);
  return pen.getImageData(0, 0, width, height);
}

function sizeOf(picture) {
  if (is(picture, 'VideoFrame')) return [picture.displayWidth, picture.displayHeight];
  if (is(picture, 'HTMLVideoElement')) return [picture.videoWidth, picture.videoHeight];
  if (is(picture, 'HTMLImageElement')) return [picture.naturalWidth, picture.naturalHeight];
  return [picture?.width, picture?.height];
}

const isBytes = (value) => value instanceof ArrayBuffer || ArrayBuffer.isView(value);

/** Bytes of what was given; texts and URLs are addresses. */
async function bytesOf(value, what) {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (is(value, 'Blob')) return new Uint8Array(await value.arrayBuffer());
  if (typeof value === 'string' || value instanceof URL) return bytesOf(await fetch(value), what);
  if (is(value, 'Response')) {
    if (!value.ok) throw new Error(`${value.url || what}: ${value.status} ${value.statusText}`);
    return new Uint8Array(await value.arrayBuffer());
  }
  throw new TypeError(`${what}: bytes, a Blob, a Response or an address`);
}

/** The text of what was given; a text is the config itself. */
async function textOf(value) {
  return typeof value === 'string' ? value : new TextDecoder().decode(await bytesOf(value, 'config'));
}
