// Sixteen clips at once: arrows and the mouse choose one, the rating keys rate it.
import { makePlayer } from "./players.js";

export const TILES = 16;
const COLUMNS = 4;

export class Grid {
  // on.failed(clip, error)
  constructor(root, on) {
    this.root = root;
    this.focus = 0;
    this.tiles = Array.from({ length: TILES }, (_, index) => {
      const tile = makePlayer(on);
      tile.box = document.createElement("button");
      tile.box.className = "tile";
      tile.mark = document.createElement("span");
      tile.box.append(tile.video, tile.mark);
      tile.box.addEventListener("click", () => this.choose(index));
      root.append(tile.box);
      return tile;
    });
  }
  get isOpen() { return !this.root.hidden; }
  open(clips, speed, paused) {
    this.root.hidden = false;
    this.tiles.forEach((tile, index) => {
      const clip = clips[index] ?? null;
      tile.box.hidden = clip === null;
      if (clip === null) { if (tile.clip) tile.clear(); return; }
      if (tile.clip !== clip) { tile.load(clip); } else tile.video.currentTime = 0;
      tile.box.dataset.clip = clip.clip_id;
      this.mark(tile, null);
      if (paused) tile.pause(); else tile.play(speed);
    });
    this.choose(0);
  }
  close() {
    this.root.hidden = true;
    for (const tile of this.tiles) if (tile.clip) tile.clear();
  }
  current() { const tile = this.tiles[this.focus]; return tile.clip && tile.rating === null ? tile.clip : null; }
  unrated() { return this.tiles.filter((tile) => tile.clip && tile.rating === null).map((tile) => tile.clip); }
  choose(index) {
    this.focus = index;
    this.tiles.forEach((tile, at) => { tile.box.setAttribute("aria-current", at === index); tile.box.tabIndex = at === index ? 0 : -1; });
    this.tiles[index].box.focus({ preventScroll: true });
  }
  move(dx, dy) {
    const next = this.focus + dx + COLUMNS * dy, column = this.focus % COLUMNS + dx;
    if (column >= 0 && column < COLUMNS && next >= 0 && next < TILES && this.tiles[next].clip) this.choose(next);
  }
  // Mark a clip's tile as rated, and go on to the next that is not; tell whether any is left.
  rated(clip, rating) {
    const at = this.tiles.findIndex((tile) => tile.clip === clip);
    if (at >= 0) this.mark(this.tiles[at], rating);
    const order = this.tiles.map((_, step) => (this.focus + step) % TILES);
    const next = order.find((index) => this.tiles[index].clip && this.tiles[index].rating === null);
    if (next !== undefined && this.tiles[this.focus].rating !== null) this.choose(next);
    return next !== undefined;
  }
  // Take a clip's rating back; tell whether the grid shows it.
  undone(clip) {
    const at = this.tiles.findIndex((tile) => tile.clip === clip);
    if (at < 0) return false;
    this.mark(this.tiles[at], null);
    this.choose(at);
    return true;
  }
  mark(tile, rating) {
    tile.rating = rating;
    tile.mark.textContent = rating === null ? "" : rating || "s";
    tile.box.classList.toggle("rated", rating !== null);
    tile.box.dataset.rating = rating ?? "";
    const said = rating === null ? "no rating yet" : rating ? `rated ${rating}` : "skipped";
    tile.box.setAttribute("aria-label", tile.clip ? `${tile.clip.title || tile.clip.clip_id}, ${said}` : "");
  }
  again() { for (const tile of this.tiles) if (tile.clip && tile.lacks) tile.load(tile.clip); }
  setSpeed(speed) { for (const tile of this.tiles) tile.video.playbackRate = tile.video.defaultPlaybackRate = speed; }
  pause(paused, speed) { for (const tile of this.tiles) if (tile.clip) { if (paused) tile.pause(); else tile.play(speed); } }
}
