// The frames of a game as a tree: a rewound game goes on as a branch, and the frames that it left stay.
const PRUNE_AT = 64;

export class Tree {
  constructor() { this.clear(); }
  clear() {
    this.nodes = new Map();   // id -> { id, parent, t, action, children, doubt, place, gone }
    this.path = [];           // from the oldest frame that is kept to the newest one of the branch that is played
    this.current = null;      // the frame that is shown
    this.gone = 0;
  }
  add(id, parent, t, action, doubt = null) {
    const node = { id, parent, t, action, children: [], doubt, place: -1, gone: false };
    this.nodes.set(id, node);
    this.nodes.get(parent)?.children.push(node);
    return node;
  }
  // all frames of a game that was taken over: [[id, parent, t, action], ...]
  load(rows) {
    this.clear();
    for (const row of rows) this.add(...row);
  }

  // Show a frame; return whether it is a new one.
  visit({ node, parent = null, t, action = null, doubt = null }) {
    let found = this.nodes.get(node);
    const isNew = found === undefined;
    if (isNew) found = this.add(node, parent, t, action, doubt);
    else if (doubt) found.doubt = doubt;
    if (found.place < 0) {
      const from = this.current;
      if (isNew && from && from.id === parent && from.place >= 0) {
        for (const left of this.path.splice(from.place + 1)) left.place = -1;
        found.place = this.path.push(found) - 1;
      } else this.follow(found);
    }
    this.current = found;
    return isNew;
  }
  // Take the path through a frame: up to the oldest one, and down along the newest branches.
  follow(node) {
    for (const old of this.path) old.place = -1;
    const path = [];
    for (let one = node; one; one = this.nodes.get(one.parent)) path.push(one);
    path.reverse();
    for (let one = node.children.at(-1); one; one = one.children.at(-1)) path.push(one);
    this.setPath(path);
  }
  setPath(path) {
    this.path = path;
    path.forEach((node, place) => { node.place = place; });
  }
  // Forget frames that the server does not keep any more.
  prune(ids) {
    for (const id of ids) {
      const node = this.nodes.get(id);
      if (!node) continue;
      this.nodes.delete(id);
      node.gone = true;
      const parent = this.nodes.get(node.parent);
      if (parent) parent.children = parent.children.filter((child) => child !== node);
      this.gone++;
    }
    if (this.gone < PRUNE_AT) return;
    this.gone = 0;
    this.setPath(this.path.filter((node) => !node.gone));
  }

  // Ends of the branches that are not played now, the newest first: [{ tip, fork, length }].
  branches() {
    const found = [];
    for (const tip of this.nodes.values()) {
      if (tip.children.length || tip.place >= 0) continue;
      let fork = tip;
      while (fork && fork.place < 0) fork = this.nodes.get(fork.parent);
      found.push({ tip, fork: fork ?? null, length: tip.t - (fork?.t ?? 0) });
    }
    return found.reverse();
  }
  before() { return this.path[(this.current?.place ?? 0) - 1] ?? null; }
  after() { return this.current ? this.path[this.current.place + 1] ?? null : null; }
}
