// What a game starts from: held-out frames, and pictures that are chosen, dropped, pasted or drawn.
import { ask, make } from "./ask.js";

const MOST_BYTES = 16 * 1024 * 1024;

export class Starts {
  // on.start(name)
  constructor({ held, heldTitle, pictures, said, file, upload, fit, drop }, on) {
    Object.assign(this, { held, heldTitle, pictures, said, fit, drop, on });
    this.own = [];          // { name, url, blob, fit, title, known }: pictures of this page, the newest first
    this.buttons = new Map();
    upload.addEventListener("click", () => file.click());
    file.addEventListener("change", () => { this.take(file.files); file.value = ""; });
    fit.addEventListener("change", () => this.refit());
    addEventListener("paste", (event) => {
      const files = [...event.clipboardData?.files ?? []];
      if (files.length) { event.preventDefault(); this.take(files); }
    });
    let depth = 0;   // dragenter and dragleave come for every element on the way
    const over = (change) => { depth = Math.max(0, depth + change); drop.classList.toggle("on", depth > 0); };
    addEventListener("dragenter", (event) => { if (hasFiles(event)) over(1); });
    addEventListener("dragleave", (event) => { if (hasFiles(event)) over(-1); });
    addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
    addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth = 0;
      over(0);
      this.take(event.dataTransfer.files);
    });
  }
  build(starts) {
    this.held.replaceChildren();
    this.buttons.clear();
    for (const start of starts) this.held.append(this.button(start, `held-out frame ${this.buttons.size + 1}`));
    this.heldTitle.hidden = !starts.length;
    for (const own of this.own) this.buttons.set(own.name, own.button);
    this.mark(this.marked);
  }
  button(start, title) {
    const image = make("img", { src: start.url, alt: "", draggable: false, decoding: "async" });
    const about = start.known?.sentence ?? "";
    const button = make("button", { type: "button", className: "start", title: start.clip_id ?? title }, image,
      ...(about ? [make("small", { textContent: about })] : []));
    button.setAttribute("aria-label", `start from ${title}${about ? `: ${about}` : ""}`);
    button.addEventListener("click", () => { button.blur(); this.on.start(start.name); });
    this.buttons.set(start.name, button);
    return button;
  }
  mark(name) {
    this.marked = name;
    for (const [of, button] of this.buttons) button.setAttribute("aria-pressed", String(of === name));
  }
  get chosenFit() { return this.fit.querySelector("input:checked").value; }

  async take(files) {
    const [file] = files;
    if (!file) return;
    if (files.length > 1) { this.say("One picture at a time: choose one of them.", true); return; }
    await this.upload(file, this.chosenFit, file.name ? `the picture ${file.name}` : "a pasted picture");
  }
  // Send a picture and start from it; return why not, or "".
  async upload(blob, fit, title) {
    if (blob.size > MOST_BYTES) return this.say(`The picture has ${(blob.size / 1e6).toFixed(0)} MB; the most is 16 MB.`, true);
    this.say("Reading the picture.");
    let found;
    try {
      found = await this.send(blob, fit);
    } catch (error) { return this.say(error.message, true); }
    this.own = this.own.filter((one) => one.name !== found.name);
    const own = { ...found, blob, fit, title };
    own.button = this.button(own, title);
    this.own.unshift(own);
    this.pictures.prepend(own.button);
    this.pictures.hidden = false;
    this.say(found.known?.sentence ?? "");
    this.on.start(found.name);
    return "";
  }
  async send(blob, fit) {
    const answer = await ask(`api/pictures?fit=${fit}`, { method: "POST", body: blob, headers: { "content-type": blob.type || "application/octet-stream" } });
    return answer.json();
  }
  // the last picture once more, cropped or padded as it is chosen now
  async refit() {
    const own = this.own.find((one) => one.name === this.marked);
    if (own && own.fit !== this.chosenFit) {
      own.button.remove();
      await this.upload(own.blob, this.chosenFit, own.title);
    }
  }
  // A server that was started again has no pictures: send this one again, and return its new name.
  async again(name) {
    const own = this.own.find((one) => one.name === name);
    if (!own) return name;
    const found = await this.send(own.blob, own.fit);
    this.buttons.delete(own.name);
    Object.assign(own, found);
    const fresh = this.button(own, own.title);
    own.button.replaceWith(fresh);
    own.button = fresh;
    return own.name;
  }
  say(text, isError = false) {
    this.said.textContent = text;
    this.said.classList.toggle("error", isError);
    return isError ? text : "";
  }
}

function hasFiles(event) { return [...event.dataTransfer?.types ?? []].includes("Files"); }
