// Checks a field when somebody leaves it, by the words of a test. Without it, or when the service does not answer, the test checks.
const form = document.querySelector("[data-check]");

form.addEventListener("focusout", async ({ target }) => {
  const told = document.getElementById(`p-${target.name}`);
  if (!told) return;
  const { name, value } = target;
  const body = new URLSearchParams([...new FormData(form), ["field", name]]);
  const answer = value && (await fetch(form.dataset.check, { method: "POST", body }).catch(() => ({})));
  const { problem } = answer.ok && !answer.redirected ? await answer.json() : { problem: value && null };
  if (problem === null || target.value !== value) return;
  document.querySelector("[data-announce]").textContent = told.textContent = problem;
  target.setAttribute("aria-invalid", String(problem !== ""));
});
