// One rollout of a world, as in models/world/session.py: tokens frame by frame, with the states of past frames cached.

// A network with the cache of its past frames.
class Network {
  constructor(runtime, session, room, headDim) {
    Object.assign(this, { runtime, session, room, headDim });
    this.empty = {};
    for (const [index, name] of session.inputNames.entries())
      if (name.startsWith("past_")) {
        const shape = session.inputMetadata[index].shape, size = shape.reduce((a, b) => a * b, 1);
        this.empty[name] = new runtime.Tensor("float32", new Float32Array(size), shape);
      }
    this.result = session.outputNames[0];
    this.forget();
  }

  forget() { this.past = this.empty; this.length = 0; }
  remember() { return { past: this.past, length: this.length }; }
  recall(held) { this.past = held.past; this.length = held.length; }

  // compute the frame after those that are cached; `keep` caches it too
  async frame(tokens, action, keep) {
    const place = this.length, { room, headDim, runtime } = this, half = headDim / 2;
    const given = { ...this.past, tokens: new runtime.Tensor("int32", Int32Array.from(tokens), [tokens.length]) };
    const cosines = new Float32Array(headDim), sines = new Float32Array(headDim);
    for (let i = 0; i < half; i++) {
      const angle = place * 10000 ** (-i / half);
      cosines[i] = cosines[i + half] = Math.cos(angle);
      sines[i + half] = Math.sin(angle);
      sines[i] = -sines[i + half];
    }
    const lags = new Int32Array(room), hidden = new Float32Array(room);
    for (let slot = 0; slot < room; slot++) {
      // the latest place that falls into a slot; below 0 there was none yet
      const held = place - (((place - slot) % room) + room) % room;
      lags[slot] = Math.min(place - held, room - 1);
      hidden[slot] = held < 0 ? -Infinity : 0;
    }
    given.action = new runtime.Tensor("int32", Int32Array.of(action), [1]);
    given.slot = new runtime.Tensor("int32", Int32Array.of(place % room), [1]);
    given.lags = new runtime.Tensor("int32", lags, [1, room]);
    given.hidden = new runtime.Tensor("float32", hidden, [1, room]);
    given.cosines = new runtime.Tensor("float32", cosines, [1, headDim]);
    given.sines = new runtime.Tensor("float32", sines, [1, headDim]);
    const feeds = Object.fromEntries(this.session.inputNames.map((name) => [name, given[name]]));
    const made = await this.session.run(feeds, keep ? this.session.outputNames : [this.result]);
    if (keep) {
      this.past = Object.fromEntries(Object.keys(this.empty).map((name) => [name, made[name.slice(5)]]));
      this.length += 1;
    }
    return made[this.result].data;
  }
}

const MOST_SNAPSHOTS = 24;

class Rollout {
  constructor(world, start) {
    this.world = world;
    this.frames = [Uint16Array.from(start)];
    this.actions = [null];
    this.snapshots = [];
    this.every = 8;
    this.restart();
  }

  restart() {
    this.world.dynamics.forget();
    this.world.decoder.forget();
    this.begins = this.kept = this.decoded = 0;
  }

  get ring() { return this.world.about.sampling.past_window === "ring"; }

  // generate the next frame
  async step(action) {
    const { about, dynamics } = this.world, next = this.frames.length, start = Math.max(0, next + 1 - about.context);
    if (start && !this.ring) {
      dynamics.forget();
      this.begins = this.kept = start;
    }
    // the first frame of a window has no action
    for (; this.kept < next; this.kept++)
      await dynamics.frame(this.frames[this.kept], this.kept === this.begins ? about.num_actions : this.actions[this.kept], true);
    const logitsOf = (frame) => dynamics.frame(frame, action, false);
    const drawn = await drawTokens(logitsOf, about.grid, about.num_codes, about.sampling, about.seed + next - 1);
    this.frames.push(Uint16Array.from(drawn));
    this.actions.push(action);
    return drawn;
  }

  // decode the newest frame: RGB, 3 bytes a pixel
  async picture() {
    const { about, decoder } = this.world, window = about.window;
    if (this.frames.length > window && !this.ring) {
      decoder.forget();
      this.decoded = this.frames.length - window;
    }
    let pixels = null;
    for (; this.decoded < this.frames.length; this.decoded++)
      pixels = await decoder.frame(this.frames[this.decoded], 0, true);
    this.snap();
    return pixels;
  }

  // cached states of some frames, so that going back does not compute everything again
  snap() {
    const length = this.frames.length;
    if (!this.ring || length % this.every) return;
    const { dynamics, decoder } = this.world;
    this.snapshots.push({ length, kept: this.kept, dynamics: dynamics.remember(), decoder: decoder.remember() });
    if (this.snapshots.length > MOST_SNAPSHOTS) {
      this.every *= 2;
      this.snapshots = this.snapshots.filter((snapshot) => snapshot.length % this.every === 0);
    }
  }

  // make frame t the newest one
  async rewind(t) {
    this.frames.length = this.actions.length = t + 1;
    this.snapshots = this.snapshots.filter((snapshot) => snapshot.length <= t + 1);
    const held = this.snapshots[this.snapshots.length - 1];
    this.restart();
    if (held) {
      this.world.dynamics.recall(held.dynamics);
      this.world.decoder.recall(held.decoder);
      this.kept = held.kept;
      this.decoded = held.length;
    }
    if (this.ring) for (; this.decoded <= t; this.decoded++)
      await this.world.decoder.frame(this.frames[this.decoded], 0, true);
  }
}
