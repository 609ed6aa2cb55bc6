// The play page: what the server sends is shown, what a person does is sent.
import { Actions } from "./actions.js";
import { ask, askJson, sentence } from "./ask.js";
import { Doubt } from "./doubt.js";
import { Down, Hand } from "./hand.js";
import { COMMANDS, Keymap, chordName } from "./keymap.js";
import { buildPad, markPad } from "./pad.js";
import { Picture, save } from "./picture.js";
import { Sampling } from "./sampling.js";
import { Session } from "./session.js";
import { Sketch } from "./sketch.js";
import { Starts } from "./starts.js";
import { Strip } from "./strip.js";
import { theme } from "./theme.js";
import { Times } from "./times.js";
import { Tree } from "./tree.js";

const $ = (id) => document.getElementById(id);
const SPEEDS = [0.5, 1, 2, 4, 6, 8, 10, 12, 15, 20, 30, 60], SAID_MS = 6000, ROOT = 0;
let world = null, keymap = null, fps = 10, comparing = false;
const tree = new Tree(), picture = new Picture($("picture")), second = new Picture($("second"));
const times = new Times({ fps: $("fps"), ms: $("ms"), bar: $("parts"), list: $("part-list") });
const doubt = new Doubt({ light: $("light"), chip: $("guess"), box: $("doubt"), word: $("doubt-word"), graph: $("doubt-graph"), parts: $("doubt-parts"), live: $("live") });
const session = new Session({
  world: build, started, frame: showFrame, error: fail, settings: (values) => sampling.show(values),
  pruned: (ids) => tree.prune(ids), again: (name) => starts.again(name), state: showState,
});
const send = (message) => session.send(message);
const hand = new Hand(send);
const down = new Down(() => {
  const code = keymap === null ? null : down.action(keymap);
  if (code !== null && !session.plays) return;
  if (code !== null) fail("");
  hand.want(code);
  mark(code);
});
const strip = new Strip(tree, { strip: $("strip"), scrub: $("scrub"), branches: $("branches") }, { go, urlOf: (node) => session.pictureUrl(node.id) });
const sampling = new Sampling($("sliders"), $("reset-sampling"), { change: (values) => send({ type: "settings", ...values }) });
const pointer = { down: (id, code) => down.pointer(id, code), up: (id) => down.pointer(id, null) };
const actions = new Actions($("keys"), $("reset-keys"), { ...pointer, say, changed: describeKeys });
const starts = new Starts({ held: $("starts"), heldTitle: $("held-title"), pictures: $("pictures"), said: $("start-said"), file: $("file"), upload: $("upload"), fit: $("fit"), drop: $("drop") }, { start: begin });
const sketch = new Sketch({ dialog: $("sketcher"), canvas: $("easel"), cursor: $("cursor"), palette: $("palette"), brushes: $("brushes"), said: $("sketch-said"), current: $("sketch-current"), cancel: $("sketch-cancel"), use: $("sketch-use") },
  { use: (blob) => starts.upload(blob, "crop", "your sketch"), current: () => picture.canvas });

// -- what the server says
function build(about) {
  world = about;
  document.title = "Lampworks: play";
  $("note").textContent = world.note;
  fps = world.fps;
  document.documentElement.style.setProperty("--aspect", (world.width / world.height).toFixed(4));
  for (const { canvas } of [picture, second]) {
    // a canvas that is given a size is empty, even where it had this size
    if (canvas.width !== world.width || canvas.height !== world.height) Object.assign(canvas, { width: world.width, height: world.height });
    canvas.style.aspectRatio = `${world.width} / ${world.height}`;
  }
  keymap = new Keymap(world);
  actions.build(world.actions, keymap);
  buildPad($("pad"), world.actions, pointer);
  starts.build(world.starts);
  sampling.build(world.settings, world.limits);
  doubt.build(world.doubt);
  const models = world.models ?? [];
  $("model-box").hidden = models.length < 2;
  $("model").replaceChildren(...models.map((model) => new Option(model.title ?? model.model, model.model, false, model.model === world.model)));
  const idle = world.actions.find((action) => action.symbol === "•" && (action.twin_of ?? null) === null);
  $("runs-box").hidden = !idle;
  $("idle").textContent = idle ? `action ${idle.code + 1}` : "";
  $("runs").checked = false;
  hand.idle = null;
  setSpeed(fps, false);
}

function started(header) {
  delete document.body.dataset.t;
  hand.stop();
  times.clear();
  strip.clear();
  tree.load(header.nodes ?? []);
  starts.mark(header.start);
  if (header.settings) sampling.show(header.settings);
  if (fps !== world.fps) send({ type: "speed", fps });
  const held = header.start.startsWith("held_out:");
  if (!held) $("compare").value = "none";
  $("compare").disabled = !held;
  if ($("compare").value !== "none") compare();
  setPaused(false);
}

async function showFrame(header, [png, beside]) {
  const isPress = header.n !== null && header.n !== undefined, pressed = isPress ? hand.answered(header.n) : null;
  const [bitmap] = await Promise.all([png ? picture.show(png) : null, showSecond(header, beside)]);
  send({ type: "ack", node: header.node });
  tree.visit(header);
  if (bitmap) strip.keep(header.node, bitmap);
  if (isPress) times.note(header.ms, pressed === null ? null : performance.now() - pressed);
  strip.later();
  doubt.show(tree.current.doubt, tree.path.slice(Math.max(0, tree.current.place - 140), tree.current.place + 1));
  $("t").textContent = document.body.dataset.t = header.t;
  document.body.dataset.node = header.node;
  $("loading").hidden = true;
  $("back").disabled = !tree.before();
  $("forward").disabled = !tree.after();
}

async function showSecond(header, png) {
  const chosen = $("compare").value;
  document.body.dataset.compared = chosen === "none" ? "" : png ? chosen : "ended";
  // a frame without a press answers the wish; past the end of the clip it has no second picture
  if (png || header.n === null) comparing = false;
  $("other").hidden = chosen === "none" || comparing;
  if ($("other").hidden) return;
  $("second-name").textContent = png
    ? (chosen === "true" ? "The true clip" : "The world under the clip's inferred actions")
    : "The clip has ended here.";
  $("other").classList.toggle("ended", !png);
  if (png) await second.show(png);
}

function fail(text) {
  $("error").textContent = text;
  $("error").classList.toggle("on", text !== "");
  if (!text) return;
  hand.clear();
  // a comparison that was asked for last, and is refused
  if (comparing) $("compare").value = "none";
  comparing = false;
}
function showState(text, isGone) {
  $("gone").textContent = text;
  $("gone").classList.toggle("on", text !== "");
  document.body.classList.toggle("away", isGone);
  if (isGone) { hand.clear(); down.clear(); }
}
let sayTimer;
function say(text) {
  clearTimeout(sayTimer);
  $("said").textContent = text;
  if (text) sayTimer = setTimeout(() => { $("said").textContent = ""; }, SAID_MS);
}

// -- what a person does
function begin(start) {
  fail("");
  hand.stop();
  session.start({ start });
}
function go(node) {
  if (!node || !session.plays) return;
  fail("");
  hand.stop();
  send({ type: "go", node: node.id });
}
function compare() {
  comparing = true;
  send({ type: "compare", with: $("compare").value });
}
function setPaused(paused) {
  if (hand.paused !== paused) hand.pause(paused);
  $("paused").hidden = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").setAttribute("aria-label", paused ? "play on" : "pause");
  $("pause").querySelector("use").setAttribute("href", paused ? "#i-play" : "#i-pause");
}
function setSpeed(value, tell = true) {
  fps = hand.fps = value;
  $("speed").textContent = `${value} FPS`;
  if (tell) send({ type: "speed", fps });
}
function changeSpeed(by) {
  const faster = SPEEDS.filter((speed) => (by > 0 ? speed > fps : speed < fps));
  const next = by > 0 ? faster[0] : faster.at(-1);
  if (next !== undefined) setSpeed(next);
}
async function recording(kind, button) {
  if (!tree.current) return;
  button.disabled = true;
  say(`Making the ${kind.toUpperCase()}.`);
  try {
    save(await (await ask(`api/games/${session.game}/recording.${kind}?node=${tree.current.id}`)).blob(), `lampworks-${tree.current.t}.${kind}`);
    say(`Saved lampworks-${tree.current.t}.${kind}: ${tree.current.t + 1} frames.`);
  } catch (error) { say(""); fail(error.message); }
  button.disabled = false;
}
async function copyLink() {
  try {
    const { link, why } = await askJson(`api/games/${session.game}/link?node=${tree.current.id}`);
    if (!link) { fail(sentence(why)); return; }
    const url = location.href.replace(/#.*$/, "") + link;
    session.keepLink(link);
    try {
      await navigator.clipboard.writeText(url);
      say("Copied: the link plays this game up to this frame.");
    } catch { say("This browser does not let the page copy; the link is in the address bar."); }
  } catch (error) { fail(error.message); }
}
const commands = {
  pause: () => setPaused(!hand.paused), restart: () => { if (session.plays && tree.nodes.has(ROOT)) go(tree.nodes.get(ROOT)); else begin(session.at.start); },
  step: () => { setPaused(true); hand.tap(down.action(keymap) ?? hand.last ?? hand.idle ?? 0); }, slower: () => changeSpeed(-1), faster: () => changeSpeed(1),
  back: () => go(tree.before()), forward: () => go(tree.after()), link: copyLink,
};
function command(name) { if (session.plays || name === "restart") commands[name](); }
for (const name of ["pause", "restart", "step", "slower", "faster", "back", "forward"]) $(name).addEventListener("click", () => command(name));
$("copy-link").addEventListener("click", copyLink);
$("save-png").addEventListener("click", () => { if (picture.png) save(picture.png, `lampworks-${tree.current.t}.png`); });
for (const kind of ["mp4", "gif"]) $(`save-${kind}`).addEventListener("click", (event) => recording(kind, event.currentTarget));
$("compare").addEventListener("change", compare);
$("model").addEventListener("change", () => session.choose(world.models[$("model").selectedIndex]));
$("runs").addEventListener("change", () => {
  hand.idle = $("runs").checked ? world.actions.find((action) => action.symbol === "•").code : null;
  hand.rest();
});
$("sketch").addEventListener("click", () => sketch.open(world.width, world.height));
$("ask").addEventListener("click", () => $("help").showModal());
$("help-close").addEventListener("click", () => $("help").close());
$("time").addEventListener("toggle", () => times.paint());
theme($("theme"), $("theme-name"), () => strip.later());
// a button that was clicked does not keep the keys; one that was reached by Tab does
addEventListener("click", (event) => { if (event.detail > 0) event.target.closest?.("main button, #chooser button")?.blur(); });

// -- keys
function isTyped(event) {
  const { target } = event;
  if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return true;
  if (target.closest?.("input, select, textarea")) return true;
  return Boolean(target.closest?.("button, summary, a")) && (event.code === "Space" || event.code === "Enter");
}
addEventListener("keydown", (event) => {
  if (actions.listens) { actions.key(event); return; }
  if (keymap === null || isTyped(event)) return;
  if (event.key === "?") { $("help").showModal(); return; }
  const name = keymap.uses(event.code) ? null : COMMANDS[event.code];
  if (name) {
    event.preventDefault();
    if (!event.repeat || name === "back") command(name === "back" && event.shiftKey ? "forward" : name);
  } else if (keymap.uses(event.code)) {
    event.preventDefault();
    if (!event.repeat) down.key(event.code, true);
  }
});
addEventListener("keyup", (event) => {
  if (actions.listens) { actions.key(event); return; }
  down.key(event.code, false);
});
addEventListener("blur", () => { down.clear(); actions.cancel(); });
document.addEventListener("visibilitychange", () => { if (document.hidden) down.clear(); });
// the pad is for fingers: on a device that has no other pointer, and from the first touch on any other
if (matchMedia("(pointer: coarse), (max-width: 700px)").matches) document.body.classList.add("touch");
addEventListener("touchstart", () => document.body.classList.add("touch"), { once: true, passive: true });
function mark(code) { actions.mark(code); markPad($("pad"), code); }
function describeKeys() {
  if (!keymap) return;
  const moves = [...new Set(world.actions.flatMap((action) => keymap.shownOf(action.code)).flatMap((chord) => chord.split("+")))];
  $("help-moves").textContent = moves.map(chordName).join(" ");
  $("hint").textContent = `Press 1 to ${Math.min(9, world.actions.length)}${moves.length ? `, or ${moves.slice(0, 4).map(chordName).join(" ")}` : ""}; hold to repeat. Click an action's keys to change them.`;
}

session.open();
