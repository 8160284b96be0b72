// Files that come to a page, and those that leave it.

/** All files of what is dropped, `[path, File]` each, those of a folder with their paths. */
export async function walk(entry) {
  if (entry.isFile) {
    const file = await new Promise((done, failed) => { entry.file(done, failed); });
    return [[entry.fullPath.slice(1), file]];
  }
  const reader = entry.createReader();
  const all = [];
  for (;;) {
    // it gives some at a time
    const some = await new Promise((done, failed) => { reader.readEntries(done, failed); });
    if (some.length === 0) break;
    all.push(...some);
  }
  return (await Promise.all(all.map(walk))).flat();
}

/** Hands a file to the browser's downloads. */
export function download(content, name) {
  const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(new Blob([content])), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
