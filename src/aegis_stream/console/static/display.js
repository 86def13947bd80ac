// How long ago times are, seconds to wait, and colours. The service writes times, in the zone of the URL.
const ahead = Number(document.body.dataset.now) - Date.now(); // the clock of the service counts, not that of this machine
const choice = document.querySelector("[data-themes]");
const zone = document.querySelector("input[name=zone]");
const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

export function kept(name, value) {
  try {
    if (value === undefined) return localStorage.getItem(`aegis-${name}`) ?? "";
    localStorage.setItem(`aegis-${name}`, value);
  } catch {} // a browser that keeps nothing
  return value ?? "";
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
  const text = time.className === "ago" ? ago(Date.parse(time.dateTime)) : time.textContent;
  if (time.textContent !== text) time.textContent = text;
  time.title = time.dateTime;
}

choice.value = kept("theme");
choice.addEventListener("change", () => (document.documentElement.dataset.theme = kept("theme", choice.value)));
if (zone) zone.value ||= Intl.DateTimeFormat().resolvedOptions().timeZone;
for (const one of document.querySelectorAll("[data-focus]")) one.focus();

// Seconds to wait count down; the page itself never sends anything again.
for (const one of document.querySelectorAll("[data-countdown]")) {
  const end = Date.now() + Number(one.dataset.countdown) * 1000;
  setInterval(() => (one.textContent = String(Math.max(0, Math.ceil((end - Date.now()) / 1000)))), 1000);
}

const showAll = () => document.hidden || document.querySelectorAll("time.ago").forEach(showTime);
showAll();
setInterval(showAll, 1000);
