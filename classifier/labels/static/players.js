// Clips as whole files in memory, and the pool of video elements that play them.
const KEPT = 48;  // clips in memory: a grid, the next grid, and the pool

export class Unreadable extends Error {}  // this clip cannot be shown; others can
export class Away extends Error {}  // the server does not answer

const files = new Map();  // clip id -> promise of a blob's address, least recently used first

export function fileOf(id) {
  const found = files.get(id) ?? download(id);
  files.delete(id);
  files.set(id, found);
  if (files.size > KEPT) {
    const [oldest, file] = files.entries().next().value;
    files.delete(oldest);
    file.then((address) => URL.revokeObjectURL(address), () => {});
  }
  return found;
}
function download(id) {
  const file = ask(id);
  file.catch(() => { if (files.get(id) === file) files.delete(id); });
  return file;
}
async function ask(id) {
  for (let attempt = 0; ; attempt++) {
    let answer, body;
    try {
      answer = await fetch("clip/" + id);
      body = await (answer.ok ? answer.blob() : answer.text());
    } catch (error) { throw new Away(String(error)); }
    if (answer.ok) return URL.createObjectURL(body);
    // a store may be busy for a moment
    if (answer.status !== 503 || attempt === 2) throw new Unreadable(body.slice(0, 300));
    await new Promise((done) => setTimeout(done, 700));
  }
}

export function makePlayer(on) {
  // on.failed(clip, error)
  const video = document.createElement("video");
  Object.assign(video, { muted: true, loop: true, playsInline: true, preload: "auto" });
  const player = { video, clip: null, lacks: false, plays: false };
  video.addEventListener("error", () => {
    if (player.clip && video.getAttribute("src")) on.failed(player.clip, new Unreadable("the browser cannot play it"));
  });
  player.load = async (clip) => {
    player.clip = clip;
    player.lacks = false;
    try {
      const address = await fileOf(clip.clip_id);
      if (player.clip !== clip) return;
      video.src = address;
      if (player.plays) video.play().catch(() => {});
    } catch (error) {
      if (player.clip !== clip) return;
      player.lacks = true;
      on.failed(clip, error);
    }
  };
  player.play = (speed) => {
    player.plays = true;
    video.playbackRate = video.defaultPlaybackRate = speed;
    if (video.getAttribute("src")) video.play().catch(() => {});
  };
  player.pause = () => { player.plays = false; video.pause(); };
  player.clear = () => { player.clip = null; player.pause(); video.removeAttribute("src"); video.load(); };
  return player;
}
