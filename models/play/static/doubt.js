// The light that says how sure the world is: a frame around the picture, words, and a graph of the last frames.
import { sentence } from "./ask.js";

const SHOWN = 80;
const PARTS = [["entropy", (value) => `entropy of the drawn tokens ${short(value)} nat`],
  ["residual", (value) => `round-trip residual ${short(value)} of 255 grey levels`],
  ["disagreement", (value) => `two draws differ by ${short(value)} (1: nothing in common)`],
  ["expected_psnr", (value) => `frames as doubtful as this one had ${short(value)} dB on held-out videos`]];

export class Doubt {
  constructor({ light, chip, box, word, graph, parts, live }) {
    Object.assign(this, { light, chip, box, word, graph, parts, live });
    this.threshold = null;
    this.wasGuessing = false;
  }
  // about: what /api/world says of the calibration, or null
  build(about) {
    this.threshold = about?.threshold ?? null;
    this.show(null, []);
  }
  // doubt of the shown frame (null: unknown), frames: the path up to it
  show(doubt, path) {
    const guessing = Boolean(doubt?.guessing);
    this.light.dataset.light = doubt ? (guessing ? "guessing" : "sure") : "none";
    this.chip.hidden = !guessing;
    this.box.hidden = !doubt && !path.some((node) => node.doubt);
    if (guessing !== this.wasGuessing) this.live.textContent = guessing ? "I am guessing." : doubt ? "I know this again." : "";
    this.wasGuessing = guessing;
    if (this.box.hidden) return;
    this.word.textContent = doubt ? (guessing ? "I am guessing" : "I have seen this") : "unknown for this frame";
    this.word.className = guessing ? "guessing" : "";
    this.parts.textContent = doubt
      ? sentence(PARTS.filter(([name]) => typeof doubt[name] === "number").map(([name, words]) => words(doubt[name])).join("; "))
      : "";
    this.draw(path.slice(-SHOWN).map((node) => node.doubt));
  }
  draw(doubts) {
    const { graph } = this, context = graph.getContext("2d"), style = getComputedStyle(graph);
    const { width, height } = graph, scores = doubts.map((doubt) => doubt?.score ?? null);
    const most = Math.max(1e-9, ...scores.filter((score) => score !== null), this.threshold === null ? 0 : this.threshold * 1.5);
    const step = width / SHOWN, left = width - step * doubts.length;
    context.clearRect(0, 0, width, height);
    const y = (score) => height - 3 - (height - 8) * Math.max(0, score) / most;
    if (this.threshold !== null) {
      context.strokeStyle = style.columnRuleColor;
      context.setLineDash([6, 6]);
      context.beginPath();
      context.moveTo(0, y(this.threshold));
      context.lineTo(width, y(this.threshold));
      context.stroke();
      context.setLineDash([]);
    }
    scores.forEach((score, index) => {
      if (score === null) return;
      const guessing = doubts[index].guessing, top = y(score);
      context.fillStyle = guessing ? style.caretColor : style.color;
      context.fillRect(left + index * step, top, step - 1, height - top);
      // a notch says it without the colour
      if (guessing) context.fillRect(left + index * step, 0, step - 1, 3);
    });
    const count = doubts.filter((doubt) => doubt?.guessing).length;
    graph.setAttribute("aria-label", `doubt of the last ${doubts.length} frames: guessing in ${count} of them`);
  }
}

function short(value) { return Math.abs(value) >= 10 ? value.toFixed(0) : value.toPrecision(2); }
