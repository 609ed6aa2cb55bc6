// One clip at a time: of a pool of players one shows the current clip, the others have the next ones decoded.
import { fileOf, makePlayer } from "./players.js";

const POOL = 4, FRAMES = 8;

export class Stage {
  // on.failed(clip, error), on.painted(clip): a frame of the current clip is on the screen
  constructor(stage, strips, on) {
    this.on = on;
    this.shown = null;
    this.slots = Array.from({ length: POOL }, () => {
      const slot = makePlayer(on);
      slot.box = document.createElement("div");
      slot.box.className = "slot";
      slot.box.append(slot.video);
      slot.strip = document.createElement("img");
      slot.strip.alt = "";
      slot.strip.addEventListener("load", () => {
        const aspect = slot.strip.naturalWidth / FRAMES / slot.strip.naturalHeight;
        document.documentElement.style.setProperty("--aspect", aspect.toFixed(4));
      });
      stage.prepend(slot.box);
      strips.append(slot.strip);
      return slot;
    });
  }
  show(clips, speed, paused) {
    const wanted = clips.slice(0, POOL), [current] = wanted;
    let slot = null;
    if (current) {
      slot = this.slots.find((s) => s.clip === current) ?? this.slots.find((s) => !wanted.includes(s.clip)) ?? this.slots[0];
      if (slot.clip !== current) this.load(slot, current);
      if (slot.video.currentTime > 0) slot.video.currentTime = 0;
      slot.plays = !paused;
      if (paused) slot.video.playbackRate = slot.video.defaultPlaybackRate = speed; else slot.play(speed);
      slot.video.requestVideoFrameCallback(() => { if (this.shown === slot && slot.clip === current) this.on.painted(current); });
    }
    this.shown = slot;
    for (const s of this.slots) {
      s.box.classList.toggle("shown", s === slot);
      s.strip.classList.toggle("shown", s === slot);
      if (s !== slot) s.pause();
    }
    for (const clip of wanted.slice(1)) {
      if (this.slots.some((s) => s.clip === clip)) continue;
      const free = this.slots.find((s) => s !== slot && !wanted.includes(s.clip));
      if (free) this.load(free, clip);
    }
  }
  load(slot, clip) {
    slot.load(clip);
    slot.strip.src = "frames/" + clip.clip_id;
  }
  again() { for (const slot of this.slots) if (slot.clip && slot.lacks) this.load(slot, slot.clip); }
  hide() { this.show([], 1, true); }
  setSpeed(speed) { for (const slot of this.slots) slot.video.playbackRate = slot.video.defaultPlaybackRate = speed; }
  pause(paused, speed) { if (this.shown) { if (paused) this.shown.pause(); else this.shown.play(speed); } }
  prefetch(clips) { for (const clip of clips) fileOf(clip.clip_id).catch(() => {}); }
}
