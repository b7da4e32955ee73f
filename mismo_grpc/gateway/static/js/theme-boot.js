// Runs before the first paint, so that a chosen theme does not flash; ui/theme.js has the rest.
try {
  const theme = JSON.parse(localStorage.getItem("mismo.theme") ?? '""');
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  // Without storage the system's theme stays.
}
