// Moves the token of a console link from the address into the form, and out of the address: opening the page sends it to nobody.
const form = document.querySelector("[data-link]");

function take() {
  const token = location.hash.slice(1);
  if (!token) return;
  form.querySelector("[name=token]").value = token;
  form.dataset.link = "taken";
  history.replaceState(null, "", location.pathname);
  form.querySelector("button").focus();
}

take();
addEventListener("hashchange", take); // another link, opened in the same tab
