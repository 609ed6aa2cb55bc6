// The decoder in a thread of its own: it makes the picture of a frame while the page draws the tokens of the next one.
let pictures = null, busy = Promise.resolve(), waiting = 0;
const WORK = {
  load: async ({ about, wasm, graph }) => {
    const decoder = await networkOn(globalThis.ort.wasm, wasm, "wasm", graph, about.window, about.decoder_head_dim);
    pictures = new Pictures(about, decoder);
  },
  alone: ({ tokens }) => pictures.alone(tokens),
  begin: ({ tokens }) => pictures.begin(tokens),
  next: ({ tokens }) => pictures.next(tokens),
  rewind: ({ t }) => pictures.rewind(t),
};

async function answer(asked) {
  try {
    postMessage({ id: asked.id, made: await WORK[asked.work](asked) });
  } catch (error) {
    postMessage({ id: asked.id, error: error.message });
  }
  // an error in here comes again when the next picture is asked for, and is told then
  if (!--waiting && (asked.work === "begin" || asked.work === "next")) await pictures.prepare().catch(() => null);
}

onmessage = ({ data }) => {
  waiting++;
  busy = busy.then(() => answer(data));
};
