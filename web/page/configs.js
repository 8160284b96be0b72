// Which of several files is the config, and where the bases are that are not among them.

/** Paths of the files that could be the config: those that are no other's base and have a model or a base. `texts` are `[path, text]`. */
export function candidates(texts) {
  const bases = new Set(texts.flatMap(([path, text]) => basesOf(path, text)));
  const free = texts.filter(([path]) => !bases.has(path));
  const sure = free.filter(([path, text]) => (path.endsWith('.py') ? /^\s*(_base_|model)\s*=|read_base\(\)/m : /_base_|\bmodel\b|MODEL/).test(text));
  const found = [sure, free, texts].find((some) => some.length > 0) ?? [];
  return found.map(([path]) => path).sort();
}

/** The texts that the config at `path` is made of, it itself left out: all of a few, of many those that it names. */
export function filesOf(path, texts) {
  const all = new Map(texts);
  const needed = new Set(texts.length > 100 ? [path] : all.keys());
  for (const name of needed) {
    for (const base of all.has(name) ? basesOf(name, all.get(name)) : []) needed.add(base);
  }
  needed.delete(path);
  return Object.fromEntries([...needed].filter((name) => all.has(name)).map((name) => [name, all.get(name)]));
}

/** Of several configs the one whose checkpoint `weights` is by its name, if one is. */
export function namedLike(paths, weights) {
  const stem = (path) => path.split('/').pop().replace(/\.\w+$/, '');
  const fitting = paths.filter((path) => stem(weights ?? '').startsWith(stem(path)));
  const longest = Math.max(...fitting.map((path) => stem(path).length));
  const best = fitting.filter((path) => stem(path).length === longest);
  return best.length === 1 ? best[0] : undefined;
}

/** Paths of the bases that a config names. */
function basesOf(path, text) {
  const found = [];
  const listed = /_base_["']?\s*[=:]\s*(\[[^\]]*\]|\([^)]*\)|[^\n]*)((?:\n\s*-[^\n]*)*)/.exec(text);
  if (listed) {
    for (const [name] of `${listed[1]}${listed[2]}`.matchAll(/[^\s"'[\](),]+\.(py|ya?ml|json)/g)) found.push(joined(path, name));
  }
  if (text.includes('read_base(')) {
    for (const [, dots, module] of text.matchAll(/^\s+from\s+(\.+)([\w.]*)\s+import/gm)) {
      found.push(joined(path, `${'../'.repeat(dots.length - 1)}${module.replaceAll('.', '/')}.py`));
    }
  }
  return found;
}

/** `name` seen from the folder of `path`. */
function joined(path, name) {
  const parts = path.split('/').slice(0, -1);
  for (const part of name.split('/')) {
    if (part === '..' && parts.length > 0 && parts.at(-1) !== '..') parts.pop();
    else if (part !== '.' && part !== '') parts.push(part);
  }
  return parts.join('/');
}

/** Paths of the bases that the findings miss. */
export function missingBases(findings) {
  const named = findings.map(({ message }) => /^the base `([^`]+)` cannot be read: there is no such file/.exec(message)?.[1]);
  return [...new Set(named.filter(Boolean))];
}

/** At most so many are fetched, each of so many bytes. */
const [MOST, LONGEST] = [100, 1 << 20];

/**
 * Fetches what is missing, and what that misses in turn. `address` is that of the folder in which the config's path begins; `check` gives the
 * findings for `files`. Gives the files, those that were there among them.
 */
export async function fetchBases(address, files, check) {
  const root = new URL(address.endsWith('/') ? address : `${address}/`, document.baseURI);
  if (!/^https?:$/.test(root.protocol)) throw new Error(`${address}: an address begins with https://`);
  const all = { ...files };
  let count = 0;
  for (;;) {
    const missing = missingBases(await check(all));
    if (missing.length === 0) return { files: all, count };
    for (const path of missing) {
      count += 1;
      if (count > MOST) throw new Error(`more than ${MOST} bases: this cannot be meant`);
      const url = new URL(path, root);
      const reply = await fetch(url).catch(() => { throw new Error(`${url} cannot be fetched: no connection, or its server does not let pages read it`); });
      if (!reply.ok) throw new Error(`${url}: ${reply.status} ${reply.statusText}`);
      const text = await reply.text();
      if (text.length > LONGEST) throw new Error(`${url} is too long for a config`);
      if (/^\s*<(!doctype|html)/i.test(text)) throw new Error(`${url} is a web page: the address of the raw files is wanted`);
      all[path] = text;
    }
  }
}
