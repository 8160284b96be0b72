// Node's test of the config checker: built by web/build.sh into web/dist-package.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { check, initSync } from '../dist-package/check/smalti_web_config.js';

const file = new URL('../dist-package/check/smalti_web_config_bg.wasm', import.meta.url);
const wasm = readFileSync(file);
initSync({ module: wasm });

// A good config, with a base.
const base = { 'base.py': "model = dict(type='A', depth=50)\n" };
assert.deepEqual(check("_base_ = 'base.py'\nmodel = dict(depth=101)\n", base), []);
assert.deepEqual(check('a = 1\n'), []);

// An error of the text, where it is.
const [open] = check('a = 1\nb = [1, 2\n', {}, 'mine/a.py');
assert.equal(open.severity, 'error');
assert.equal(open.places[0].file, 'mine/a.py');
assert.equal(open.places[0].line, 2);
assert.match(open.rendered, /mine\/a\.py:2:5/);

// An error in a base is at the base's text.
const [inBase] = check("_base_ = './base.py'\n", { 'base.py': 'x = (1,\n' });
assert.equal(inBase.places[0].file, 'base.py');
// A base that is not there.
const [missing] = check("_base_ = ['./nowhere.py']\n");
assert.match(missing.message, /nowhere\.py/);
// A comma that makes a tuple of a dict.
const [comma] = check("model = dict(backbone=dict(type='ResNet')),\n");
assert.match(comma.message, /tuple|comma/);
// What mends it, counted as JavaScript counts.
const tuple = "name = '\u{1F40C}'\nmodel = dict(backbone=dict(type='ResNet')),\n";
const [{ fixes: [fix] }] = check(tuple);
assert.equal(tuple.slice(0, fix.start) + fix.text + tuple.slice(fix.end), "name = '\u{1F40C}'\nmodel = dict(backbone=dict(type='ResNet'))\n");
// Texts that come from strangers end with an error, whatever they are.
for (const text of ['\0', '[' .repeat(100_000), "x = 10 ** 10 ** 10", 'while True: pass', "import os\nos.system('x')"]) {
  assert.ok(Array.isArray(check(text)));
}
assert.throws(() => check('a = 1', { 'b.py': 5 }), /path to text/);

const packed = gzipSync(wasm).length;
console.log(`config checker: ${wasm.length} bytes, ${packed} with gzip`);
assert.ok(packed < 1 << 20, 'the checker is below 1 MB');
