// The window's detectors on WebGPU: the package's, whose engine is fetched when the first is wanted. All is told as JSON.

const detectors = new Map();
let last = 0;
/** wgpu's word for it is another. */
const deviceOf = (one) => one.device.replace('BrowserWebGpu', 'WebGPU');

/** The adapters of WebGPU: a browser gives one, hardware if it has some. */
export async function adapters() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (!adapter) return '[]';
  const { info = {}, limits } = adapter;
  const name = info.description || info.device || [info.vendor, info.architecture].filter(Boolean).join(' ');
  const software = info.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|basic render/i.test(`${name} ${info.vendor} ${info.architecture}`);
  return JSON.stringify([{
    name,
    software: Boolean(software),
    buffer: limits.maxBufferSize,
    binding: limits.maxStorageBufferBindingSize,
    invocations: limits.maxComputeInvocationsPerWorkgroup,
    workgroup: limits.maxComputeWorkgroupStorageSize,
  }]);
}

/** A detector of a config's whole text and a checkpoint's content: `{ number, device }`. */
export async function detector(config, bytes, prefix) {
  // of a module whose memory may move meanwhile
  const weights = bytes.slice();
  const { Detector } = await import('./smalti/smalti.js');
  const made = await Detector.load({ config, weights, prefix, device: 'gpu' });
  last += 1;
  detectors.set(last, made);
  return JSON.stringify({ number: last, device: deviceOf(made) });
}

/** What it finds in pixels of four bytes. */
export async function detect(number, width, height, rgba) {
  const one = detectors.get(number);
  const found = await one.detect({ width, height, data: rgba.slice() });
  const boxes = Array.from(found.scores, (_, i) => Array.from(found.boxes.subarray(4 * i, 4 * i + 4)));
  return JSON.stringify({
    boxes, scores: Array.from(found.scores), labels: Array.from(found.labels), masks: found.masks ?? [], device: deviceOf(one),
  });
}

export function dispose(number) {
  detectors.get(number)?.dispose();
  detectors.delete(number);
}
