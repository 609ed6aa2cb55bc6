// The labelling page: what is shown, what keys and buttons do, and what the server still has to know.
import { agreementLines } from "./agreement.js";
import { Grid, TILES } from "./grid.js";
import { Outbox } from "./outbox.js";
import { Away } from "./players.js";
import { Stage } from "./stage.js";

const $ = (id) => document.getElementById(id);
const SPEEDS = [1, 2, 4, 8], LEAST_AHEAD = 2 * TILES, AGREEMENT_MS = 15000, PAINT_MS = 1500;
const REASONS = { m: "menu", f: "face", o: "overlay", t: "transition", n: "not_a_platformer" };
const asked = new URLSearchParams(location.search).get("who");
const who = asked === null ? "" : "?who=" + encodeURIComponent(asked);
const withWho = (more) => (who ? `${who}&${more}` : `?${more}`);
const key = (event) => event.clip_id + (event.repeat ? " again" : "");

// line: the clips to come, the first one is shown; past: what was answered, the latest last
let state = null, line = [], past = [], next = null, fetching = null, wrapped = false;
let answered = new Set(), unreadable = new Map(), reasons = new Set();
let speed = 4, paused = false, shownAt = 0, pressedAt = 0, groups = 0, gone = false, measuredAt = null;
let outbox, stage, grid;
const times = [], spent = [];

// -- what the server keeps
function record(kind, clip, rating, why) {
  const event = { clip_id: clip.clip_id, kind, rating: rating || null, stream: clip.stream, inclusion: clip.inclusion ?? null,
                  repeat: Boolean(clip.repeat), reasons: why, shown: clip,
                  seconds: Math.min(3600, (performance.now() - shownAt) / 1000) };
  try {
    outbox.keep(event);
    return true;
  } catch (error) {  // storage is full, or forbidden for this page
    warn(`This browser cannot keep the rating of clip ${clip.clip_id}, so it was not recorded: ${error}`);
    return false;
  }
}
function warn(text) { $("broken").textContent = text; $("broken").hidden = false; }
// where no frame of a next clip is going to be painted: a hidden tab, a paused clip, the grid, the end
function sendSoon() { setTimeout(() => outbox.send(), document.hidden || paused || grid.isOpen || !line.length ? 0 : PAINT_MS); }
function showUnsaved(count, refused) {
  $("unsaved").dataset.count = count;
  $("unsaved").textContent = (count ? `${count} unsaved` : "all saved") + (refused ? `, ${refused} refused` : "");
}
function elsewhere(event) {
  // another tab of this person: what was answered there is not asked here
  if (state === null) return;
  const clip = line.find((one) => key(one) === key(event)) ?? event.shown ?? { ...event, title: "" }, wasShown = line[0] === clip;
  if (event.kind === "undo") { forget(event); showProgress(); return; }
  if (answered.has(key(event))) return;
  noteAnswer(clip, event.rating ?? 0, null);
  if (grid.isOpen) { if (!grid.rated(clip, event.rating ?? 0)) openGrid(); } else if (wasShown) show(); else showProgress();
}
function forget(event) {
  const at = past.findLastIndex((one) => key(one.clip) === key(event));
  answered.delete(key(event));
  if (at < 0) return null;
  const [one] = past.splice(at, 1);
  state.counts[one.rating]--; state.done--;
  if (one.clip.repeat) state.total--;
  return one;
}
function noteAnswer(clip, rating, group) {
  line = line.filter((one) => key(one) !== key(clip));
  answered.add(key(clip));
  past.push({ clip, rating, group });
  state.counts[rating]++; state.done++;
  if (clip.repeat) state.total++;
}

// -- a server that cannot write its journal
function full(why) {
  $("full").textContent = `${why}. Ratings are kept here and sent again until then.`;
  $("full").hidden = !why;
}

// -- a server that was stopped: say so, ask again and again, and go on with it once it is back
function lose() {
  gone = true;
  $("gone").textContent = "The labelling server is gone: it was stopped, or it was killed. Start it again with the "
    + "same `lampworks label` command, on the same port; this page looks for it and goes on by itself. Ratings are kept here until then.";
  $("gone").classList.add("on");
}
function found() {
  if (!gone) return;
  gone = false;
  $("gone").classList.remove("on");
  stage.again();
  grid.again();
  more();
}
async function look() {
  try {
    const answer = await fetch("api/alive" + who, { cache: "no-store", signal: AbortSignal.timeout(10000) });
    if (answer.ok) {
      const about = await answer.json();
      // another root or annotator on this port has other clips
      if (outbox.prefix !== prefixOf(about)) { location.reload(); return; }
      const wasGone = gone;
      found();
      if (wasGone) { outbox.retryMs = 500; outbox.send(); }
    }
  } catch (error) { lose(); }
  setTimeout(look, gone ? 1000 : 3000);
}
function prefixOf(about) { return `lampworks-label/${about.root}/${about.annotator}/`; }

// -- the clips to come
function add(clips) {
  const known = new Set(line.map(key));
  const fresh = clips.filter((clip) => !known.has(key(clip)) && !answered.has(key(clip)) && !unreadable.has(clip.clip_id));
  line.push(...fresh);
  return fresh.length;
}
async function more() {
  if (fetching !== null || line.length >= LEAST_AHEAD || (next === null && (wrapped || line.length))) return;
  // at the end, once more from the start: what was undone in another tab, or left by another person
  if (next === null) { wrapped = true; next = 0; }
  fetching = fetch("api/clips" + withWho(`after=${next}`), { cache: "no-store" });
  const wasEmpty = !line.length;
  try {
    const answer = await fetching;
    if (!answer.ok) throw new Error(await answer.text());
    const page = await answer.json();
    next = page.next;
    add(page.clips);
    fetching = null;
    if (wasEmpty && line.length) redraw(); else if (next === null && !line.length) redraw();
    more();
  } catch (error) {
    fetching = null;
    wrapped = false;
    lose();  // asked again once it is back
  }
}
function failed(clip, error) {
  if (error instanceof Away) { lose(); return; }
  unreadable.set(clip.clip_id, error.message);
  const wasShown = line[0] === clip;
  line = line.filter((one) => one.clip_id !== clip.clip_id);
  const others = unreadable.size > 1 ? ` ${unreadable.size} clips so far.` : "";
  warn(`Clip ${clip.clip_id} cannot be shown: ${error.message}. Nothing was recorded for it.${others}`);
  if (grid.isOpen) openGrid(); else if (wasShown) show(); else { stage.show(line, speed, paused); }
  more();
}

// -- what is on the screen
function redraw() { if (grid.isOpen) openGrid(); else show(); }
function show() {
  const [current] = line;
  document.body.dataset.clip = current ? current.clip_id : "";
  $("note").classList.remove("on");
  stage.show(line, speed, paused);
  shownAt = performance.now();
  showProgress();
}
function painted(clip) {
  document.body.dataset.latency = (performance.now() - pressedAt).toFixed(1);
  document.body.dataset.painted = clip.clip_id;
  setTimeout(() => outbox.send());  // the next clip is there: now the label goes to the server
}
function openGrid() {
  grid.open(line.slice(0, TILES), speed, paused);
  document.body.dataset.clip = grid.current()?.clip_id ?? "";
  stage.prefetch(line.slice(TILES, 2 * TILES));
  shownAt = performance.now();
  if (!line.length) { toggleGrid(); return; }
  showProgress();
}
function toggleGrid() {
  const opens = !grid.isOpen && line.length > 0;
  $("many").setAttribute("aria-pressed", opens);
  $("view").hidden = opens;
  if (opens) { stage.hide(); openGrid(); } else { grid.close(); show(); }
}
function showProgress() {
  // who is through with their part goes on with what the others left
  const { done, counts } = state, total = Math.max(state.total, done), [current] = line;
  $("done").textContent = done;
  $("target").textContent = total;
  $("bar").firstElementChild.style.width = `${total ? Math.min(100, 100 * done / total) : 0}%`;
  $("bar").setAttribute("aria-valuemax", total);
  $("bar").setAttribute("aria-valuenow", done);
  const now = performance.now(), recent = times.filter((t) => now - t < 60000);
  const minutes = recent.length > 1 ? Math.max((now - recent[0]) / 60000, 1 / 30) : 1;
  $("rate").textContent = recent.length > 1 ? Math.round(recent.length / minutes) : recent.length;
  const sorted = [...spent].sort((a, b) => a - b);
  $("median").textContent = sorted.length ? `median ${sorted[sorted.length >> 1].toFixed(1)} s per label` : "";
  for (let r = 1; r <= 5; r++) $("r" + r).querySelector("i").textContent = counts[r] || "";
  for (const button of $("reasons").children) button.setAttribute("aria-pressed", reasons.has(button.dataset.reason));
  $("undo").disabled = !past.length;
  $("title").textContent = current ? current.title : "";
  $("span").textContent = current ? `${clock(current.start_ms)} \u2013 ${clock(current.end_ms)}` : "";
  if (current || fetching !== null || (next !== null && !gone)) return;
  if (unreadable.size) note(`${done} clips are rated. ${unreadable.size} cannot be shown.`, [...unreadable.keys()].slice(0, 5).join(", "));
  else if (total) note(`All ${done} clips are rated. Thank you.`, "Press u to undo the last rating.");
  else note("There are no clips to rate yet.", "Collect and cut some first: lampworks run, on the same root.");
}
function clock(ms) { const s = Math.floor(ms / 1000); return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`; }
function note(text, ...hints) {
  const first = document.createElement("b"), second = document.createElement("span");
  first.textContent = text; second.append(...hints); second.className = "quiet";
  $("note").replaceChildren(first, second);
  $("note").classList.add("on");
}
async function showAgreement() {
  const known = past.length + state.done;
  if (document.hidden || measuredAt === known) return;
  const answer = await fetch("api/agreement" + who, { cache: "no-store" }).catch(() => null);
  if (answer === null || !answer.ok) return;
  $("agreement").replaceChildren(...agreementLines(await answer.json(), state.annotator));
  measuredAt = known;
}
// -- what keys and buttons do
function answer(kind, rating, clips, group = null) {
  if (!clips.length) return;
  const why = [...reasons];
  // stored before the next clip is shown, and sent after it
  const kept = clips.findIndex((clip) => !record(kind, clip, rating, why));
  if (kept === 0) return;
  if (kept > 0) clips = clips.slice(0, kept);
  for (const clip of clips) noteAnswer(clip, rating ?? 0, group);
  times.push(...clips.map(() => performance.now()));
  if (times.length > 5000) times.splice(0, 2500);
  spent.push((performance.now() - shownAt) / 1000 / clips.length);
  reasons.clear();
  if (grid.isOpen) {
    let left = true;
    for (const clip of clips) left = grid.rated(clip, rating ?? 0);
    shownAt = performance.now();
    if (left) { document.body.dataset.clip = grid.current()?.clip_id ?? ""; showProgress(); } else openGrid();
  } else show();
  more();
  sendSoon();
  $("live").textContent = kind === "rate" ? `rated ${rating}, ${state.done} of ${state.total}` : "skipped";
  if (rating) flash($("r" + rating));
}
function rate(rating) { answer("rate", rating, chosen()); }
function rateRest(rating) { if (grid.isOpen) answer("rate", rating, grid.unrated(), ++groups); }
function chosen() {
  const clip = grid.isOpen ? grid.current() : line[0];
  return clip ? [clip] : [];
}
function flash(button) { button.classList.add("pressed"); setTimeout(() => button.classList.remove("pressed"), 120); }
function undo() {
  const last = past.at(-1);
  if (last === undefined) return;
  const together = last.group === null ? [last] : past.filter((one) => one.group === last.group);
  for (const { clip } of together.reverse()) {
    if (!record("undo", clip, null, [])) return;
    forget(clip);
    spent.pop(); times.pop();
    line = [clip, ...line.filter((one) => key(one) !== key(clip))];
  }
  if (!grid.isOpen) show();
  else if (together.every(({ clip }) => grid.undone(clip))) { document.body.dataset.clip = grid.current()?.clip_id ?? ""; showProgress(); }
  else openGrid();
  sendSoon();
  $("live").textContent = together.length > 1 ? `${together.length} undone` : "undone";
}
function toggleReason(name) {
  if (!reasons.delete(name)) reasons.add(name);
  showProgress();
}
function setSpeed(step) {
  speed = SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, SPEEDS.indexOf(speed) + step))];
  stage.setSpeed(speed);
  if (grid.isOpen) grid.setSpeed(speed);
  $("speed").textContent = speed + "x";
}
function pause() {
  paused = !paused;
  if (grid.isOpen) grid.pause(paused, speed); else stage.pause(paused, speed);
  $("pause").setAttribute("aria-pressed", paused);
}
function help() { if ($("help").open) $("help").close(); else $("help").showModal(); }
const arrow = (dx, dy) => () => {
  grid.move(dx, dy);
  document.body.dataset.clip = grid.current()?.clip_id ?? "";
};
const KEYS = { s: () => answer("skip", null, chosen()), 0: () => answer("skip", null, chosen()), u: undo, Backspace: undo,
               " ": pause, "[": () => setSpeed(-1), "]": () => setSpeed(1), g: toggleGrid, "?": help, ArrowLeft: undo };
for (let r = 1; r <= 5; r++) KEYS[r] = () => rate(r);
for (const [letter, name] of Object.entries(REASONS)) KEYS[letter] = () => toggleReason(name);
const ARROWS = { ArrowLeft: arrow(-1, 0), ArrowRight: arrow(1, 0), ArrowUp: arrow(0, -1), ArrowDown: arrow(0, 1) };
addEventListener("keydown", (event) => {
  // ignore a held key, which would rate thirty clips a second, and shortcuts of the browser
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || !state) return;
  if ($("help").open) { if (event.key === "?") { event.preventDefault(); help(); } return; }
  const onButton = event.target.tagName === "BUTTON" && !event.target.classList.contains("tile");
  if (onButton && (event.key === " " || event.key === "Enter")) return;
  // with shift, the key's character depends on the keyboard
  const rest = event.shiftKey && /^Digit([1-5])$/.exec(event.code);
  const act = rest ? () => rateRest(Number(rest[1]))
    : (grid.isOpen && ARROWS[event.key]) || KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (act) { event.preventDefault(); pressedAt = event.timeStamp; act(); }
});
function button(element, act) {
  element.addEventListener("click", (event) => {
    if (!state) return;
    pressedAt = event.timeStamp;
    act();
    if (event.detail) element.blur();  // after a click, the space key must still pause
  });
}
for (let r = 1; r <= 5; r++) button($("r" + r), () => rate(r));
for (const element of $("reasons").children) button(element, () => toggleReason(element.dataset.reason));
button($("skip"), KEYS.s);
button($("undo"), undo);
button($("pause"), pause);
button($("faster"), () => (speed === 8 ? setSpeed(-3) : setSpeed(1)));
button($("many"), toggleGrid);
button($("ask"), help);
button($("close"), help);

function choose(names, why) {
  const links = names.flatMap((name) => {
    const link = document.createElement("a");
    link.href = "?who=" + encodeURIComponent(name);
    link.textContent = name;
    return [link, " "];
  });
  note("Who rates?", ...links);
  if (asked !== null) $("note").append(why);
}
async function start() {
  const about = await (await fetch("api/alive" + who, { cache: "no-store" })).json();
  outbox = new Outbox(prefixOf(about), "api/events" + who, { changed: showUnsaved, answered: found, lost: lose, full, elsewhere });
  stage = new Stage($("stage"), $("strips"), { failed, painted });
  grid = new Grid($("grid"), { failed });
  // what an earlier page could not send goes first, so that the queue is asked for behind it
  for (let before = Infinity; about.annotator && outbox.waiting().length && outbox.waiting().length < before;) {
    before = outbox.waiting().length;
    await outbox.send();
  }
  const answer = await fetch("api/state" + who, { cache: "no-store" });
  const told = await answer.json();
  if (answer.status === 409) { choose(told.choose, told.why); return; }
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  state = told;
  $("who").textContent = state.annotator;
  $("audit").hidden = !state.audit;
  past = state.past.map(([clip, rating]) => ({ clip, rating, group: null }));
  answered = new Set(past.map(({ clip }) => key(clip)));
  next = state.next;
  // and what it could not send now either
  for (const event of outbox.waiting()) {
    const clip = event.shown ?? { ...event, title: "", start_ms: 0, end_ms: 0 };
    forget(event);
    if (event.kind === "undo") line = [clip, ...line.filter((one) => key(one) !== key(clip))]; else noteAnswer(clip, event.rating ?? 0, null);
  }
  add(state.clips);
  show();
  more();
  sendSoon();
  showAgreement();
  setInterval(showProgress, 5000);
  setInterval(showAgreement, AGREEMENT_MS);
  setTimeout(look, 3000);
}
start().catch((error) => {
  note("The labelling server does not answer.", "This page looks for it and starts by itself. " + error);
  const again = setInterval(async () => {
    const answer = await fetch("api/alive" + who, { cache: "no-store" }).catch(() => null);
    if (answer !== null && answer.ok) { clearInterval(again); location.reload(); }
  }, 2000);
});
