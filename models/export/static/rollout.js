// A rollout of a world, as in models/world/session.py: tokens frame by frame, and their pictures, with the states of past
// frames cached. The page and its worker both have this script.

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

// Frames in their order and a network that has cached some of them.
class Line {
  constructor(network, room, ring) { Object.assign(this, { network, room, ring }); }

  start(tokens) {
    this.frames = [Uint16Array.from(tokens)];
    this.snapshots = [];
    this.every = 8;
    this.restart();
  }

  restart() {
    this.network.forget();
    this.begins = this.cached = 0;   // the window's first frame, and the first frame that is not cached
  }

  // cache the frames before `until` of the window that ends with frame `last`; return what the last of them gave
  async cache(last, until) {
    const begins = this.ring ? 0 : Math.max(0, last + 1 - this.room);
    if (begins !== this.begins) {
      this.restart();
      this.begins = this.cached = begins;
    }
    let made = null;
    for (; this.cached < until; this.cached++) made = await this.compute(this.cached);
    return made;
  }

  // what a next frame needs of those before it, whatever it will be
  prepare() { return this.cache(this.frames.length, this.frames.length); }

  // cached states of some frames, so that going back does not compute everything again
  snap() {
    const { frames: { length }, cached } = this;
    if (!this.ring || length % this.every) return;
    this.snapshots.push({ length, cached, state: this.network.remember() });
    if (this.snapshots.length > MOST_SNAPSHOTS) {
      this.every *= 2;
      this.snapshots = this.snapshots.filter((snapshot) => snapshot.length % this.every === 0);
    }
  }

  // make frame t the newest one
  rewind(t) {
    this.frames.length = t + 1;
    this.snapshots = this.snapshots.filter((snapshot) => snapshot.length <= t + 1);
    const held = this.snapshots[this.snapshots.length - 1];
    this.restart();
    if (held) {
      this.network.recall(held.state);
      this.cached = held.cached;
    }
  }
}

class Rollout extends Line {
  constructor(about, dynamics, start) {
    super(dynamics, about.context, about.sampling.past_window === "ring");
    this.about = about;
    this.actions = [null];
    this.start(start);
  }

  // the first frame of a window has no action
  compute(t) { return this.network.frame(this.frames[t], t === this.begins ? this.about.num_actions : this.actions[t], true); }

  // draw the tokens of the next frame
  async step(action) {
    const { about } = this, logitsOf = (frame) => this.network.frame(frame, action, false);
    await this.prepare();
    const seed = about.seed + this.frames.length - 1;
    const drawn = Uint16Array.from(await drawTokens(logitsOf, about.grid, about.num_codes, about.sampling, seed));
    this.frames.push(drawn);
    this.actions.push(action);
    this.snap();
    return drawn;
  }

  rewind(t) {
    super.rewind(t);
    this.actions.length = t + 1;
  }
}

// The pictures of a rollout: RGB, 3 bytes a pixel.
class Pictures extends Line {
  constructor(about, decoder) { super(decoder, about.window, about.sampling.past_window === "ring"); }

  compute(t) { return this.network.frame(this.frames[t], 0, true); }

  async alone(tokens) {
    this.network.forget();
    return this.network.frame(tokens, 0, false);
  }

  begin(tokens) {
    this.start(tokens);
    return this.newest();
  }

  next(tokens) {
    this.frames.push(tokens);
    return this.newest();
  }

  async newest() {
    const pixels = await this.cache(this.frames.length - 1, this.frames.length);
    this.snap();
    return pixels;
  }
}

// Load a network into a build of the runtime, on one thread: more need cross-origin isolation, which no file can have.
async function networkOn(runtime, wasm, provider, graph, room, headDim) {
  runtime.env.logLevel = "error";
  runtime.env.wasm.numThreads = 1;
  runtime.env.wasm.wasmBinary = wasm.buffer;
  const options = { executionProviders: [provider], graphOptimizationLevel: "all", logSeverityLevel: 3 };
  return new Network(runtime, await runtime.InferenceSession.create(graph, options), room, headDim);
}
