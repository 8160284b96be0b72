// The window of Smalti on a canvas: loads it, and does for it what only JavaScript can: files that are dropped, chosen and saved, what is kept
// from one visit to the next, and the browser's own keys.
import { download, walk } from './files.js';
import * as gpu from './app-gpu.js';
import { linked, packed } from './links.js';
import { unzip } from './zip.js';

const $ = (id) => document.getElementById(id);
/** Names under which something is kept. */
const KEPT = 'smalti/window/';
/** All files of a folder together: the window's memory has an end. */
const LARGEST = 1 << 30;

let app;
/** Names that other pages of this browser have, and those of this one, each with what lets go of it. */
let taken = new Set();
const own = new Map();

function say(text, wrong = false) {
  $('said').textContent = text;
  $('before').hidden = false;
  $('loaded').hidden = wrong;
}

// What the window asks for.
globalThis.smaltiPage = {
  ...gpu,
  later: (milliseconds) => new Promise((done) => { setTimeout(done, milliseconds); }),
  choose,
  download: (name, bytes) => download(bytes.slice(), name),
  async beside(name) {
    const reply = await fetch(name);
    if (!reply.ok) throw new Error(`${reply.status} ${reply.statusText}`);
    return new Uint8Array(await reply.arrayBuffer());
  },
  copyLink(text) {
    packed(text).then((link) => navigator.clipboard.writeText(`${location.href.split('#')[0]}#config=${link}`))
      .catch((error) => app.wrong(`the link cannot be copied: ${error.message}`));
  },
  // where nothing may be kept, a visit begins anew
  kept(name) { try { return localStorage.getItem(KEPT + name) ?? undefined; } catch { return undefined; } },
  keep(name, text) {
    try { localStorage.setItem(KEPT + name, text); return undefined; } catch (error) { return `the browser keeps nothing: ${error.message}`; }
  },
  // without the browser's locks, in a page that is not served safely, all pages share what is kept
  claim(name) {
    if (taken.has(KEPT + name) || own.has(name)) return false;
    const until = new Promise((done) => { own.set(name, done); });
    navigator.locks?.request(KEPT + name, () => until).catch(() => {});
    return true;
  },
  release(name) { own.get(name)?.(); own.delete(name); },
  forget(name) { try { localStorage.removeItem(KEPT + name); } catch { /* nothing is kept */ } },
  keptNames() {
    try {
      return Object.keys(localStorage).filter((name) => name.startsWith(KEPT)).map((name) => name.slice(KEPT.length));
    } catch { return []; }
  },
};

/** Asks for files, or for a folder; gives what to open. */
function choose(folder) {
  return new Promise((done, fail) => {
    const input = document.createElement('input');
    input.type = 'file';
    input.multiple = true;
    input.webkitdirectory = folder;
    input.oncancel = () => done([]);
    input.onchange = () => {
      const files = [...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
      put(files).then((paths) => done(folder ? tops(files) : paths), fail);
    };
    input.click();
  });
}

/** The folders or files on top of paths, each once. */
const tops = (files) => [...new Set(files.map(({ path }) => path.split('/')[0]))];

/** Puts files among those of the window; gives their paths, of a zip that of the folder of what is in it. */
async function put(files) {
  const size = files.reduce((sum, { file }) => sum + file.size, 0);
  if (size > LARGEST) {
    throw new Error(`these are ${Math.round(size / 2 ** 20)} MB, and a page holds ${LARGEST >> 20} MB. Open fewer, or use the desktop program`);
  }
  const paths = [];
  for (const { path, file } of files) {
    const folder = /^(.+)\.zip$/i.exec(path)?.[1];
    const inside = folder ? (await unzip(file, path, () => true)).map(([name, one]) => [`${folder}/${name}`, one]) : [[path, file]];
    for (const [name, one] of inside) app.put(name, new Uint8Array(await one.arrayBuffer()));
    paths.push(folder ?? path);
  }
  return paths;
}

async function take(transfer) {
  // asked for now: what is dropped is gone after the event
  const items = [...transfer.items].filter((item) => item.kind === 'file');
  const entries = items.map((item) => item.webkitGetAsEntry?.() ?? null);
  const plain = items.map((item) => item.getAsFile());
  const [paths, folders] = [[], []];
  for (const [i, entry] of entries.entries()) {
    const files = entry ? await walk(entry) : [[plain[i].name, plain[i]]];
    const made = await put(files.map(([path, file]) => ({ path, file })));
    if (entry?.isDirectory) folders.push(entry.name);
    else paths.push(...made);
  }
  app.open([...folders, ...paths]);
}

const taking = (transfer) => take(transfer).catch((error) => app.wrong(String(error.message ?? error)));

addEventListener('dragover', (event) => event.preventDefault());
addEventListener('drop', (event) => {
  event.preventDefault();
  if (app && event.dataTransfer) taking(event.dataTransfer);
}, { capture: true });
// before the window's own, which lets no other have it
addEventListener('paste', (event) => {
  if (app && event.clipboardData?.files.length) taking(event.clipboardData);
}, { capture: true });

// The window's keys are not the browser's: finding, printing, going back. Those that nobody may take, such as closing the tab, stay.
const CONTROL = new Set(['f', 'h', 'i', 'j', 'n', 'o', 'p', 's', 'y', 'z', ',', '.', 'Enter', ' ']);
const ALONE = new Set(['F1', 'F6', 'F8', 'F12']);
addEventListener('keydown', (event) => {
  const control = (event.ctrlKey || event.metaKey) && !event.altKey && CONTROL.has(event.key.length === 1 ? event.key.toLowerCase() : event.key);
  const alt = event.altKey && /^(Arrow(Left|Right)|[1-8])$/.test(event.key);
  if (control && !(event.shiftKey && /^[ij]$/i.test(event.key)) || alt || ALONE.has(event.key)) event.preventDefault();
}, { capture: true });

/** Whether this page was loaded with this link before. */
function isAgain(text) {
  try {
    const again = sessionStorage.getItem(`${KEPT}link`) === text;
    sessionStorage.setItem(`${KEPT}link`, text);
    return again;
  } catch { return false; }
}

/** The config of the address's link, if it has one. */
async function linkedConfig() {
  const link = await linked();
  return link && JSON.stringify({ ...JSON.parse(link.text), again: isAgain(link.packed) });
}

/** The module, telling how much of it is there. */
async function fetched(name) {
  const reply = await fetch(new URL(name, import.meta.url));
  if (!reply.ok) throw new Error(`${name}: ${reply.status} ${reply.statusText}`);
  const of = reply.headers.get('content-encoding') ? 0 : Number(reply.headers.get('content-length'));
  let done = 0;
  const count = new TransformStream({
    transform(chunk, out) {
      done += chunk.length;
      if (of) $('loaded').value = done / of;
      say(`Loading… ${(done / 2 ** 20).toFixed(1)}${of ? ` of ${(of / 2 ** 20).toFixed(1)}` : ''} MB`);
      out.enqueue(chunk);
    },
  });
  return new Response(reply.body.pipeThrough(count), { headers: { 'content-type': 'application/wasm' } });
}

/** The sample: a few pictures with digits, as the demo's configs name them. */
async function sample() {
  const json = async (name) => (await fetch(name)).json();
  await Promise.all(['train', 'val'].map(async (split) => {
    const annotations = `digits/${split}.json`;
    const list = await json(annotations);
    const names = list.images.map((image) => `digits/${split}/${image.file_name}`);
    const bytes = await Promise.all(names.map((name) => smaltiPage.beside(name)));
    names.forEach((name, i) => app.put(name, bytes[i]));
    app.put(annotations, new TextEncoder().encode(JSON.stringify(list)));
  }));
}

function stopped(what) {
  $('window').hidden = true;
  $('small').textContent = 'The small page';
  say(`The window stopped: ${what}\nReload the page: edits that are not saved are there again.`, true);
}

try {
  const module = await import('./app/smalti_web_app.js');
  await module.default({ module_or_path: await fetched('app/smalti_web_app_bg.wasm') });
  taken = new Set((await navigator.locks?.query())?.held.map((lock) => lock.name));
  let text;
  let wrong;
  try { text = await linkedConfig(); } catch (error) { wrong = `The link cannot be read: ${error.message}`; }
  try {
    await module.start($('window'), text);
  } catch (error) {
    $('instead').hidden = false;
    throw new Error(`There is no WebGL here to paint with: ${error?.message ?? error}`);
  }
  app = module;
  globalThis.smalti = module;
  $('before').hidden = true;
  $('window').focus();
  if (wrong) app.wrong(wrong);
  addEventListener('error', ({ error, message }) => { if (error instanceof WebAssembly.RuntimeError) stopped(message); });
  addEventListener('unhandledrejection', ({ reason }) => { if (reason instanceof WebAssembly.RuntimeError) stopped(reason.message); });
  addEventListener('hashchange', () => linked().then((text) => text && app.link(text), (error) => app.wrong(`The link cannot be read: ${error.message}`)));
  await sample().catch((error) => app.wrong(`The sample of the demo is not there: ${error.message}`));
  globalThis.ready = true;
} catch (error) {
  globalThis.failed = String(error.message ?? error);
  say(globalThis.failed, true);
}
