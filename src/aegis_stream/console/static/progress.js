// Moves the bars of jobs and replays while the page is seen. Without it the page says how far they were when it was opened.
const running = new Set(document.querySelectorAll('[data-progress][data-state="running"]'));

async function look(one) {
  const answer = await fetch(one.dataset.progress, { headers: { accept: "application/json" } });
  if (answer.status === 401 || answer.redirected) return running.clear();
  if (!answer.ok) return;
  const { state, done, total, text } = await answer.json();
  const bar = one.querySelector("progress");
  bar.max = Math.max(total, 1);
  bar.value = done;
  one.querySelector("[data-text]").textContent = text;
  if (state === "running") return;
  one.querySelector("[data-word]").textContent = state;
  one.querySelector("form")?.remove();
  running.delete(one);
}

async function turn() {
  if (!document.hidden) await Promise.all([...running].map((one) => look(one).catch(() => {})));
  if (running.size) setTimeout(turn, 1000);
}
if (running.size) setTimeout(turn, 500);

// Beside a field of date and time in UTC, the same in the reader's own zone; who types there means that range.
for (const field of document.querySelectorAll("input[data-utc]")) {
  const told = document.createElement("p");
  told.className = "help";
  field.after(told);
  const tell = () => {
    const at = new Date(`${field.value}Z`);
    told.textContent = Number.isNaN(at.getTime()) ? "" : `${at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" })} where you are`;
  };
  field.addEventListener("input", () => {
    tell();
    for (const own of document.querySelectorAll('input[name="range"][value="own"]')) own.checked = true;
  });
  tell();
}
