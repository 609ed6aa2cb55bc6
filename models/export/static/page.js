// The page: keys, touch, pause, step, rewind, start frames.
const at = (id) => document.getElementById(id);
const MOST_PICTURES = 240;   // past frames on the strip
const MAX_WAITING = 12;
// t: the frame that is shown; head: the frame that the next action goes on from; line: of which frames it is the newest
const game = { world: null, rollout: null, start: 0, t: 0, head: 0, line: 0, pictures: new Map(), paused: false, last: 0 };
const presses = [];          // presses that wait for their frame; each is answered once
const held = [];             // {source, code} of what is held down, the newest last; it repeats when no press waits
const keysDown = new Set();  // keys of the keyboard that are part of a chord
const answered = [];         // times at which the last frames were shown, for the FPS
let busy = Promise.resolve(), running = false;
let coming = Promise.resolve();   // the picture that a worker makes, until it is shown
globalThis.lampworks = game;   // for the browser's console: lampworks.rollout.frames are the tokens

// one computation at a time: a cache belongs to one
function alone(work) {
  const done = busy.then(work);
  busy = done.catch(failed);
  return done;
}

function failed(error) { say(`This page failed: ${error.message}`, true); }

// let the browser show what was drawn and read its events
function breath() {
  return new Promise((done) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  });
}

function say(text, bad = false) {
  at("say").textContent = text;
  at("say").classList.toggle("bad", bad);
}

function draw(canvas, rgb) {
  const { width, height } = game.world.about;
  const image = new ImageData(width, height);
  for (let i = 0, j = 0; j < rgb.length; i += 4, j += 3) {
    image.data[i] = rgb[j]; image.data[i + 1] = rgb[j + 1]; image.data[i + 2] = rgb[j + 2]; image.data[i + 3] = 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function show(t) {
  game.t = t;
  draw(at("picture"), game.pictures.get(t));
  at("t").textContent = t;
  document.body.dataset.t = t;
  for (const button of at("strip").children) button.setAttribute("aria-current", Number(button.dataset.t) === t);
}

function keep(t, rgb) {
  game.pictures.set(t, rgb);
  const button = document.createElement("button"), small = document.createElement("canvas");
  button.type = "button";
  button.dataset.t = t;
  button.title = button.ariaLabel = `frame ${t}: play goes on from here`;
  draw(small, rgb);
  button.append(small);
  button.addEventListener("click", () => { button.blur(); look(t); });
  at("strip").append(button);
  if (game.pictures.size > MOST_PICTURES) {
    const oldest = at("strip").firstChild;
    game.pictures.delete(Number(oldest.dataset.t));
    oldest.remove();
  }
  at("strip").scrollLeft = at("strip").scrollWidth;
}

// forget the frames after t
function cut(t) {
  while (at("strip").lastChild && Number(at("strip").lastChild.dataset.t) > t) {
    game.pictures.delete(Number(at("strip").lastChild.dataset.t));
    at("strip").lastChild.remove();
  }
}

// show a past frame; the next action goes on from it
function look(t) {
  if (!game.pictures.has(t)) return;
  presses.length = held.length = 0;
  game.head = t;
  game.line++;   // a frame that is in the making is no part of it any more
  show(t);
}

function begin(index) {
  const line = ++game.line;
  presses.length = answered.length = 0;
  game.start = index;
  for (const [i, button] of [...at("starts").children].entries()) button.setAttribute("aria-pressed", i === index);
  return alone(async () => {
    if (line !== game.line) return;
    const { about, dynamics, pictures } = game.world, tokens = tokensOf(about.starts[index]);
    game.rollout = new Rollout(about, dynamics, tokens);
    const rgb = await pictures.begin(tokens);
    game.head = 0;
    cut(-1);
    keep(0, rgb);
    show(0);
    say(game.world.why);
    await breath();
    await game.rollout.prepare();
  });
}

async function step(code) {
  const began = performance.now(), { rollout, line, head, world: { pictures } } = game;
  if (head < rollout.frames.length - 1) {
    rollout.rewind(head);
    cut(head);   // at once: nobody may choose a frame that is no more
    await pictures.rewind(head);
  }
  const tokens = await rollout.step(code), t = head + 1;
  game.last = code;
  if (line !== game.line) return;
  game.head = t;
  if (pictures.apart) await coming;   // one frame ahead of the picture at most
  else await breath();
  coming = pictures.next(tokens).then((rgb) => {
    if (line === game.line) arrived(t, rgb, began);
  }).catch(failed);
  if (!pictures.apart) {
    await coming;
    await breath();
    await pictures.prepare();
  }
  await rollout.prepare();
}

function arrived(t, rgb, began) {
  const now = performance.now();
  keep(t, rgb);
  show(t);
  at("ms").textContent = Math.round(now - began);
  document.body.dataset.ms = now - began;
  answered.push(now);
  while (answered.length > 20 || now - answered[0] > 2000) answered.shift();
  if (answered.length > 1) at("fps").textContent = ((answered.length - 1) * 1000 / (now - answered[0])).toFixed(1);
}

async function run() {
  if (running) return;
  running = true;
  try {
    while (game.rollout && (presses.length || (held.length && !game.paused))) {
      const code = presses.length ? presses.shift() : held[held.length - 1].code, { line } = game;
      mark(code);
      const began = performance.now();
      await alone(() => (line === game.line ? step(code) : undefined));
      // without a pause, a fast machine would play faster than the world's clips
      const rest = began + 1000 / Number(at("speed").value) - performance.now();
      await (rest > 0 ? new Promise((done) => setTimeout(done, rest)) : breath());
    }
  } finally {
    running = false;
    mark(held.length ? held[held.length - 1].code : null);
  }
}

function mark(code) {
  for (const [i, key] of [...at("keys").children].entries()) key.classList.toggle("down", i === code);
}

function press(code, source) {
  if (!game.rollout || code === undefined || code >= game.world.about.actions.length) return;
  if (presses.length < MAX_WAITING) presses.push(code);
  release(source);
  held.push({ code, source });
  run();
}

function release(source) {
  const index = held.findIndex((key) => key.source === source);
  if (index >= 0) held.splice(index, 1);
}

function pause(paused = !game.paused) {
  game.paused = paused;
  at("pause").setAttribute("aria-pressed", paused);
  run();
}

// -- keys: digits play an action; arrows and WASD play what was measured, as chords such as ArrowUp+ArrowRight
function chords() {
  return Object.entries(game.world.about.chords).map(([keys, code]) => ({ code, parts: keys.split("+") }));
}

function chordNow(all) {
  return all.filter((chord) => chord.parts.every((part) => keysDown.has(part)))
    .sort((a, b) => b.parts.length - a.parts.length)[0];
}

addEventListener("keydown", (event) => {
  if (!game.world || event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
  const all = chords(), named = { KeyR: () => begin(game.start), KeyP: () => pause(), Period: () => press1(game.last),
    Comma: () => look(game.t - 1), Backspace: () => look(game.t - 1) }[event.code];
  if (digit) {
    if (!event.repeat) press(Number(digit[1]) - 1, event.code);
  } else if (all.some((chord) => chord.parts.includes(event.code))) {
    event.preventDefault();
    if (event.repeat) return;
    keysDown.add(event.code);
    const chord = chordNow(all);
    if (chord) press(chord.code, "chord");
  } else if (named && !event.repeat) {
    event.preventDefault();
    named();
  }
});
addEventListener("keyup", (event) => {
  release(event.code);
  if (!keysDown.delete(event.code)) return;
  const chord = chordNow(chords());
  release("chord");
  if (chord) held.push({ code: chord.code, source: "chord" });
});
addEventListener("blur", () => { held.length = 0; keysDown.clear(); });

// one frame, without holding
function press1(code) {
  press(code, "once");
  release("once");
}

function build(world) {
  const { about } = world;
  game.world = world;
  for (const action of about.actions) {
    const key = document.createElement("button");
    key.className = "key"; key.type = "button"; key.tabIndex = 0;
    const twin = action.twin_of === null ? "" : `as ${action.twin_of + 1}`;
    for (const [tag, name, text] of [["kbd", "", action.code + 1], ["span", "symbol", action.symbol],
                                     ["span", "", action.label || "action " + (action.code + 1)],
                                     ["small", "", twin || action.meant]]) {
      const part = document.createElement(tag);
      part.className = name; part.textContent = text;
      key.append(part);
    }
    key.addEventListener("pointerdown", (event) => {
      key.setPointerCapture(event.pointerId); press(action.code, "pointer" + event.pointerId); });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"])
      key.addEventListener(end, (event) => release("pointer" + event.pointerId));
    key.addEventListener("keydown", (event) => {
      if ((event.key === "Enter" || event.key === " ") && !event.repeat) { event.preventDefault(); press1(action.code); }
    });
    at("keys").append(key);
  }
  const threads = world.threads === 1 ? "one thread" : `${world.threads} threads`;
  at("backend").textContent = world.backend === "WASM" ? `WASM on ${threads}` : world.backend;
  document.body.dataset.backend = world.backend;
  document.body.dataset.threads = world.threads;
  const speed = new Option(`${about.fps} FPS`, about.fps, true, true);
  at("speed").replaceChildren(new Option("slow", about.fps / 4), speed, new Option("as fast as it can", 1000));
  at("pause").addEventListener("click", () => pause());
  at("step").addEventListener("click", () => press1(game.last));
  at("back").addEventListener("click", () => look(game.t - 1));
  at("again").addEventListener("click", () => begin(game.start));
}

// the start frames, as the decoder shows them
async function showStarts() {
  for (const [index, start] of game.world.about.starts.entries()) {
    const button = document.createElement("button"), canvas = document.createElement("canvas");
    button.type = "button";
    button.title = `${start.clip_id} (${start.licence})`;
    button.ariaLabel = `start frame ${index + 1}`;
    draw(canvas, await game.world.pictures.alone(tokensOf(start)));
    button.append(canvas);
    button.addEventListener("click", () => { button.blur(); begin(index); });
    at("starts").append(button);
    await breath();
  }
}

async function open() {
  say("Unpacking the world…");
  await breath();
  try {
    const world = await loadWorld(JSON.parse(at("about").textContent));
    build(world);
    await alone(showStarts);
    await begin(0);
    document.body.dataset.ready = "yes";
  } catch (error) {
    say(`This browser cannot play the world: ${error.message}. It needs WebAssembly with SIMD and DecompressionStream `
      + "(Chromium 91, Firefox 113 or Safari 16.4, or later).", true);
  }
}

open();
