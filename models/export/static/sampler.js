// MaskGIT sampling of one frame, as in models/world/sampling.py.
const WHOLE = 1000000;   // shares of the schedule are whole millionths

const LAST_SHARE = 0.02;

function keptShare(step, steps, schedule) {
  if (step === steps) return 1;
  return 1 - (schedule === "geometric" ? LAST_SHARE ** (step / (steps - 1)) : Math.cos(Math.PI / 2 * step / steps));
}

// how many of `unknown` tokens are fixed after each step of a schedule, rounded up
function keepCounts(unknown, steps, schedule) {
  return Array.from({ length: steps }, (_, step) => {
    const share = Math.round(WHOLE * keptShare(step + 1, steps, schedule));
    return Math.floor((unknown * share + WHOLE - 1) / WHOLE);
  });
}

function mirrored(index, base) {
  let value = 0, weight = 1;
  while (index) {
    weight /= base;
    value += weight * (index % base);
    index = Math.floor(index / base);
  }
  return value;
}

// the priority of each position of a grid: the first in the order of the Halton sequence has the highest
function haltonPriority(rows, columns) {
  const found = new Set();
  for (let index = 1; found.size < rows * columns; index++)
    found.add(Math.floor(mirrored(index, 2) * rows) * columns + Math.floor(mirrored(index, 3) * columns));
  const priority = new Float32Array(rows * columns);
  [...found].forEach((place, order) => { priority[place] = rows * columns - order; });
  return priority;
}

function likeliest(logits, from, codes) {
  let best = 0;
  for (let k = 1; k < codes; k++) if (logits[from + k] > logits[from + best]) best = k;
  return best;
}

function drawnWith(noise, logits, from, codes, place, sampling) {
  const many = Math.min(sampling.top_k || codes, codes), temperature = Math.fround(sampling.token_temperature);
  let order = null;
  if (sampling.top_k) {
    order = Array.from({ length: codes }, (_, k) => k).sort((a, b) => logits[from + b] - logits[from + a]);
  }
  let best = 0, most = -Infinity;
  for (let k = 0; k < many; k++) {
    const logit = logits[from + (order ? order[k] : k)];
    const value = Math.fround(Math.fround(logit / temperature) + noise[place * many + k]);
    if (value > most) { most = value; best = k; }
  }
  return order ? order[best] : best;
}

function logProbability(logits, from, codes, code) {
  let top = -Infinity, sum = 0;
  for (let k = 0; k < codes; k++) top = Math.max(top, logits[from + k]);
  for (let k = 0; k < codes; k++) sum += Math.exp(logits[from + k] - top);
  return Math.fround(Math.fround(logits[from + code] - top) - Math.fround(Math.log(Math.fround(sum))));
}

// Return the tokens of a frame. `logitsOf` takes tokens (`codes` where masked) and returns logits, one row a token.
async function drawTokens(logitsOf, grid, codes, sampling, seed) {
  const tokens = grid[0] * grid[1], steps = sampling.maskgit_steps, byConfidence = sampling.unmask_order === "confidence";
  const generator = new Generator(seed), keep = keepCounts(tokens, steps, sampling.unmask_schedule);
  const fixed = new Uint8Array(tokens), frame = new Int32Array(tokens).fill(codes);
  let order = new Float32Array(tokens);
  if (sampling.unmask_order === "halton") order = haltonPriority(...grid);
  if (sampling.unmask_order === "random") order = generator.uniform(tokens);
  for (let step = 0; step < steps; step++) {
    const logits = await logitsOf(frame), drawn = new Int32Array(tokens), priority = Float32Array.from(order);
    let noise = null;
    if (sampling.token_temperature) {
      noise = generator.gumbel(tokens * Math.min(sampling.top_k || codes, codes));
      if (byConfidence && sampling.choice_temperature) {
        const scale = Math.fround(sampling.choice_temperature * (1 - (step + 1) / steps));
        generator.gumbel(tokens).forEach((value, place) => { priority[place] = scale * value; });
      }
    }
    for (let place = 0; place < tokens; place++) {
      const from = place * codes;
      drawn[place] = noise ? drawnWith(noise, logits, from, codes, place, sampling) : likeliest(logits, from, codes);
      if (byConfidence) priority[place] += logProbability(logits, from, codes, drawn[place]);
      if (fixed[place]) priority[place] = Infinity;
    }
    const ranked = Array.from({ length: tokens }, (_, place) => place)
      .sort((a, b) => (priority[a] === priority[b] ? 0 : priority[b] - priority[a]));
    for (const place of ranked.slice(0, keep[step])) {
      if (!fixed[place]) frame[place] = drawn[place];
      fixed[place] = 1;
    }
  }
  return frame;
}
