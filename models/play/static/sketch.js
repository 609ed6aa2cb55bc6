// Draw a start frame: the world's colours, brushes, fill, undo; with the pointer or with the keys.
import { askJson, make } from "./ask.js";

const SIZES = [1, 2, 4, 10], MOST_UNDO = 100;
const PLAIN = ["#000000", "#ffffff", "#888888", "#d03030", "#f0a030", "#f0e050", "#40a040", "#3070d0"];

export class Sketch {
  // on.use(blob): returns why it cannot be used, or ""; on.current(): the picture on the screen, a canvas
  constructor({ dialog, canvas, cursor, palette, brushes, said, current, cancel, use }, on) {
    Object.assign(this, { dialog, canvas, cursor, palette, brushes, said, on });
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.colours = [];
    this.size = 4;
    this.tool = "brush";
    this.at = { x: 0, y: 0 };
    this.undone = [];
    this.past = [];
    this.tools();
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { this.last = null; });
    canvas.addEventListener("pointerleave", () => { cursor.hidden = true; });
    dialog.addEventListener("keydown", (event) => this.key(event));
    current.addEventListener("click", () => this.fromCurrent());
    cancel.addEventListener("click", () => dialog.close());
    use.addEventListener("click", () => this.use());
  }
  async open(width, height) {
    if (this.canvas.width !== width || this.canvas.height !== height || !this.colours.length) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.canvas.style.aspectRatio = `${width} / ${height}`;
      this.past = [];
      await this.loadPalette();
      this.clear();
      this.past = [];
    }
    this.at = { x: Math.floor(width / 2), y: Math.floor(height / 2) };
    this.say("");
    this.dialog.showModal();
    this.canvas.focus();
  }
  async loadPalette() {
    let note = "";
    try {
      this.colours = await askJson("api/palette");
    } catch (error) {
      this.colours = PLAIN;
      note = `These are plain colours, not the world's own: ${error.message}`;
    }
    this.palette.replaceChildren(...this.colours.map((colour) => {
      const button = make("button", { type: "button", title: colour });
      button.style.background = colour;
      button.setAttribute("role", "radio");
      button.setAttribute("aria-label", colour);
      button.addEventListener("click", () => this.choose(colour));
      return button;
    }));
    this.choose(this.colours[Math.min(1, this.colours.length - 1)]);
    this.note = note;
  }
  choose(colour) {
    this.colour = colour;
    this.colours.forEach((one, index) => this.palette.children[index].setAttribute("aria-checked", String(one === colour)));
  }
  tools() {
    const button = (label, run, name) => {
      const made = make("button", { type: "button", textContent: label });
      if (name) made.dataset.tool = name;
      made.addEventListener("click", run);
      return made;
    };
    this.brushes.replaceChildren(
      ...SIZES.map((size) => button(`${size} px`, () => { this.size = size; this.tool = "brush"; this.mark(); }, `brush ${size}`)),
      button("Fill", () => { this.tool = "fill"; this.mark(); }, "fill"),
      button("Pick", () => { this.tool = "pick"; this.mark(); }, "pick"),
      make("span", { className: "gap" }),
      button("Undo", () => this.undo()), button("Redo", () => this.redo()), button("Clear", () => this.clear()));
    this.mark();
  }
  mark() {
    const chosen = this.tool === "brush" ? `brush ${this.size}` : this.tool;
    for (const button of this.brushes.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", String(button.dataset.tool === chosen));
  }

  // -- what can be undone
  remember() {
    this.past.push(this.pixels());
    if (this.past.length > MOST_UNDO) this.past.shift();
    this.undone = [];
  }
  pixels() { return this.context.getImageData(0, 0, this.canvas.width, this.canvas.height); }
  undo() { swap(this.past, this.undone, this); }
  redo() { swap(this.undone, this.past, this); }
  clear() {
    this.remember();
    this.context.fillStyle = this.colours[0];
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }
  fromCurrent() {
    this.remember();
    this.context.drawImage(this.on.current(), 0, 0, this.canvas.width, this.canvas.height);
  }

  // -- the pointer
  point(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: Math.floor((event.clientX - box.left) * this.canvas.width / box.width), y: Math.floor((event.clientY - box.top) * this.canvas.height / box.height) };
  }
  down(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.at = this.point(event);
    this.apply();
    if (this.tool === "brush") this.last = this.at;
  }
  move(event) {
    this.at = this.point(event);
    this.showCursor();
    if (!this.last) return;
    const { last, at } = this, steps = Math.max(Math.abs(at.x - last.x), Math.abs(at.y - last.y), 1);
    for (let step = 1; step <= steps; step++) this.dab(last.x + (at.x - last.x) * step / steps, last.y + (at.y - last.y) * step / steps);
    this.last = at;
  }
  // what the tool does where the brush is
  apply() {
    if (this.tool === "pick") { this.pick(); return; }
    this.remember();
    if (this.tool === "fill") this.fill(); else this.dab(this.at.x, this.at.y);
  }
  dab(x, y) {
    this.context.fillStyle = this.colour;
    this.context.fillRect(Math.round(x - (this.size - 1) / 2), Math.round(y - (this.size - 1) / 2), this.size, this.size);
  }
  pick() {
    const [red, green, blue] = this.context.getImageData(this.at.x, this.at.y, 1, 1).data;
    const far = (colour) => [1, 3, 5].reduce((sum, at, index) => sum + (parseInt(colour.slice(at, at + 2), 16) - [red, green, blue][index]) ** 2, 0);
    this.choose([...this.colours].sort((a, b) => far(a) - far(b))[0]);
    this.tool = "brush";
    this.mark();
  }
  // the connected region of one colour
  fill() {
    const { width, height } = this.canvas, image = this.pixels(), words = new Uint32Array(image.data.buffer);
    const start = this.at.y * width + this.at.x, old = words[start];
    this.dabPixel(this.at);
    const fresh = new Uint32Array(this.pixels().data.buffer)[start];
    if (old === undefined || old === fresh) return;
    const left = [start];
    while (left.length) {
      const at = left.pop();
      if (words[at] !== old) continue;
      words[at] = fresh;
      const x = at % width;
      if (x > 0) left.push(at - 1);
      if (x < width - 1) left.push(at + 1);
      if (at >= width) left.push(at - width);
      if (at < width * (height - 1)) left.push(at + width);
    }
    this.context.putImageData(image, 0, 0);
  }
  dabPixel({ x, y }) {
    this.context.fillStyle = this.colour;
    this.context.fillRect(x, y, 1, 1);
  }

  // -- the keys
  key(event) {
    if (event.target !== this.canvas && !(event.ctrlKey || event.metaKey)) return;
    const step = event.shiftKey ? 10 : 1;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.code];
    if ((event.ctrlKey || event.metaKey) && event.code === "KeyZ") { if (event.shiftKey) this.redo(); else this.undo(); }
    else if (moves) {
      this.at = { x: clamp(this.at.x + moves[0], this.canvas.width), y: clamp(this.at.y + moves[1], this.canvas.height) };
      this.showCursor();
    } else if (event.code === "Space") this.apply();
    else if (event.code === "KeyF") { this.remember(); this.fill(); }
    else return;
    event.preventDefault();
  }
  showCursor() {
    const { canvas, cursor, size, at } = this, scale = canvas.clientWidth / canvas.width;
    cursor.hidden = false;
    const side = (this.tool === "brush" ? size : 1) * scale;
    Object.assign(cursor.style, { width: `${side}px`, height: `${side}px`,
      left: `${canvas.offsetLeft + (at.x + 0.5) * scale - side / 2}px`, top: `${canvas.offsetTop + (at.y + 0.5) * scale - side / 2}px` });
  }

  async use() {
    const blob = await new Promise((done) => this.canvas.toBlob(done, "image/png"));
    const why = await this.on.use(blob);
    if (why) this.say(why); else this.dialog.close();
  }
  say(text) { this.said.textContent = text || this.note || ""; }
}

function swap(from, to, sketch) {
  const image = from.pop();
  if (!image) return;
  to.push(sketch.pixels());
  sketch.context.putImageData(image, 0, 0);
}
function clamp(value, size) { return Math.max(0, Math.min(size - 1, value)); }
