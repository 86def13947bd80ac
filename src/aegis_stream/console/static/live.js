// Keeps a page up to date: texts and attributes of marked elements, never markup, never rows. A hidden tab has no stream.
import { kept, showTime } from "./display.js";

const { stream, offset } = document.body.dataset; // offset: UTC, or UTC+05:45
const pill = document.querySelector("[data-status]");
const main = document.querySelector("main");
const section = document.querySelector("[data-headline]");
const [SILENT_MS, LATE_MS] = [5000, 10000]; // a stream begins at once, and says something every 4 s
const SETTABLE = ["aria-label", "d", "href", "max", "value", "viewBox"]; // the same as in live_cells.py
const AIM_MS = 500; // nothing changes for so long after the pointer moved; what changed below it cannot be pressed for as long
let [call, heard, begun, next, aimed, timer] = [null, 0, 0, 0, -AIM_MS, 0];
let [paused, asks, tag, refused, pointed] = [false, false, "", "", null]; // asks: a proxy holds streams back
let fresh = { cells: {} };

function say(text, lost) {
  pill.hidden = false;
  if (pill.textContent !== text) pill.textContent = text;
  document.documentElement.classList.toggle("lost", lost);
}

function lose() {
  const there = new Date((heard || Date.now()) - Date.parse(`1970-01-01T00:00${offset.slice(3) || "Z"}`));
  say(`Not live since ${there.toISOString().slice(11, 19)} ${offset}, trying again`, true);
  next = Date.now() + 2000;
}

function put(element, { text, parts, kind, at, set }) {
  if (kind) element.setAttribute("class", kind);
  for (const name in set) if (SETTABLE.includes(name)) element.setAttribute(name, set[name]);
  parts?.forEach((one, place) => (element.children[place].textContent = one));
  if (text !== undefined && element.textContent !== text) element.textContent = text;
  if (at) showTime(Object.assign(element, { dateTime: at }));
}

function piece({ text, href, at }) {
  const made = document.createElement(href ? "a" : at ? "time" : "span");
  put(made, { text, kind: at && "clock", at, set: href && { href } });
  return made;
}

// Returns whether it must wait: nothing is taken from under the keyboard.
function tell({ tone, pieces, remedy, after }) {
  const [place, was] = [section.querySelector("span"), section.textContent];
  const build = JSON.stringify([tone, pieces.map((one) => [one.href, one.at]), remedy, after]);
  const same = section.dataset.build === build;
  if (same) pieces.forEach((one, number) => (place.childNodes[number].textContent = one.text));
  if (same || section.contains(document.activeElement)) return !same;
  if (!section.classList.contains(tone)) document.querySelector("[data-announce]").textContent = pieces.map((one) => one.text).join("");
  section.dataset.build = build;
  section.className = `headline ${tone}`;
  place.replaceChildren(...pieces.map(piece));
  const [button, note] = section.lastElementChild.children;
  section.lastElementChild.hidden = !remedy;
  if (remedy) [button.textContent, button.href, note.textContent] = [remedy.text, remedy.href, after];
  section.inert = section.textContent !== was && section.matches(":hover");
  setTimeout(() => (section.inert = false), AIM_MS);
  return false;
}

function show() {
  clearTimeout(timer);
  if (performance.now() - aimed < AIM_MS) return void (timer = setTimeout(show, AIM_MS));
  const [under, { cells, sentence, wrong, icon, news = {} }] = [pointed?.isConnected ? pointed : null, fresh];
  const top = under?.getBoundingClientRect().top;
  fresh = { cells: {} };
  for (const key in cells) document.querySelectorAll(`[data-live="${key}"]`).forEach((one) => put(one, cells[key]));
  if (sentence && section && tell(sentence)) fresh.sentence = sentence;
  if (icon) document.querySelector("[data-icon]").href = icon;
  if (wrong !== undefined) document.title = (wrong ? `(${wrong} failing) ` : "") + document.title.replace(/^\(\d+ failing\) /, "");
  for (const one of document.querySelectorAll("[data-news]")) {
    const more = (news[one.dataset.news] ?? 0) - one.dataset.had;
    if (more <= 0) continue;
    one.hidden = false;
    one.textContent = `${"count" in one.dataset ? `${more.toLocaleString("en")} new` : "New"} – show`;
  }
  // What is under the pointer stays there: the page goes along with what has grown above it, or fills what has shrunk.
  const moved = () => (under ? under.getBoundingClientRect().top - top : 0);
  if (!moved()) return;
  document.body.style.minHeight = `${scrollY + innerHeight + Math.max(0, moved())}px`;
  scrollBy(0, moved());
  main.style.paddingTop = `${Math.max(0, (parseFloat(main.style.paddingTop) || 0) - moved())}px`;
}

function take(text) {
  heard = Date.now();
  say("Live", false);
  const told = JSON.parse(text || "{}");
  fresh = { ...fresh, ...told, cells: { ...fresh.cells, ...told.cells } };
  show();
}

async function follow() {
  const own = (call = new AbortController());
  begun = Date.now();
  const headers = asks ? { accept: "application/json", "if-none-match": tag } : { accept: "text/event-stream" };
  try {
    const answer = await fetch(stream, { signal: own.signal, headers, cache: "no-store" });
    if (answer.status > 400 && answer.status < 405) refused = answer.status === 401 ? "Signed out: sign in again" : "Not live: open the page again";
    else if (answer.status > 304) throw new Error();
    if (asks && !refused) [tag, next] = [answer.headers.get("etag"), Date.now() + 2000, take(await answer.text())];
    const reader = asks || refused ? null : answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = "", done = !reader, value; !done; ) {
      ({ done, value = "" } = await reader.read());
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of own === call ? parts : []) take(part.replace(/^data: |^:$/, ""));
    }
  } catch {
    if (own === call) lose((asks = false));
  }
  if (own === call) call = null;
  if (refused) say(refused, true);
}

function stop() {
  call?.abort();
  call = null;
}

function beat() {
  if (document.hidden || paused || refused) return stop();
  const isSilent = heard < begun;
  if (call && Date.now() - (isSilent ? begun : heard) > (isSilent ? SILENT_MS : LATE_MS)) {
    asks = isSilent && !asks;
    stop();
    if (!asks) lose();
  }
  if (!call && Date.now() >= next) follow();
}

// Pages in other tabs learn at once that the session is over.
document.querySelector("[data-sign-out]")?.addEventListener("submit", () => kept("out", String(Date.now())));
if (stream) {
  pill.addEventListener("click", () => {
    if (refused) return location.reload();
    paused = !paused;
    say(paused ? "Paused" : "Live", false);
    beat();
  });
  document.addEventListener("visibilitychange", () => beat((refused = "")));
  addEventListener("pagehide", stop);
  addEventListener("storage", ({ key }) => key === "aegis-out" && setTimeout(stop, 1000)); // signed out in another tab
  const point = ({ target }) => ([aimed, pointed] = [performance.now(), target]);
  for (const name of ["pointermove", "pointerdown"]) document.addEventListener(name, point);
  setInterval(beat, 1000);
  beat();
}
