// How long a frame takes from the key to the screen, and what of it.
import { make } from "./ask.js";

const PARTS = [["wait", "waiting for its turn"], ["dynamics", "dynamics"], ["decode", "decoder"], ["encode", "PNG"], ["doubt", "doubt"], ["rest", "connection and page"]];
const KEPT = 30;

export class Times {
  constructor({ fps, ms, bar, list }) {
    Object.assign(this, { fps, ms, bar, list });
    this.bar.replaceChildren(...PARTS.map(([name]) => make("i", { className: name })));
    this.clear();
  }
  clear() {
    this.arrived = [];
    this.fps.textContent = this.ms.textContent = "-";
  }
  // parts: the server's milliseconds; seen: milliseconds from the press to the drawn frame, null for a frame of a hold
  note(parts, seen) {
    const now = performance.now();
    this.arrived.push(now);
    while (this.arrived.length > KEPT || now - this.arrived[0] > 2000) this.arrived.shift();
    if (this.arrived.length > 1) this.fps.textContent = ((this.arrived.length - 1) * 1000 / (now - this.arrived[0])).toFixed(1);
    if (!parts) return;
    const total = seen ?? parts.total;
    this.ms.textContent = Math.round(total);
    this.last = { ...parts, rest: seen === null ? 0 : Math.max(0, seen - parts.total), seen };
    if (this.bar.checkVisibility?.() ?? true) this.paint();
  }
  paint() {
    if (!this.last) return;
    const { last } = this, sum = PARTS.reduce((all, [name]) => all + (last[name] ?? 0), 0) || 1;
    PARTS.forEach(([name], index) => { this.bar.children[index].style.flexGrow = Math.max(0, (last[name] ?? 0) / sum); });
    const parts = PARTS.filter(([name]) => name !== "doubt" || last.doubt !== undefined);
    this.list.replaceChildren(...parts.flatMap(([name, words]) => [make("dt", { className: name, textContent: words }),
      make("dd", { textContent: `${(last[name] ?? 0).toFixed(1)} ms` })]),
      make("dt", { textContent: last.seen === null ? "all, at the server" : "all, key to frame" }),
      make("dd", { textContent: `${(last.seen ?? last.total).toFixed(1)} ms` }));
  }
}
