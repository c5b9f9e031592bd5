// Runs before the first paint, so that the chosen theme and language don't flash. Everything else is in main.js.
try {
  const theme = localStorage.getItem("runbell.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is forbidden in this browser: the system's theme stays.
}
