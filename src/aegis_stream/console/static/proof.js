// Checks the proof of one event in this browser: stored bytes → leaf → root → signed checkpoint. Loaded by the page of an event only.
const part = document.querySelector("[data-proof]");
const [input, button, told] = [part.querySelector("input"), part.querySelector("button"), part.querySelector("[role=status]")];
const { subtle } = crypto; // only over https, or on this machine
const text = new TextEncoder();

const fromBase64 = (written) => Uint8Array.from(atob(written), (one) => one.charCodeAt(0));
const same = (one, other) => one.length === other.length && one.every((byte, place) => byte === other[place]);

async function sha256(...parts) {
  return new Uint8Array(await subtle.digest("SHA-256", await new Blob(parts).arrayBuffer()));
}

// RFC 9162 section 2.1.3.2. Numbers may be larger than 32 bits.
async function rootOf(leaf, index, size, path) {
  let [node, place, last] = [leaf, index, size - 1];
  const up = () => ([place, last] = [Math.floor(place / 2), Math.floor(last / 2)]);
  for (const one of path) {
    if (!last) throw Error("the path is longer than this log needs");
    const isLeft = place % 2 === 1 || place === last;
    node = await sha256(Uint8Array.of(1), ...(isLeft ? [one, node] : [node, one]));
    while (isLeft && place && place % 2 === 0) up();
    up();
  }
  if (last) throw Error("the path is shorter than this log needs");
  return node;
}

function read(proof) {
  const [head, body, lines] = proof.split("\n\n");
  const [kind, index, ...path] = head.split("\n");
  const [origin, size, root] = body.split("\n");
  if (kind !== "c2sp.org/tlog-proof@v1" || !index.startsWith("index ")) throw Error("the file is no proof that this page knows");
  const signatures = lines.trim().split("\n").map((line) => line.split(" "));
  return { index: Number(index.slice(6)), path: path.map(fromBase64), text: `${body}\n`, origin, size: Number(size), root: fromBase64(root), signatures };
}

// Returns whether the key signed the checkpoint; null where this browser has no Ed25519.
async function isSigned(found, written) {
  const [name, id = ""] = written.split("+");
  const key = fromBase64(written.slice(name.length + id.length + 2));
  const digest = await sha256(text.encode(`${name}\n`), key);
  const ownId = [...digest.slice(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (key[0] !== 1 || key.length !== 33 || id !== ownId) throw Error("the key is no Ed25519 key of the form name+id+key: copy it again");
  if (name !== found.origin) throw Error(`the key is of the log ${name}, and the event is in ${found.origin}`);
  const line = found.signatures.map(([, signer, value]) => [signer, fromBase64(value)]).find(([signer, value]) => signer === name && same(value.slice(0, 4), digest.slice(0, 4)));
  if (!line) return false;
  const made = await subtle.importKey("raw", key.slice(1), "Ed25519", false, ["verify"]).catch(() => null);
  return made && subtle.verify("Ed25519", made, line[1].slice(4), text.encode(found.text));
}

async function fetched(address) {
  const answer = await fetch(address);
  if (!answer.ok || answer.redirected) throw Error(`the service did not send what is needed (${answer.status}): open the page again`);
  return answer.arrayBuffer();
}

async function check() {
  const [bytes, file] = await Promise.all([fetched(part.dataset.bytes), fetched(part.dataset.file)]);
  const found = read(new TextDecoder().decode(file));
  const leaf = await sha256(Uint8Array.of(0), bytes);
  if (!same(await rootOf(leaf, found.index, found.size, found.path), found.root)) throw Error("the stored bytes do not lead to the root of the checkpoint: event or proof was changed");
  const signed = await isSigned(found, input.value.trim());
  if (signed === false) throw Error("the checkpoint is not signed by this key");
  const path = `The ${bytes.byteLength} stored bytes lead to the root of the checkpoint of ${found.size} events.`;
  if (signed === null) return `… ${path} The signature was not checked: this browser has no Ed25519.`;
  const whose = input.value.trim() === input.dataset.own ? "That is the key that this service names: compare it with the one that you kept." : "That is the key that you gave.";
  return `✓ ${path} The key ${input.value.trim().slice(0, -44)}… signed it. ${whose} The script that checked came from this service too; aegis-verify.pyz checks without it.`;
}

part.hidden = false;
button.addEventListener("click", async () => {
  button.disabled = true;
  const failed = (error) => `✗ ${error instanceof DOMException ? "the key or the proof cannot be read" : error.message}.`;
  told.textContent = subtle ? await check().catch(failed) : "This browser checks only over https.";
  button.disabled = false;
});
