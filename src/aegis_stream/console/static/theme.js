// Before anything is painted: the colours that the reader has chosen in this browser.
try {
  const theme = localStorage.getItem("aegis-theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {}
