// Dark or light: as the system says, or as the button says; kept in this browser.
const NAMES = { "": "System", dark: "Dark", light: "Light" }, KEY = "lampworks-play/theme";

export function stored(key) {
  try { return localStorage.getItem(key); } catch { return null; }   // storage may be forbidden for this page
}
export function store(key, value) {
  try {
    if (value === null) localStorage.removeItem(key); else localStorage.setItem(key, value);
    return true;
  } catch { return false; }
}

export function theme(button, name, changed) {
  const order = Object.keys(NAMES);
  let chosen = order.includes(stored(KEY)) ? stored(KEY) : "";
  const show = () => {
    document.documentElement.dataset.theme = chosen;
    name.textContent = NAMES[chosen];
    button.setAttribute("aria-label", `colours: ${NAMES[chosen].toLowerCase()}`);
    changed();
  };
  button.addEventListener("click", () => {
    chosen = order[(order.indexOf(chosen) + 1) % order.length];
    store(KEY, chosen || null);
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  show();
}
