// Runs before the first paint, so that a chosen theme never flashes in the other one.
// A file of its own because the content security policy allows no inline script.
(function () {
  try {
    var chosen = localStorage.getItem("loopyard.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch (_) {
    // Storage is refused (private window): the system's theme stays.
  }
})();
