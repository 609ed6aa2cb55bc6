// Sliders over how frames are sampled, each with what it means; a change counts from the next frame on.
import { make } from "./ask.js";

const FIELDS = [
  { name: "maskgit_steps", label: "Steps", kind: "range", min: 1, max: 25, step: 1,
    about: "Rounds in which a frame's tokens are drawn. Fewer are faster; more fit each other better." },
  { name: "token_temperature", label: "Temperature", kind: "range", min: 0, max: 4, step: 0.1,
    about: "0 takes the most probable token each time; higher values surprise more." },
  { name: "unmask_order", label: "Order", kind: "select",
    about: "Which tokens are kept first: the surest, random ones, or ones spread evenly over the frame." },
  { name: "unmask_schedule", label: "Schedule", kind: "select",
    about: "How many tokens each round leaves: cosine draws many in the last round, geometric a few, in view of the others." },
  { name: "past_window", label: "Window", kind: "select",
    about: "Beyond the world's memory: ring keeps the states it has and is fast; prefill computes the window anew, as in training." },
];

export class Sampling {
  // on.change(settings)
  constructor(box, reset, on) {
    this.box = box;
    this.on = on;
    this.inputs = new Map();
    reset.addEventListener("click", () => { this.show(this.defaults); this.on.change(this.values(this.defaults)); });
  }
  build(sampling, limits) {
    this.defaults = sampling;
    this.inputs.clear();
    this.box.replaceChildren(...FIELDS.filter((field) => sampling[field.name] !== undefined).map((field) => this.field(field, sampling[field.name], limits[field.name])));
    this.show(sampling);
  }
  field(field, value, limit) {
    const id = `sampling-${field.name}`, out = make("output", { htmlFor: id });
    let input;
    if (field.kind === "range") {
      const [min, max] = limit;
      input = make("input", { type: "range", id, min: Math.max(min, field.min), max: Math.min(max, Math.max(field.max, value)), step: field.step });
      input.addEventListener("input", () => { out.textContent = input.value; });
    } else input = make("select", { id }, ...limit.map((name) => make("option", { value: name, textContent: name })));
    input.setAttribute("aria-describedby", `${id}-about`);
    input.addEventListener("change", () => this.on.change({ [field.name]: field.kind === "range" ? Number(input.value) : input.value }));
    this.inputs.set(field.name, { input, out });
    return make("div", { className: "setting" }, make("label", { htmlFor: id, textContent: field.label }), input, out,
      make("p", { id: `${id}-about`, className: "hint", textContent: field.about }));
  }
  values(from) { return Object.fromEntries([...this.inputs.keys()].map((name) => [name, from[name]])); }
  show(values) {
    for (const [name, { input, out }] of this.inputs) {
      if (values[name] === undefined) continue;
      input.value = values[name];
      if (input.type === "range") out.textContent = values[name];
    }
  }
}
