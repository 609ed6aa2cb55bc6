// Labels that the server has not confirmed: kept in localStorage, one key per event, and sent until they are on its disk.
// All tabs of one annotator share them; an event has a UUID, so that sending it twice is harmless.
const BATCH = 100;  // a body that outlives its page may have 64 kB

function uuid() {
  const b = crypto.getRandomValues(new Uint8Array(16));
  b[6] = (b[6] & 15) | 64; b[8] = (b[8] & 63) | 128;
  const h = [...b].map((v) => v.toString(16).padStart(2, "0")).join("");
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-${h.slice(12, 16)}-${h.slice(16, 20)}-${h.slice(20)}`;
}

export class Outbox {
  // on.changed(count, refused), on.answered(), on.lost(), on.full(why): the server cannot write (empty: it can),
  // on.elsewhere(event): another tab recorded an event
  constructor(prefix, address, on) {
    Object.assign(this, { prefix, address, on, refused: 0, retryMs: 500, number: 0, sending: null });
    addEventListener("storage", (event) => {
      if (event.key === null || !event.key.startsWith(prefix)) return;
      if (event.newValue !== null && event.oldValue === null) on.elsewhere(JSON.parse(event.newValue));
      this.tell();
    });
  }
  waiting() {
    const found = [];
    for (let i = 0; i < localStorage.length; i++) {
      const key = localStorage.key(i);
      if (key.startsWith(this.prefix)) found.push(JSON.parse(localStorage.getItem(key)));
    }
    return found.sort((a, b) => a.at - b.at || a.n - b.n);
  }
  keep(event) {
    const whole = { event_id: uuid(), ...event, at: Date.now(), n: this.number++ };
    localStorage.setItem(this.prefix + whole.event_id, JSON.stringify(whole));
    this.tell();  // now, so that the page never says "all saved" before it has sent the event
  }
  tell() { this.on.changed(this.waiting().length, this.refused); }
  send() {
    this.sending ??= this.sendOnce().finally(() => { this.sending = null; });
    return this.sending;
  }
  async sendOnce() {
    const batch = this.waiting().slice(0, BATCH);
    if (!batch.length) return;
    let failed = true;
    try {
      const answer = await fetch(this.address, {
        method: "POST", keepalive: true, headers: { "content-type": "application/json" },
        body: JSON.stringify({ events: batch.map(({ at, n, shown, ...event }) => event) }),
      });
      if (answer.ok) {
        const result = await answer.json();
        for (const id of result.saved) localStorage.removeItem(this.prefix + id);
        for (const [id, reason] of Object.entries(result.refused)) {
          localStorage.removeItem(this.prefix + id); this.refused++; console.error("refused", id, reason);
        }
        failed = result.saved.length + Object.keys(result.refused).length === 0;
      }
      this.on.full(answer.ok ? "" : (await answer.text()) || `the server answered ${answer.status}`);
      if (answer.status !== 503) this.on.answered();
    } catch (error) { this.on.lost(); /* the events stay here and are sent again */ }
    this.tell();
    this.retryMs = failed ? Math.min(this.retryMs * 2, 8000) : 500;
    if (this.waiting().length) setTimeout(() => this.send(), failed ? this.retryMs : 0);
  }
}
