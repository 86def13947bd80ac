// Adds to pages that work without it.
import { kept } from "./display.js";
import "./copy.js";
import "./live.js";
import "./shortcuts.js";

for (const one of document.querySelectorAll("[data-focus]")) one.focus();

// A link that somebody would press again and again: "Look again".
for (const one of document.querySelectorAll("a[data-reload]")) {
  setTimeout(() => location.replace(one.href), Number(one.dataset.reload) * 1000);
}

// Seconds to wait count down; the page itself never sends anything again.
for (const one of document.querySelectorAll("[data-countdown]")) {
  const end = Date.now() + Number(one.dataset.countdown) * 1000;
  setInterval(() => (one.textContent = String(Math.max(0, Math.ceil((end - Date.now()) / 1000)))), 1000);
}

// Pages in other tabs learn at once that the session is over.
document.querySelector("[data-sign-out]")?.addEventListener("submit", () => kept("out", String(Date.now())));
