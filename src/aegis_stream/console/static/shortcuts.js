// Single keys; the dialog that lists them is also what they do. They are off while somebody types, and can be switched off.
import { kept } from "./display.js";

const dialog = document.querySelector("[data-help]");
const isOn = dialog.querySelector("input");
const keys = [...dialog.querySelectorAll("[data-to]")]; // those without data-keys are the browser's own
let before = { text: "", at: 0 }; // the first of two keys

// Opens a page, ticks a box, or goes to a field or button: what changes something is never pressed.
function go(element) {
  if (element?.matches("a[href], [data-open-help], [data-status], [data-zone], [data-select-all]")) return element.click();
  element?.scrollIntoView({ block: "center" });
  element?.focus();
}

function step(by) {
  const rows = [...document.querySelectorAll("[data-row]")].filter((row) => row.querySelector("a[href]"));
  const now = rows.findIndex((row) => row.contains(document.activeElement));
  rows[Math.min(rows.length - 1, Math.max(0, now + by))]?.querySelector("a[href]").focus();
}

function press(event) {
  const { key, target, ctrlKey, metaKey, altKey } = event;
  const search = (ctrlKey || metaKey) && key === "k" && document.querySelector("[data-search]");
  if (key === "Escape" && target.matches("[data-search]")) return target.blur();
  if (dialog.open || (!search && (ctrlKey || metaKey || altKey || !isOn.checked || target.matches(dialog.dataset.typed)))) return;
  const text = Date.now() - before.at < 1500 ? before.text + key : key;
  before = { text: key === "g" ? "g " : "", at: Date.now() };
  const entry = keys.find(({ dataset }) => dataset.keys === text && document.querySelector(dataset.to));
  if (!search && !entry) return;
  event.preventDefault();
  if (search) go(search);
  else if (text === "j" || text === "k") step(text === "j" ? 1 : -1);
  else if (text === "x") document.activeElement.closest("[data-row]")?.querySelector("[data-select]")?.click();
  else go(document.querySelector(entry.dataset.to));
}

isOn.checked = kept("keys") !== "off";
isOn.addEventListener("change", () => kept("keys", isOn.checked ? "on" : "off"));
document.querySelector("[data-open-help]").addEventListener("click", () => {
  for (const { dataset, parentElement } of keys) parentElement.hidden = !document.querySelector(dataset.to);
  dialog.showModal();
});
document.addEventListener("keydown", press);
