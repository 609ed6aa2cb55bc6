// The list of actions: what each does, which keys play it, and the keys that a person sets.
import { make } from "./ask.js";
import { chordName, keyName } from "./keymap.js";

export class Actions {
  // on: { down(pointer, code), up(pointer), say(text), changed() }
  constructor(box, reset, on) {
    this.box = box;
    this.reset = reset;
    this.on = on;
    this.rows = new Map();
    this.capture = null;
    reset.addEventListener("click", () => { this.on.say(this.keymap.reset() || "The keys are the world's own again."); this.paint(); });
  }
  build(actions, keymap) {
    this.keymap = keymap;
    this.actions = actions;
    this.rows.clear();
    this.box.replaceChildren();
    for (const group of grouped(actions)) {
      const part = make("div", { className: "group" });
      if (group.length > 1) part.setAttribute("aria-label", "actions of equal effect");
      for (const action of group) part.append(this.row(action, group.length > 1 && action !== group[0]));
      this.box.append(part);
    }
    this.paint();
  }
  row(action, isTwin) {
    const play = make("button", { className: "key", type: "button", tabIndex: -1 },
      make("kbd", { textContent: action.code + 1 }), make("span", { className: "symbol", textContent: action.symbol ?? "" }),
      make("span", { className: "does" }, make("span", { textContent: wordsOf(action) }), make("small", { textContent: detailOf(action) })));
    play.dataset.code = action.code;
    play.setAttribute("aria-label", `action ${action.code + 1}: ${wordsOf(action)}`);
    bindPointer(play, action.code, this.on);
    const keys = make("button", { className: "chords", type: "button" });
    keys.addEventListener("click", () => this.listen(action, keys));
    const row = make("div", { className: isTwin ? "action twin" : "action" }, play, keys);
    this.rows.set(action.code, { play, keys, row });
    return row;
  }
  paint() {
    this.reset.hidden = !this.keymap.isChanged;
    for (const [code, { keys }] of this.rows) {
      const chords = this.keymap.shownOf(code);
      keys.replaceChildren(...(chords.length ? chords.slice(0, 2).map((chord) => make("kbd", { textContent: chordName(chord) })) : [make("span", { textContent: "set" })]));
      keys.setAttribute("aria-label", `keys of action ${code + 1}: ${chords.map(chordName).join(", ") || "none but its number"}; click to change`);
      keys.title = "Click, then press a key or several at once";
    }
    this.on.changed();
  }
  mark(code) {
    for (const [of, { play }] of this.rows) play.classList.toggle("down", of === code);
  }

  // -- the next keys that are pressed become the action's
  listen(action, button) {
    this.cancel();
    this.capture = { action, button, keys: [], down: new Set() };
    button.classList.add("listens");
    button.replaceChildren(make("span", { textContent: "press a key" }));
    this.on.say(`Press the key, or several at once, for action ${action.code + 1}. Escape leaves it as it is.`);
  }
  get listens() { return this.capture !== null; }
  key(event) {
    const { capture } = this;
    event.preventDefault();
    if (event.code === "Escape") { this.cancel(); this.on.say(""); return; }
    if (event.type === "keydown") {
      if (!event.repeat && !capture.keys.includes(event.code)) capture.keys.push(event.code);
      capture.down.add(event.code);
      capture.button.replaceChildren(make("span", { textContent: capture.keys.map(keyName).join(" ") }));
      return;
    }
    if (!capture.down.has(event.code)) return;   // it was down before
    const why = this.keymap.change(capture.action.code, capture.keys);
    const name = capture.keys.map(keyName).join(" ");
    this.cancel();
    this.on.say(why || `${name} plays action ${capture.action.code + 1} from now on.`);
  }
  cancel() {
    if (this.capture === null) return;
    this.capture.button.classList.remove("listens");
    this.capture = null;
    this.paint();
  }
}

export function bindPointer(button, code, on) {
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();   // no focus, no selection, no scrolling: the finger plays
    button.setPointerCapture(event.pointerId);
    on.down(`pointer ${event.pointerId}`, code);
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"])
    button.addEventListener(end, (event) => on.up(`pointer ${event.pointerId}`));
  button.addEventListener("contextmenu", (event) => event.preventDefault());
  // Enter and a screen reader's click have no pointer: one frame
  button.addEventListener("click", (event) => {
    if (event.detail !== 0) return;
    on.down("click", code);
    on.up("click");
  });
}

// Actions of equal effect side by side, the one with an effect of its own first.
export function grouped(actions) {
  const groups = new Map();
  for (const action of actions) {
    const name = action.group ?? action.twin_of ?? action.code;
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(action);
  }
  const isTwin = (action) => (action.twin_of ?? null) !== null;
  return [...groups.values()].map((group) => group.sort((a, b) => isTwin(a) - isTwin(b) || a.code - b.code));
}

export function wordsOf(action) {
  if ((action.twin_of ?? null) !== null) return `same as ${action.twin_of + 1}`;
  return action.label || `action ${action.code + 1}`;
}
function detailOf(action) {
  const twin = (action.twin_of ?? null) !== null;
  return [twin ? "" : action.meant, !twin && action.effect_of_its_own === false ? "no effect of its own" : ""].filter(Boolean).join(", ");
}
