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
