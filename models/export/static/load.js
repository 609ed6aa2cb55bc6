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

async function loadOn(build, provider, about, graphs) {
  const runtime = globalThis.ort[build];
  runtime.env.logLevel = "error";
  runtime.env.wasm.numThreads = 1;   // threads need cross-origin isolation, which a file on disk cannot have
  runtime.env.wasm.wasmBinary = (await unpacked(`wasm-${build}`)).buffer;
  const options = { executionProviders: [provider], graphOptimizationLevel: "all", logSeverityLevel: 3 };
  const dynamics = await runtime.InferenceSession.create(graphs.dynamics, options);
  const decoder = await runtime.InferenceSession.create(graphs.decoder, options);
  return {
    about, backend: provider === "webgpu" ? "WebGPU" : "WASM",
    dynamics: new Network(runtime, dynamics, about.context, about.head_dim),
    decoder: new Network(runtime, decoder, about.window, about.decoder_head_dim),
  };
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
