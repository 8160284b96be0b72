import type { CheckOptions, Finding } from './config.js';

export { checkConfig } from './config.js';
export type { CheckOptions, Finding, Place } from './config.js';

/** Bytes, or where they are: a text or a URL is an address that is fetched. */
export type Source = BufferSource | Blob | Response | URL | string;

/** The bytes of a picture's file (JPEG, PNG, WebP, ...), pixels, or anything that a canvas draws. */
export type Picture =
  | BufferSource | Blob | ImageData
  | ImageBitmap | VideoFrame | OffscreenCanvas | HTMLCanvasElement | HTMLImageElement | HTMLVideoElement;

export interface LoadOptions {
  /** The config: its text, or where it is. */
  config: string | BufferSource | Blob | Response | URL;
  /** A checkpoint: `.pth` or `.safetensors`. Read, never executed. */
  weights: Source;
  /** What the names of the weights that count begin with, such as `backbone.`. Default: all count. */
  prefix?: string;
  /** Texts of other files by their paths, for `_base_`. */
  files?: Record<string, string>;
  /** The config's own path, to which its bases are relative. Default: `config.py`. */
  name?: string;
  /** `auto`: WebGPU if there is hardware for it, else the CPU. Default: `auto`. */
  device?: 'auto' | 'gpu' | 'cpu';
  /** Where the device's engine (`cpu/` or `gpu/`, a trainer's `train/`) has its `.wasm`, if not beside the script. */
  wasm?: CheckOptions['wasm'];
}

export interface DetectOptions {
  /** Scores below are left out, after the config's own `score_thr`. Default: 0. */
  scoreThreshold?: number;
}

/** COCO's run lengths in their text form; `maskPixels` makes pixels of it. */
export interface Mask { size: [height: number, width: number]; counts: string }

export interface Detection {
  /** Left, top, right, bottom, px. */
  box: [number, number, number, number];
  score: number;
  /** Counts `classes`. */
  label: number;
  name: string;
  /** Of models that give masks. */
  mask: Mask | null;
}

/** What was found, the best first: arrays, and one object after another. */
export class Detections implements Iterable<Detection> {
  /** Of the picture, px. */
  readonly width: number;
  readonly height: number;
  readonly length: number;
  /** Four for each: left, top, right, bottom, px. */
  readonly boxes: Float32Array;
  readonly scores: Float32Array;
  readonly labels: Uint32Array;
  readonly masks: Mask[] | null;
  readonly classes: string[];
  /** The memory of the arrays, for `postMessage`. */
  readonly transferables: ArrayBuffer[];
  [Symbol.iterator](): Iterator<Detection>;
}

/** The GPU was lost, and it could not be begun with again. */
export class DeviceLostError extends Error {
  constructor(reason: string, options?: { cause?: unknown });
}

/** A detector on a device. In pages and in workers. */
export class Detector {
  static load(options: LoadOptions): Promise<Detector>;
  /** What it runs on. */
  readonly device: string;
  readonly classes: string[];
  /** A class's colour on pictures, `#rrggbb`: light enough for black names on it, and unlike its neighbours'. */
  colour(label: number): string;
  /** What is worth knowing of the device and the classes. */
  readonly notes: string[];
  /**
   * How often the GPU was lost and all was loaded again, from what `load` was given: `detect` does that by itself, and goes on. It fails with a
   * `DeviceLostError` where there is no way back.
   */
  readonly recovered: number;
  detect(picture: Picture, options?: DetectOptions): Promise<Detections>;
  /** Gives its memory back, once what it is at has ended. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/** A picture, and what is in it. */
export interface Labelled {
  picture: Picture;
  /** Left, top, right, bottom, px, and the class: its name, or its place in `classes`. None: there is nothing to be found in it. */
  objects: ({ box: ArrayLike<number>; name: string } | { box: ArrayLike<number>; label: number; name?: undefined })[];
}

export interface TrainOptions extends Omit<LoadOptions, 'device' | 'prefix'> {
  pictures: Labelled[];
  /** Names of the classes. Default: those of the objects, as they come. */
  classes?: string[];
  /** Default: 200. */
  steps?: number;
  /** Pictures a step. Default: 2. */
  batchSize?: number;
  /** Default: a quarter of the config's. */
  learningRate?: number;
  /** Places in the model, such as `backbone` or `backbone.layer1`, that stay as they are. Default: `['backbone']`, which a few pictures would spoil. */
  frozen?: string[];
  /** Chooses what is drawn. Default: 0. */
  seed?: number;
}

export interface Step {
  /** How many are done. */
  step: number;
  /** The sum of what is minimised. */
  loss: number;
  losses: Record<string, number>;
  learningRate: number;
}

/**
 * Teaches a detector a few pictures, by the config's own pipeline, losses and optimizer, on the CPU. It keeps the thread busy: have it in a worker.
 * Hooks of the config do not act, and norms keep their statistics, of which a few pictures say nothing.
 */
export class Trainer {
  static load(options: TrainOptions): Promise<Trainer>;
  readonly classes: string[];
  /** How many steps the learning rate is planned for. */
  readonly steps: number;
  /** Which tensors of the weights were taken, and which do not fit these classes and begin anew. */
  readonly report: string;
  /** What is worth knowing. */
  readonly notes: string[];
  /** The config that goes with the weights: whole, of these classes. */
  readonly config: string;
  step(): Promise<Step>;
  /** The weights as they are now: a `.safetensors`. */
  weights(): Promise<Uint8Array & BufferSource>;
  /** Gives its memory back, once what it is at has ended. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/** Loads the engine of a device before it is needed. Gives its memory, for those who count. */
export function prepare(device?: LoadOptions['device'], wasm?: CheckOptions['wasm']): Promise<{ memory: WebAssembly.Memory }>;

/** As `checkConfig`, and what the model's components, their options and channels have to say. Loads the engine. */
export function checkModel(text: string, files?: Record<string, string>, options?: CheckOptions): Promise<Finding[]>;

export interface AugmentOptions {
  config: LoadOptions['config'];
  picture: Source;
  /** Chooses what is drawn. Default: 0. */
  seed?: number;
  device?: LoadOptions['device'];
  wasm?: CheckOptions['wasm'];
}

/** What the `train_pipeline` of a config makes of a picture. */
export function augment(options: AugmentOptions): Promise<ImageData>;

/** The pixels of a mask: 1 where the object is, row by row. */
export function maskPixels(mask: Mask): Uint8Array;
