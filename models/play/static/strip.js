// The strip of past frames to click on, the slider over all of them, and the branches that were left.
import { icon, make } from "./ask.js";

const KEPT = 400, THUMB_WIDTH = 96, MOST_BRANCHES = 12;

export class Strip {
  // tree; on.go(node); on.urlOf(node): address of a frame's PNG
  constructor(tree, { strip, scrub, branches }, on) {
    Object.assign(this, { tree, strip, scrub, branchBox: branches, on });
    this.thumbs = new Map();   // id -> canvas, the newest last
    this.shown = [];
    this.scheduled = false;
    scrub.addEventListener("input", () => {
      const node = tree.path[Number(scrub.value)];
      if (node) this.on.go(node);
    });
    new ResizeObserver(() => this.later()).observe(strip);
  }
  clear() {
    this.thumbs.clear();
    this.shown = [];
    this.strip.replaceChildren();
    this.branchBox.replaceChildren();
    this.later();
  }
  // Keep a small picture of a frame that was just drawn.
  keep(id, bitmap) {
    if (this.thumbs.has(id)) return;
    const canvas = make("canvas", { width: THUMB_WIDTH, height: Math.round(THUMB_WIDTH * bitmap.height / bitmap.width) });
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    this.note(id, canvas);
  }
  note(id, canvas) {
    this.thumbs.set(id, canvas);
    if (this.thumbs.size > KEPT) this.thumbs.delete(this.thumbs.keys().next().value);
  }
  thumb(node) {
    const kept = this.thumbs.get(node.id);
    if (kept) return kept;
    const canvas = make("canvas", { width: THUMB_WIDTH, height: 54 }), image = new Image();
    image.onload = () => {
      canvas.height = Math.round(THUMB_WIDTH * image.naturalHeight / image.naturalWidth);
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    };
    image.src = this.on.urlOf(node);
    this.note(node.id, canvas);
    return canvas;
  }
  // once per painted frame at most
  later() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => { this.scheduled = false; this.paint(); });
  }
  paint() {
    const { tree, scrub } = this, { path, current } = tree;
    scrub.max = Math.max(0, path.length - 1);
    scrub.value = current?.place ?? 0;
    scrub.disabled = path.length < 2;
    scrub.setAttribute("aria-valuetext", `frame ${current?.t ?? 0} of ${path.at(-1)?.t ?? 0}`);
    this.paintStrip(path, current);
    this.paintBranches();
  }
  paintStrip(path, current) {
    const room = Math.max(4, Math.floor((this.strip.clientWidth + 4) / ((this.strip.firstElementChild?.offsetWidth || 72) + 4)));
    const place = current?.place ?? 0, ahead = Math.min(path.length - 1 - place, Math.floor(room / 3));
    const end = place + ahead + 1, nodes = path.slice(Math.max(0, end - room), Math.max(end, Math.min(room, path.length)));
    const kept = new Map(this.shown.map((box) => [box.node, box]));
    this.shown = nodes.map((node) => kept.get(node) ?? this.box(node));
    for (const box of this.shown) {
      box.classList.toggle("now", box.node === current);
      box.classList.toggle("ahead", box.node.place > place);
      const forks = box.node.children.length > 1;
      box.classList.toggle("fork", forks);
      box.title = `frame ${box.node.t}${forks ? ": branches begin here" : ""}${box.node.doubt?.guessing ? ": guessing" : ""}`;
      box.classList.toggle("guessing", Boolean(box.node.doubt?.guessing));
      if (box.node === current) box.setAttribute("aria-current", "true"); else box.removeAttribute("aria-current");
    }
    const old = [...this.strip.children];
    if (old.length !== this.shown.length || old.some((box, index) => box !== this.shown[index])) this.strip.replaceChildren(...this.shown);
  }
  box(node) {
    const sign = node.t === 0 || node.action === null || node.action < 0 ? "start" : String(node.action + 1);
    const box = make("button", { type: "button", className: "past", tabIndex: -1 }, this.thumb(node),
      make("small", {}, make("span", { textContent: node.t }), icon("branch"), make("kbd", { textContent: sign })));
    box.setAttribute("aria-label", `go to frame ${node.t}`);
    box.node = node;
    box.addEventListener("click", () => this.on.go(node));
    return box;
  }
  paintBranches() {
    const all = this.tree.branches(), text = all.map(({ tip, fork }) => `${tip.id}/${fork?.id}`).join(" ");
    if (text === this.branchText) return;
    this.branchText = text;
    const buttons = all.slice(0, MOST_BRANCHES).map(({ tip, fork, length }) => {
      const words = `${length} ${length === 1 ? "frame" : "frames"} from frame ${fork?.t ?? 0}`;
      const box = make("button", { type: "button", className: "branch" }, this.copy(tip), make("span", { textContent: words }));
      box.setAttribute("aria-label", `return to the branch of ${words}`);
      box.addEventListener("click", () => this.on.go(tip));
      return box;
    });
    const more = all.length - buttons.length;
    this.branchBox.replaceChildren(...(buttons.length ? [make("h3", { textContent: all.length === 1 ? "1 other branch" : `${all.length} other branches` })] : []),
      ...buttons, ...(more > 0 ? [make("span", { className: "hint", textContent: `and ${more} older` })] : []));
  }
  copy(node) {
    const from = this.thumb(node), copy = make("canvas", { width: from.width, height: from.height });
    copy.getContext("2d").drawImage(from, 0, 0);
    return copy;
  }
}
