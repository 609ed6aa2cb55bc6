// Unpack what the page carries, and load the networks into the runtime: WebGPU where there is, else WebAssembly.
async function unpacked(id) {
  const element = document.getElementById(id), text = atob(element.textContent);
  element.remove();   // the text is not needed again, and takes megabytes
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// whether this browser computes on a graphics processor, and this page carries the build that does
async function hasGpu() {
  if (!document.getElementById("wasm-jspi") || !("gpu" in navigator) || !("Suspending" in WebAssembly)) return false;
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  return adapter !== null && (!(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter) || wanted() === "webgpu");
}

// `#backend=wasm` or `#backend=webgpu` at the end of the address chooses
function wanted() { return new URLSearchParams(location.hash.slice(1)).get("backend"); }

// Pictures that a worker makes.
class PicturesApart {
  constructor(script) {
    this.apart = true;
    this.asked = new Map();
    this.last = 0;
    const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    this.worker = new Worker(address);
    this.worker.onmessage = ({ data }) => {
      const { done, failed } = this.asked.get(data.id);
      this.asked.delete(data.id);
      if (data.error === undefined) done(data.made);
      else failed(new Error(data.error));
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      for (const { failed } of this.asked.values()) failed(new Error(event.message || "the worker did not start"));
      this.asked.clear();
    };
  }

  ask(work, given) {
    const id = ++this.last;
    return new Promise((done, failed) => {
      this.asked.set(id, { done, failed });
      this.worker.postMessage({ id, work, ...given });
    });
  }

  alone(tokens) { return this.ask("alone", { tokens }); }
  begin(tokens) { return this.ask("begin", { tokens }); }
  next(tokens) { return this.ask("next", { tokens }); }
  rewind(t) { return this.ask("rewind", { t }); }
  prepare() {}   // the worker does so by itself
}

// the decoder in a worker, where the browser lets a file have one
async function loadApart(about, wasm, graph) {
  let pictures = null;
  try {
    const [runtime, own] = ["runtime-wasm", "worker"].map((id) => document.getElementById(id).textContent);
    // Chromium lets a file start no worker that is a module; own names in a block of their own, beside the runtime's
    pictures = new PicturesApart(
      `"use strict";\n${runtime.replaceAll("import.meta.url", "location.href")}\n{\n${own}\n}`);
    await pictures.ask("load", { about: { window: about.window, decoder_head_dim: about.decoder_head_dim,
                                          sampling: about.sampling }, wasm, graph });
    return pictures;
  } catch (error) {
    console.info(`The decoder runs in the page: ${error.message}`);
    pictures?.worker?.terminate();
    return null;
  }
}

async function loadOn(build, provider, about, graphs) {
  const runtime = globalThis.ort[build], wasm = await unpacked(`wasm-${build}`);
  const dynamics = await networkOn(runtime, wasm, provider, graphs.dynamics, about.context, about.head_dim);
  let pictures = provider === "wasm" ? await loadApart(about, wasm, graphs.decoder) : null;
  pictures ??= new Pictures(
    about, await networkOn(runtime, wasm, provider, graphs.decoder, about.window, about.decoder_head_dim));
  const name = provider === "webgpu" ? "WebGPU" : "WASM", threads = pictures.apart ? 2 : 1;
  return { about, backend: name, threads, dynamics, pictures };
}

// Compare the first step after the first start frame with what the server computed; a driver may be wrong.
async function agreement(world) {
  const { about, dynamics } = world, start = tokensOf(about.starts[0]);
  dynamics.forget();
  await dynamics.frame(start, about.num_actions, true);
  const logits = await dynamics.frame(new Int32Array(start.length).fill(about.num_codes), about.probe.action, false);
  dynamics.forget();
  const codes = about.num_codes;
  const same = about.probe.tokens.filter((code, place) => likeliest(logits, place * codes, codes) === code).length;
  return same / start.length;
}

function tokensOf(start) { return Uint16Array.from(start.tokens); }

const LEAST_AGREEMENT = 0.9;

async function loadWorld(about) {
  const graphs = { dynamics: await unpacked("dynamics"), decoder: await unpacked("decoder") };
  let why = "";
  if (wanted() !== "wasm" && await hasGpu()) {
    try {
      const world = await loadOn("jspi", "webgpu", about, graphs);
      const same = await agreement(world);
      if (same >= LEAST_AGREEMENT) return { ...world, why };
      why = `WebGPU computes other frames than the server did (${Math.round(100 * same)} % of the tokens agree).`;
    } catch (error) {
      why = `WebGPU failed: ${error.message}`;
    }
  }
  const world = await loadOn("wasm", "wasm", about, graphs);
  const same = await agreement(world);
  if (same < LEAST_AGREEMENT)
    why += ` This browser computes other frames than the server did (${Math.round(100 * same)} % of the tokens agree).`;
  return { ...world, why };
}
