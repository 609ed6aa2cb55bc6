// From keys and buttons to messages: a tap is one frame, a hold is frames until it ends, and no press waits for long.
const MOST_ASKED = 2;     // presses without an answer; what is pressed beyond them waits, and only the newest of it
const STALE_MS = 400;     // a press that waited longer is dropped: its moment is over
const LEAST_HOLD_MS = 160;

export class Hand {
  constructor(send) {
    this.send = send;
    this.wanted = null;      // the action that is asked for now
    this.last = null;        // the last action that was
    this.holding = false;
    this.idle = null;        // the action that is played while none is asked for
    this.paused = false;
    this.fps = 10;
    this.number = 0;
    this.clear();
  }
  clear() {
    clearTimeout(this.timer);
    this.asked = new Map();  // press number -> time
    this.waiting = null;
    this.wanted = null;
    this.holding = false;
  }
  want(code) {
    if (code === this.wanted) return;
    this.wanted = code;
    clearTimeout(this.timer);
    if (code === null) this.rest();
    else if (this.holding && !this.paused) this.hold(code);
    else {
      this.tap(code);
      if (!this.paused) this.timer = setTimeout(() => this.hold(code), Math.max(LEAST_HOLD_MS, 1000 / this.fps));
    }
  }
  // no key is down
  rest() {
    if (this.idle !== null && !this.paused) this.hold(this.idle);
    else this.release();
  }
  release() {
    if (!this.holding) return;
    this.send({ type: "release" });
    this.asked.delete(this.held);   // it may end before it had a frame
    this.holding = false;
  }
  hold(code) {
    this.holding = true;
    if (this.wanted !== null) this.last = code;
    this.asked.delete(this.held);
    this.held = this.note();
    this.send({ type: "hold", action: code, n: this.held });
  }
  tap(code) {
    this.last = code;
    if (this.asked.size < MOST_ASKED) this.send({ type: "act", action: code, n: this.note() });
    else this.waiting = { code, at: performance.now() };
  }
  note() {
    this.asked.set(++this.number, performance.now());
    return this.number;
  }
  // A frame came: return when its key was pressed, or null for another frame of a hold.
  answered(n) {
    const at = this.asked.get(n);
    for (const number of this.asked.keys()) if (number <= n) this.asked.delete(number);
    const { waiting } = this;
    if (waiting !== null && this.asked.size < MOST_ASKED) {
      this.waiting = null;
      if (performance.now() - waiting.at < STALE_MS) this.tap(waiting.code);
    }
    return at ?? null;
  }
  pause(paused) {
    this.paused = paused;
    clearTimeout(this.timer);
    if (paused) {
      this.send({ type: "pause" });
      // the server forgets the presses that wait
      this.asked.clear();
      this.waiting = null;
      this.holding = false;
    } else if (this.wanted !== null) this.hold(this.wanted);
    else this.rest();
  }
  // nothing is played on: after a rewind, in another game, in a window that was left
  stop() {
    this.release();
    this.clear();
  }
}

// What is down by keyboard and by pointer; the newest says the action.
export class Down {
  constructor(changed) {
    this.changed = changed;
    this.keys = [];
    this.buttons = new Map();   // pointer -> action
  }
  key(code, isDown) {
    this.keys = this.keys.filter((key) => key !== code);
    if (isDown) this.keys.push(code);
    this.changed();
  }
  pointer(id, action) {
    if (action === null) this.buttons.delete(id); else this.buttons.set(id, action);
    this.changed();
  }
  clear() {
    this.keys = [];
    this.buttons.clear();
    this.changed();
  }
  action(keymap) { return [...this.buttons.values()].at(-1) ?? keymap.actionOf(this.keys); }
}
