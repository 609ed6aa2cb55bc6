// Which keys play which action: the world's own choice by measured effect, and what a person changed in this browser.
import { store, stored } from "./theme.js";

const NAMES = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Space: "space", Enter: "enter",
  ShiftLeft: "shift", ShiftRight: "right shift", Comma: ",", Period: ".", Slash: "/", Semicolon: ";", Quote: "'",
  Minus: "-", Equal: "=", Backquote: "`", Backslash: "\\" };
// keys of the page itself; an action cannot have them
export const COMMANDS = { KeyP: "pause", KeyR: "restart", KeyL: "link", Period: "step", BracketLeft: "slower",
  BracketRight: "faster", Backspace: "back" };
const FIXED = new Set([...Object.keys(COMMANDS), "Escape", "Tab", "F5", "F11", "F12", "MetaLeft", "MetaRight",
  "ControlLeft", "ControlRight", "AltLeft", "AltRight"]);
const SAME = [["ArrowUp", "KeyW", "Space"], ["ArrowLeft", "KeyA"], ["ArrowRight", "KeyD"], ["ArrowDown", "KeyS"]];
const NUMBER = /^(Digit|Numpad)\d$/;
const SYMBOLS = { "→": "ArrowRight", "←": "ArrowLeft", "↓": "ArrowDown", "↑": "ArrowUp", "↗": "ArrowUp+ArrowRight",
  "↖": "ArrowUp+ArrowLeft", "↘": "ArrowDown+ArrowRight", "↙": "ArrowDown+ArrowLeft" };

export function keyName(code) {
  return NAMES[code] ?? code.replace(/^(Key|Digit)/, "").replace(/^Numpad/, "pad ");
}
// up and down first, as they are said
export function chordName(chord) {
  const isSide = (key) => SAME[1].includes(key) || SAME[2].includes(key);
  return chord.split("+").sort((a, b) => isSide(a) - isSide(b)).map(keyName).join(" ");
}

export class Keymap {
  // world: { actions, keys: { chord: action }, model }; each world has keys of its own
  constructor({ actions, keys = {}, model }) {
    this.key = `lampworks-play/keys/${model}`;
    this.own = new Map();
    // what is shown of an action's keys: those that ask for its very effect
    this.exact = new Set(actions.flatMap((action) => action.keys ?? []).map(sorted));
    for (const action of actions) {
      if (action.code < 9) for (const row of ["Digit", "Numpad"]) this.own.set(row + (action.code + 1), action.code);
      for (const chord of action.keys ?? []) if (!this.own.has(sorted(chord))) this.own.set(sorted(chord), action.code);
    }
    for (const [chord, code] of Object.entries(keys)) if (!this.own.has(sorted(chord))) this.own.set(sorted(chord), code);
    if (!this.exact.size) this.bySymbol(actions);
    const known = new Set(actions.map((action) => action.code));
    this.changed = new Map(Object.entries(read(this.key)).filter(([, code]) => code === null || known.has(code)));
    this.update();
  }
  // without measured keys an arrow plays the action that moves the view farthest in its direction
  bySymbol(actions) {
    const far = (action) => Math.abs(action.right) + Math.abs(action.down);
    for (const [symbol, key] of Object.entries(SYMBOLS)) {
      const [best] = actions.filter((action) => action.symbol === symbol).sort((a, b) => far(b) - far(a));
      if (best) for (const one of SAME.find((keys) => keys[0] === key) ?? [sorted(key)]) { this.own.set(one, best.code); this.exact.add(one); }
    }
  }
  update() {
    this.map = new Map([...this.own, ...this.changed].filter(([, code]) => code !== null));
    // keys that mean the same: those of one row above, unless a person gave one another meaning
    this.role = new Map();
    for (const [first, ...rest] of SAME)
      for (const key of rest) if (!this.changed.has(key) && (!this.own.has(key) || this.own.get(key) === this.own.get(first))) this.role.set(key, first);
    for (const [chord, code] of this.changed)
      for (const [first] of SAME) if (code !== null && !chord.includes("+") && this.own.get(first) === code) this.role.set(chord, first);
    this.chords = [...this.map].filter(([chord]) => chord.includes("+")).map(([chord, code]) => [chord.split("+"), code]);
  }
  // The action of the keys that are down, the newest last; null where none is an action's.
  actionOf(down) {
    const meant = new Set(down.flatMap((key) => [key, this.role.get(key) ?? key]));
    let best = null, most = 1;
    for (const [keys, code] of this.chords)
      if (keys.length > most && keys.every((key) => meant.has(key) || meant.has(this.role.get(key)))) { best = code; most = keys.length; }
    if (best !== null) return best;
    for (const key of [...down].reverse()) if (this.map.has(key)) return this.map.get(key);
    return null;
  }
  uses(key) { return this.map.has(key) || this.chords.some(([keys]) => keys.includes(key)) || this.role.has(key); }
  chordsOf(code) { return [...this.map].filter(([, of]) => of === code).map(([chord]) => chord); }
  // as they are shown: without the number, arrows first
  shownOf(code) {
    const own = this.chordsOf(code).filter((chord) => !NUMBER.test(chord) && (this.exact.has(chord) || this.changed.has(chord)));
    return own.sort((a, b) => b.split("Arrow").length - a.split("Arrow").length);
  }
  get isChanged() { return this.changed.size > 0; }

  // Give keys to an action, in place of those it had but its number; return why not, or "".
  change(code, keys) {
    const fixed = keys.find((key) => FIXED.has(key));
    if (fixed) return `${keyName(fixed)} is a key of the page itself: choose another one.`;
    if (keys.length > 3) return "That is more than three keys at once: choose fewer.";
    for (const chord of this.chordsOf(code)) if (!NUMBER.test(chord)) this.changed.set(chord, null);
    this.changed.set(sorted(keys.join("+")), code);
    return this.keep();
  }
  reset() {
    this.changed.clear();
    return this.keep();
  }
  keep() {
    this.update();
    const kept = store(this.key, this.isChanged ? JSON.stringify(Object.fromEntries(this.changed)) : null);
    return kept ? "" : "This browser keeps no settings of this page: the keys are as you set them until it is closed.";
  }
}

function sorted(chord) { return chord.split("+").sort().join("+"); }
function read(key) {
  try {
    const value = JSON.parse(stored(key) ?? "{}");
    return value && typeof value === "object" ? value : {};
  } catch { return {}; }   // not what this page wrote
}
