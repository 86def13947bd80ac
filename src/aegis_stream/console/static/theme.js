// Before anything is painted: the colours that the reader has chosen in this browser.
try {
  document.documentElement.dataset.theme = localStorage.getItem("aegis-theme") ?? "";
} catch {}
