// How times and colours are shown, as the reader has chosen in this browser. Without it times are UTC, colours follow the system.
const ahead = Number(document.body.dataset.now) - Date.now(); // the clock of the service counts, not that of this machine
const button = document.querySelector("[data-zone]");
const colours = document.querySelector("[data-themes]");
const WRITTEN = /(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d)?) UTC/g;
const served = new WeakMap(); // titles as they came, in UTC
const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

export function kept(name, value) {
  try {
    if (value === undefined) return localStorage.getItem(`aegis-${name}`) ?? "";
    localStorage.setItem(`aegis-${name}`, value);
  } catch {} // a browser that keeps nothing
  return value ?? "";
}

let isLocal = kept("zone") === "local";

export function written(at, day = { year: "numeric", month: "2-digit", day: "2-digit" }) {
  const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short" };
  return new Intl.DateTimeFormat("sv-SE", { ...day, ...clock, timeZone: isLocal ? undefined : "UTC" }).format(at);
}

// The same words as words.py.
function ago(at) {
  const past = (Date.now() + ahead - at) / 1000;
  let rest = Math.floor(Math.abs(past));
  const first = UNITS.findIndex(([, size]) => rest >= size);
  const parts = UNITS.slice(first, first < 2 ? first + 2 : first + 1).map(([unit, size]) => [Math.floor(rest / size), unit, (rest %= size)]);
  const text = parts.filter(([count]) => count).map(([count, unit]) => `${count} ${unit}`).join(" ");
  return first < 0 ? "just now" : past < 0 ? `in ${text}` : `${text} ago`;
}

export function showTime(time) {
  const [at, kind] = [Date.parse(time.dateTime), time.className];
  if (Number.isNaN(at) || kind === "muted") return;
  time.dataset.utc ??= time.textContent;
  const text = kind === "ago" ? ago(at) : isLocal ? written(at) : time.dataset.utc;
  if (time.textContent !== text) time.textContent = text;
  time.title = isLocal ? written(at) : time.dateTime;
}

function showAll() {
  document.querySelectorAll("time").forEach(showTime);
  for (const title of document.querySelectorAll("svg title")) {
    if (!served.has(title)) served.set(title, title.textContent);
    const local = (_, day, clock) => written(Date.parse(`${day}T${clock}Z`));
    title.textContent = isLocal ? served.get(title).replace(WRITTEN, local) : served.get(title);
  }
  button.previousElementSibling.textContent = isLocal ? `Times are local (${Intl.DateTimeFormat().resolvedOptions().timeZone})` : "Times are UTC";
  button.textContent = isLocal ? "Use UTC" : "Use local times";
}

button.hidden = colours.hidden = false;
button.addEventListener("click", () => showAll(kept("zone", (isLocal = !isLocal) ? "local" : "UTC")));
const choice = colours.querySelector("select");
choice.value = kept("theme");
choice.addEventListener("change", () => (document.documentElement.dataset.theme = kept("theme", choice.value)));
showAll();
setInterval(() => document.hidden || document.querySelectorAll("time.ago").forEach(showTime), 1000);
