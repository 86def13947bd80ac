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
    while (place === last && place % 2 === 0) up(); // the last of its level, without another one to be joined with
    node = await sha256(Uint8Array.of(1), ...(place % 2 === 1 ? [one, node] : [node, one]));
    up();
  }
  if (last) throw Error("the path is shorter than this log needs");
  return node;
}

// Returns whether the key signed the checkpoint of the log `origin`; null where this browser has no Ed25519.
async function isSigned(origin, checkpoint, signatures, written) {
  const [name, id = ""] = written.split("+");
  const key = fromBase64(written.slice(name.length + id.length + 2));
  const digest = await sha256(text.encode(`${name}\n`), key);
  const ownId = [...digest.slice(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (key[0] !== 1 || key.length !== 33 || id !== ownId) throw Error("the key is no Ed25519 key of the form name+id+key: copy it again");
  if (name !== origin) throw Error(`the key is of the log ${name}, and the event is in ${origin}`);
  const lines = signatures.split("\n").filter((line) => line.startsWith(`— ${name} `));
  const values = lines.map((line) => fromBase64(line.split(" ")[2]));
  const own = values.find((value) => same(value.slice(0, 4), digest.slice(0, 4)));
  if (!own) return false;
  const made = await subtle.importKey("raw", key.slice(1), "Ed25519", false, ["verify"]).catch(() => null);
  return made && subtle.verify("Ed25519", made, own.slice(4), text.encode(checkpoint));
}

async function check() {
  const answers = await Promise.all([fetch(part.dataset.bytes), fetch(part.dataset.file)]);
  const bad = answers.find((one) => !one.ok || one.redirected);
  if (bad) throw Error(`the service did not send what is needed (${bad.status}): open the page again`);
  const [bytes, proof] = [await answers[0].arrayBuffer(), await answers[1].text()];
  const [head, body, signatures] = proof.split("\n\n");
  const [kind, index, ...path] = head.split("\n");
  const [origin, size, root] = body.split("\n");
  if (kind !== "c2sp.org/tlog-proof@v1" || !index.startsWith("index ")) throw Error("the file is no proof that this page knows");
  const leaf = await sha256(Uint8Array.of(0), bytes);
  const led = await rootOf(leaf, Number(index.slice(6)), Number(size), path.map(fromBase64));
  if (!same(led, fromBase64(root))) throw Error("the stored bytes do not lead to the root of the checkpoint: event or proof was changed");
  const key = input.value.trim();
  const signed = await isSigned(origin, `${body}\n`, signatures, key);
  if (signed === false) throw Error("the checkpoint is not signed by this key");
  const far = `The ${bytes.byteLength} stored bytes lead to the root of the checkpoint of ${Number(size)} events.`;
  if (signed === null) return `… ${far} The signature was not checked: this browser has no Ed25519.`;
  const whose = key === input.dataset.own ? "That is the key that this service names: compare it with the one that you kept." : "That is the key that you gave.";
  return `✓ ${far} The key ${key.slice(0, -44)}… signed it. ${whose} The script that checked came from this service too; aegis-verify.pyz checks without it.`;
}

button.addEventListener("click", async () => {
  button.disabled = true;
  const failed = (error) => `✗ ${error instanceof DOMException ? "the key or the proof cannot be read" : error.message}.`;
  told.textContent = subtle ? await check().catch(failed) : "This browser checks only over https.";
  button.disabled = false;
});
