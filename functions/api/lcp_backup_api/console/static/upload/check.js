// What a chosen file is, found out in the browser before anything travels: by its first bytes, never
// by its name. The service looks at every byte later; this spares a night of sending a wrong file.

const LOOKED_AT = 1 << 20;
const BLOCK = 512;
const SQL = /^(\/\*|--|#|(SET|CREATE|DROP|USE|INSERT|REPLACE|LOCK|ALTER|START|BEGIN|DELIMITER|FLUSH|CHANGE)\b)/i;

/** What a file is: `half` (`database`, `volume` or null) and `found`, the key of a text that says
 * what was found. */
export async function checked(file) {
  let start;
  try {
    // (A folder that is dropped has no bytes, or 4096 that cannot be read.)
    start = await bytesOf(file.slice(0, LOOKED_AT));
  } catch {
    return refused("unreadable");
  }
  if (start.length === 0) return refused("empty");
  return judged(isGzip(start) ? await inflated(file) : start);
}

/** Whether a second choice of a file is the one that an upload was begun with. */
export function isSame(file, known) {
  return file.name === known.name && file.size === known.size && file.lastModified === known.lastModified;
}

async function bytesOf(blob) {
  return new Uint8Array(await blob.arrayBuffer());
}

function isGzip(start) {
  return start[0] === 0x1f && start[1] === 0x8b;
}

/** The first bytes inside a gzip; null when it is none after all. */
async function inflated(file) {
  const reader = file.slice(0, LOOKED_AT).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
  const found = [];
  let size = 0;
  try {
    while (size < BLOCK * 64) {
      const { done, value } = await reader.read();
      if (done) break;
      found.push(value);
      size += value.length;
    }
  } catch {
    // Also a whole gzip ends like this, when it was cut off here: what came until then counts.
    if (size === 0) return null;
  }
  reader.cancel().catch(() => {});
  return new Uint8Array(await new Blob(found).arrayBuffer());
}

function judged(start) {
  if (start === null) return refused("damaged");
  if (start[0] === 0x50 && start[1] === 0x4b) return refused("zip");
  if (isTar(start)) return tar(start);
  if (start[0] === 0xff || start[0] === 0xfe || start.slice(0, 64).includes(0)) return refused(start[0] >= 0xfe ? "utf16" : "unknown");
  // (The decoder leaves a byte order mark out.)
  const text = new TextDecoder().decode(start.slice(0, 65536)).trimStart();
  if (text.startsWith("<")) return refused("page");
  return SQL.test(text) ? { half: "database", found: "sql" } : refused("unknown");
}

function isTar(start) {
  if (start.length < BLOCK) return false;
  // By the sum of its header (POSIX, ustar): old tar files have no other sign.
  let sum = 8 * 0x20;
  for (let at = 0; at < BLOCK; at += 1) if (at < 148 || at >= 156) sum += start[at];
  return Number.parseInt(name(start, 148, 8).trim(), 8) === sum;
}

/** The first names of a tar file decide: a dump alone, or folders and documents. */
function tar(start) {
  for (let offset = 0; offset + BLOCK <= start.length && start[offset] !== 0; ) {
    const entry = name(start, offset, 100);
    const size = Number.parseInt(name(start, offset + 124, 12).trim() || "0", 8) || 0;
    const kind = String.fromCharCode(start[offset + 156]);
    if (/\.sql(\.gz)?$/i.test(entry) && !entry.includes("document_library")) return { half: "database", found: "sqlTar" };
    // Long names and global headers stand in front of what they are about.
    if (!"xgLK".includes(kind)) return { half: "volume", found: "tar" };
    offset += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return { half: "volume", found: "tar" };
}

function name(start, offset, length) {
  const field = start.slice(offset, offset + length);
  const end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.slice(0, end));
}

function refused(found) {
  return { half: null, found };
}
