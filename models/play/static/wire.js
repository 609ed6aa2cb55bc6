// The websocket to the server: messages out, frames in, and a new try whenever it was lost.
const RETRY_MS = 700, FULL_RETRY_MS = 4000, SILENT_MS = 20000;

// on.open(): connected. on.message(header, pictures): an answer, pictures as PNG blobs. on.lost(): the server does not answer.
export class Wire {
  constructor(on) {
    this.on = on;
    this.socket = null;
    this.isOpen = false;
    this.stopped = false;   // no new try
    this.isFull = false;    // no hurry with the next try
  }
  stop() { this.stopped = true; }
  open() {
    this.stopped = false;
    const socket = new WebSocket(new URL("api/play", location.href.replace(/^http/, "ws").replace(/#.*$/, "")));
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    // a server that takes the connection and never answers is no server
    const timer = setTimeout(() => socket.close(), SILENT_MS);
    socket.onopen = () => { clearTimeout(timer); this.isOpen = true; this.on.open(); };
    socket.onmessage = (event) => this.on.message(...parse(event.data));
    socket.onclose = () => {
      clearTimeout(timer);
      if (this.socket !== socket) return;
      this.isOpen = false;
      this.on.lost();
      if (!this.stopped) setTimeout(() => this.open(), this.isFull ? FULL_RETRY_MS : RETRY_MS);
    };
  }
  send(message) {
    if (this.isOpen && this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }
}

// 4 bytes: length of the header, big-endian; the header as JSON; the pictures one after the other
export function parse(data) {
  if (typeof data === "string") return [JSON.parse(data), []];
  const length = new DataView(data).getUint32(0), body = new Uint8Array(data, 4 + length);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const pictures = [];
  let at = 0;
  for (const size of header.sizes ?? (body.length ? [body.length] : [])) {
    pictures.push(size ? new Blob([body.subarray(at, at + size)], { type: "image/png" }) : null);
    at += size;
  }
  return [header, pictures];
}
