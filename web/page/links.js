// A link has a config in its fragment, which is sent to no server.

/** The text of a link is no longer than this. */
const LONGEST = 8 << 20;

export async function packed(text) {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream('deflate-raw'));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  return btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join('')).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw')).getReader();
  const parts = [];
  for (let size = 0; ;) {
    const { done, value } = await reader.read();
    if (done) return new TextDecoder().decode(await new Blob(parts).arrayBuffer());
    size += value.length;
    if (size > LONGEST) throw new Error('the config of this link is too long');
    parts.push(value);
  }
}

/** What the page's address holds, `{ packed, text }`; nothing if it is no link. */
export async function linked() {
  const found = /^#config=(.+)$/.exec(location.hash)?.[1];
  return found && { packed: found, text: await unpacked(found) };
}
