// One game over the websocket: begun, taken over, replayed from its link, and gone on with after the server was away.
import { ask, askJson, sentence } from "./ask.js";
import { Wire } from "./wire.js";

const AWAY = "The server is gone: it was stopped, or it was killed. Start it again with the same `lampworks play` command, "
  + "on the same port; this page looks for it and goes on by itself.";
const KEY = "lampworks-play/game", LOOK_MS = 1000;

// on: world(about), started(header), frame(header, pictures), error(text), settings(values), pruned(ids), again(start), state(text, isGone)
export class Session {
  constructor(on) {
    this.on = on;
    this.plays = false;       // whether a game is on and the server answers
    this.game = null;
    this.link = "";           // of the last pause in play
    this.at = { start: "", t: 0, model: "" };
    this.server = null;
    this.model = "";
    this.url = "api/world";
    this.wasAway = false;
    this.before = remembered();   // of this tab, before it was loaded again
    this.drawing = Promise.resolve();
    this.wire = new Wire({ open: () => this.opened(), message: (...message) => this.message(...message), lost: () => this.lost() });
    addEventListener("hashchange", () => this.startLink(location.hash));
    // not while the page is open: a copy of this tab would take the game over
    addEventListener("pagehide", () => remember({ game: this.game, link: this.link }));
    addEventListener("pageshow", () => remember(null));
  }
  open() { this.wire.open(); }
  send(message) { this.wire.send(message); }
  pictureUrl(node) { return `api/games/${this.game}/frames/${node}.png`; }

  async opened() {
    let about;
    try {
      about = await askJson(this.url, { signal: AbortSignal.timeout(10000) });
    } catch (error) {
      // the server on this port plays other worlds now
      if (error.status === 404) { this.url = "api/world"; this.model = ""; this.server = null; }
      this.on.state(error.message, true);
      setTimeout(() => { if (this.wire.isOpen) this.opened(); }, LOOK_MS);
      return;
    }
    const first = this.server === null, isNew = this.server !== about.server;
    this.server = about.server;
    if (isNew) { this.model ||= about.model; this.on.world(about); }
    this.starts = about.starts;
    const { game = null, link = "" } = first ? this.before : { game: this.game, link: location.hash };
    if (game && (!location.hash || location.hash === link)) this.send({ type: "resume", game });
    else this.fresh();
  }
  // no game to take over: the link of the address, or of the game that was lost; else the first start
  async fresh() {
    if (this.wasAway && this.link) { this.replays = true; this.startLink(await this.moved(this.link)); }
    else if (location.hash.includes("start=")) this.startLink(location.hash);
    else this.start({ start: this.starts.some((one) => one.name === this.at.start) ? this.at.start : this.starts[0].name });
  }
  // a picture of this page has another name on a new server
  async moved(link) {
    const query = new URLSearchParams(link.replace(/^#/, "")), name = query.get("start");
    if (!name?.startsWith("picture:")) return link;
    let fresh = name;
    try {
      fresh = await this.on.again(name);
    } catch (error) { this.on.error(error.message); }   // the server then says that the start is gone
    return link.replace(/(^|[#&])start=[^&]*/, `$1start=${encodeURIComponent(fresh)}`);
  }
  start(what) {
    this.at = { ...this.at, ...what };
    if (!this.wire.isOpen) { this.again(); return; }
    this.asksLink = false;
    this.send({ type: "start", model: this.model, ...what });
  }
  startLink(link) {
    if (!link.includes("start=")) return;
    this.asksLink = true;
    this.send({ type: "start", link });
  }
  // a new game on a connection that was ended
  again() {
    if (!this.wire.stopped) return;
    this.game = null;
    this.link = "";
    this.wasAway = false;
    history.replaceState(null, "", location.pathname + location.search);
    this.wire.open();
  }
  // another model: { model, url }
  choose({ model, url }) {
    this.model = model;
    this.url = url;
    this.server = null;
    this.game = null;
    history.replaceState(null, "", location.pathname + location.search);
    this.opened();
  }

  // one after the other: a frame is drawn before the next message counts
  message(header, pictures) {
    this.drawing = this.drawing.then(() => this.handle(header, pictures)).catch((error) => this.on.error(`The page could not show what the server sent: ${error.message}`));
  }
  handle(header, pictures) {
    const { type } = header;
    if (type === "frame") return this.on.frame(header, pictures);
    if (type === "started") return this.started(header);
    if (type === "link") this.keepLink(header.link);
    else if (type === "settings") this.on.settings(header);
    else if (type === "pruned") this.on.pruned(header.nodes);
    else if (type === "replaying") this.on.state(`Playing the link's actions: frame ${header.t} of ${header.of}.`, false);
    else if (type === "gone") { this.game = null; this.fresh(); }
    else if (type === "full") { this.wire.isFull = true; this.refused = `${sentence(header.error)} This page tries again by itself.`; }
    else if (type === "error" && header.fatal) this.end(header.error);
    else if (type === "error") this.refuse(header.error, header.n ?? null);
    return null;
  }
  // the server ends the connection for a reason that another try would not change
  end(text) {
    this.wire.stop();
    this.refused = `${sentence(text)} Press R, or choose a start, to begin a new game here.`;
  }
  async started(header) {
    if (header.model !== this.model) {
      // a link, or a game before this page was loaded, of another world of this server
      const about = await askJson(`api/world?model=${encodeURIComponent(header.model)}`);
      this.starts = about.starts;
      this.on.world(about);
    }
    this.game = document.body.dataset.game = header.game;
    this.model = header.model;
    this.url = `api/world?model=${encodeURIComponent(header.model)}`;
    this.at.start = header.start;
    this.plays = true;
    this.refused = "";
    this.wire.isFull = false;
    const back = this.wasAway ? (header.resumed ? "The connection is back; the game goes on." : this.replays
      ? "The server is back. The game was replayed from its link, and goes on."
      : "The server is back. The game ended with the old one: this is a new game.") : "";
    this.wasAway = this.replays = false;
    this.on.state(back, false);
    this.on.started(header);
    this.keepLink(header.link);
  }
  // a link whose start is gone, or a wrong one: say so, and begin at the first start
  refuse(text, press) {
    this.on.error(sentence(text), press);
    if (this.plays || !this.asksLink) return;
    this.asksLink = false;
    this.link = "";
    history.replaceState(null, "", location.pathname + location.search);
    this.start({ start: this.starts[0].name });
  }
  keepLink(link) {
    if (!link) return;
    this.link = link;
    // the address of a game in which nothing was played stays short
    history.replaceState(null, "", location.pathname + location.search + (/actions=[^&]/.test(link) ? link : ""));
  }
  lost() {
    this.plays = false;
    this.wasAway = !this.wire.stopped;
    this.on.state(this.refused || AWAY, true);
    if (!this.refused) this.why();
  }
  // a server that is there and refuses says why over HTTP; a browser does not tell what a refused websocket was told
  async why() {
    try {
      await ask("api/world");
    } catch (error) { if (error.status && !this.plays) this.on.state(error.message, true); }
  }
}

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? {};
  } catch { return {}; }
}
function remember(what) {
  try {
    if (what === null) sessionStorage.removeItem(KEY); else sessionStorage.setItem(KEY, JSON.stringify(what));
  } catch { /* forbidden for this page: a reload then goes on from the address */ }
}
