// A button beside each command, query and link that somebody takes elsewhere.
for (const one of document.querySelectorAll("[data-copy], [data-copy-link]")) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "quiet copy", textContent: "Copy" });
  button.addEventListener("click", async () => {
    // Without TLS, other than on this machine, a page may not write: then the text is selected, for Ctrl-C.
    const done = navigator.clipboard?.writeText(one.href ?? one.textContent).then(() => "Copied", () => "");
    button.textContent = (await done) || "Press Ctrl-C";
    if (button.textContent !== "Copied") getSelection().selectAllChildren(one);
    setTimeout(() => (button.textContent = "Copy"), 3000);
  });
  one.before(button);
}
