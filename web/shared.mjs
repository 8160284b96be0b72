// What the tests share: a server of a folder, a browser, zips, and when detections are the same.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { chromium } from 'playwright-core';

const TYPES = {
  '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm', '.jpg': 'image/jpeg', '.json': 'application/json',
};

/**
 * Serves the files of `root` below the path `at`; `made` has texts by name, of files that are nowhere, and `told` is told of each name. With a
 * `policy` each reply has that Content-Security-Policy. Gives the address, and what ends it.
 */
export async function serve(root, { at = '/', policy, made = {}, told = () => {} } = {}) {
  const server = http.createServer((request, reply) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const name = pathname.startsWith(at) ? pathname.slice(at.length) || 'index.html' : '..';
    const file = path.join(root, name);
    const own = Object.hasOwn(made, name);
    told(name);
    if (!own && !(file.startsWith(root + path.sep) && fs.existsSync(file))) { reply.writeHead(404).end(); return; }
    reply.writeHead(200, {
      'content-type': TYPES[path.extname(name)] ?? 'application/octet-stream',
      'content-length': own ? Buffer.byteLength(made[name]) : fs.statSync(file).size,
      ...(policy ? { 'content-security-policy': policy } : {}),
    });
    if (own) reply.end(made[name]);
    else fs.createReadStream(file).pipe(reply);
  });
  await new Promise((done) => { server.listen(0, '127.0.0.1', done); });
  return { address: `http://127.0.0.1:${server.address().port}${at}`, close: () => server.close() };
}

/** Headless Chromium, which asks nobody for anything. */
export const browse = (flags = []) => chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--disable-gpu-watchdog', ...flags],
});

/** Flags for WebGPU in software. */
export const SOFTWARE_GPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];

/** What a page complains of: errors, and addresses that are not there, but for those that are `missing` on purpose. */
export function complaintsOf(page, missing) {
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    const { url } = message.location();
    const expected = missing?.test(url) && /404/.test(message.text());
    if (message.type() === 'error' && !expected) complaints.push(`${message.text()} (${url})`);
  });
  return complaints;
}

/** A zip of these files, every second one deflated. */
export function zipOf(files) {
  const [parts, list] = [[], []];
  let offset = 0;
  Object.entries(files).forEach(([name, content], i) => {
    const [bytes, path] = [Buffer.from(content), Buffer.from(name)];
    const packed = i % 2 ? deflateRawSync(bytes) : bytes;
    let crc = 0xffffffff;
    for (const byte of bytes) {
      crc ^= byte;
      for (let k = 0; k < 8; k += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    }
    const shared = Buffer.alloc(26);
    shared.writeUInt16LE(20, 0);
    shared.writeUInt16LE(i % 2 ? 8 : 0, 4);
    shared.writeUInt32LE((crc ^ 0xffffffff) >>> 0, 10);
    shared.writeUInt32LE(packed.length, 14);
    shared.writeUInt32LE(bytes.length, 18);
    shared.writeUInt16LE(path.length, 22);
    const [head, entry] = [Buffer.from('PK\x03\x04'), Buffer.alloc(46)];
    entry.write('PK\x01\x02\x14\0', 'latin1');
    shared.copy(entry, 6);
    entry.writeUInt32LE(offset, 42);
    parts.push(head, shared, path, packed);
    list.push(entry, path);
    offset += 30 + path.length + packed.length;
  });
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(list.length / 2, 8);
  end.writeUInt16LE(list.length / 2, 10);
  end.writeUInt32LE(list.reduce((sum, part) => sum + part.length, 0), 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, ...list, end]);
}

/** Every native detection above 0.06 has one of the same class, score within 1e-3, sides within 0.1 px. */
export function compare(found, expected) {
  const left = found.map((d) => ({ ...d }));
  for (const { bbox: [x, y, w, h], score, category_id } of expected.filter((d) => d.score > 0.06)) {
    const box = [x, y, x + w, y + h];
    const same = (d) => d.label === category_id && Math.abs(d.score - score) < 1e-3
      && d.bbox.every((v, i) => Math.abs(v - box[i]) < 0.1);
    const at = left.findIndex(same);
    assert.ok(at >= 0, `no detection like class ${category_id}, score ${score}, box ${box}`);
    left.splice(at, 1);
  }
}
