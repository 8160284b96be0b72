// Files of a zip: stored or deflated, of bounded sizes. No folder, nothing hidden, no path that leads out.

/** Bytes of all that is taken out of one zip, and of one file. */
const [MOST, MOST_OF_ONE] = [2 ** 31, 2 ** 30];
const MOST_ENTRIES = 100_000;

const wrong = (name, why) => new Error(`${name}: ${why}`);

/** `[path, File]` of each whose path `wanted` says yes to. */
export async function unzip(blob, name, wanted) {
  const { count, size, offset } = await end(blob, name);
  if (count > MOST_ENTRIES) throw wrong(name, `a zip of ${count} files, of which ${MOST_ENTRIES} can be read`);
  const directory = new DataView(await blob.slice(offset, offset + size).arrayBuffer());
  const files = [];
  let [at, sum] = [0, 0];
  for (let i = 0; i < count; i += 1) {
    if (at + 46 > directory.byteLength || directory.getUint32(at, true) !== 0x02014b50) throw wrong(name, 'the list of its files is broken');
    const [flags, method] = [directory.getUint16(at + 8, true), directory.getUint16(at + 10, true)];
    const [crc, packed, whole] = [16, 20, 24].map((more) => directory.getUint32(at + more, true));
    const [named, extra, comment] = [28, 30, 32].map((more) => directory.getUint16(at + more, true));
    const start = directory.getUint32(at + 42, true);
    if (at + 46 + named > directory.byteLength) throw wrong(name, 'the list of its files is broken');
    const path = pathOf(new TextDecoder().decode(new Uint8Array(directory.buffer, directory.byteOffset + at + 46, named)));
    at += 46 + named + extra + comment;
    if (!path || !wanted(path)) continue;
    sum += whole;
    if (whole > MOST_OF_ONE || sum > MOST) throw wrong(name, `${path}: too large, taken out of a zip`);
    if (flags & 1) throw wrong(name, `${path} is encrypted`);
    const bytes = await content(blob, name, { path, method, crc, packed, whole, start });
    files.push([path, new File(bytes, path.split('/').pop(), { type: typeOf(path) })]);
  }
  return files;
}

/** Where the list of files is: at the end, before a comment of up to 65,535 bytes. */
async function end(blob, name) {
  const tail = new DataView(await blob.slice(Math.max(0, blob.size - 22 - 0xffff)).arrayBuffer());
  for (let at = tail.byteLength - 22; at >= 0; at -= 1) {
    if (tail.getUint32(at, true) !== 0x06054b50) continue;
    const found = { count: tail.getUint16(at + 10, true), size: tail.getUint32(at + 12, true), offset: tail.getUint32(at + 16, true) };
    if (found.count === 0xffff || found.offset === 0xffffffff) throw wrong(name, 'a zip64, which is not read here: drop the folder itself');
    return found;
  }
  throw wrong(name, 'no zip, or not all of it');
}

/** Parts of a file's content, which is as long as was said, and whose checksum fits. */
async function content(blob, name, { path, method, crc, packed, whole, start }) {
  const head = new DataView(await blob.slice(start, start + 30).arrayBuffer());
  if (head.byteLength < 30 || head.getUint32(0, true) !== 0x04034b50) throw wrong(name, `${path} is not where it should be`);
  const from = start + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const part = blob.slice(from, from + packed);
  if (method !== 0 && method !== 8) throw wrong(name, `${path} is packed by method ${method}: only stored and deflated files are read`);
  const reader = (method === 8 ? part.stream().pipeThrough(new DecompressionStream('deflate-raw')) : part.stream()).getReader();
  const bytes = [];
  let [length, sum] = [0, 0xffffffff];
  for (;;) {
    const { done, value } = await reader.read().catch(() => { throw wrong(name, `${path} is broken`); });
    if (done) break;
    length += value.length;
    if (length > whole) throw wrong(name, `${path} is larger than it says`);
    for (const byte of value) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
    bytes.push(value);
  }
  if (length !== whole || (sum ^ 0xffffffff) >>> 0 !== crc) throw wrong(name, `${path} is broken`);
  return bytes;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let i = 0; i < 8; i += 1) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

function pathOf(raw) {
  const parts = raw.replaceAll('\\', '/').split('/').filter((part) => part !== '' && part !== '.');
  const odd = raw.endsWith('/') || parts.some((part) => part.startsWith('.') || part === '__MACOSX');
  return odd ? '' : parts.join('/');
}

function typeOf(path) {
  const ending = /\.(jpe?g|png|webp|gif|bmp|avif)$/i.exec(path)?.[1].toLowerCase();
  return ending ? `image/${ending === 'jpg' ? 'jpeg' : ending}` : '';
}
