// The on-screen pad: the actions where a thumb expects them, by the keys that play them.
import { make } from "./ask.js";
import { bindPointer, grouped, wordsOf } from "./actions.js";

const ARROWS = { "0,0": "•", "-1,0": "←", "1,0": "→", "0,-1": "↑", "0,1": "↓", "-1,-1": "↖", "1,-1": "↗", "-1,1": "↙", "1,1": "↘" };

// Where an action belongs: [-1..1, -1..1], right and down; null where nothing is known of it.
export function place(action) {
  const chord = (action.keys ?? []).find((one) => one.includes("Arrow"));
  if (chord) {
    const has = (key) => Number(chord.split("+").includes(key));
    return [has("ArrowRight") - has("ArrowLeft"), has("ArrowDown") - has("ArrowUp")];
  }
  for (const [at, arrow] of Object.entries(ARROWS)) if (action.symbol === arrow) return at.split(",").map(Number);
  return null;
}

export function buildPad(box, actions, on) {
  const cells = new Map(), rest = [];
  for (const [action] of grouped(actions)) {
    const at = place(action)?.join(",");
    if (at === undefined || cells.has(at)) rest.push(action); else cells.set(at, action);
  }
  const button = (action, sign) => {
    const made = make("button", { type: "button", className: "thumb", tabIndex: -1 },
      make("b", { textContent: sign }), make("small", { textContent: wordsOf(action) }));
    made.dataset.code = action.code;
    made.setAttribute("aria-label", `action ${action.code + 1}: ${wordsOf(action)}`);
    bindPointer(made, action.code, on);
    return made;
  };
  const grid = make("div", { className: "cross" });
  const rows = [-1, 0, 1].filter((down) => [-1, 0, 1].some((right) => cells.has(`${right},${down}`)));
  for (const down of rows)
    for (const right of [-1, 0, 1]) {
      const at = `${right},${down}`;
      grid.append(cells.has(at) ? button(cells.get(at), ARROWS[at]) : make("span"));
    }
  const others = make("div", { className: "others" }, ...rest.map((action) => button(action, String(action.code + 1))));
  box.replaceChildren(...(rows.length ? [grid] : []), ...(rest.length ? [others] : []));
}

export function markPad(box, code) {
  for (const button of box.querySelectorAll("[data-code]")) button.classList.toggle("down", Number(button.dataset.code) === code);
}
