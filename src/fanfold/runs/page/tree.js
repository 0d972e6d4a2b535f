// Which rows are shown: a tree whose groups open and close, and a search that leaves out the rest.

class Tree {
  constructor({rows, bars}) {
    this.rows = rows;
    this.bars = bars;
    this.last = this.#lastUnder();
    this.firstBar = this.#firstBars();
    this.texts = rows.map((row) => this.#findable(row));
    this.closed = new Set();
    this.found = null;
    this.cached = null;
    this.closeBelow(200);
  }

  // The number of the last row under each; rows stand in order, every group before what is under it.
  #lastUnder() {
    const last = this.rows.map((_, at) => at);
    for (let at = last.length - 1; at > 0; at--) {
      const parent = this.rows[at].parent;
      if (parent >= 0) last[parent] = Math.max(last[parent], last[at]);
    }
    return last;
  }

  // How many bars stand before each row, so that those under a group are one stretch of the list.
  #firstBars() {
    const first = [0];
    for (const row of this.rows) first.push(first.at(-1) + (row.bar === undefined ? 0 : 1));
    return first;
  }

  #findable(row) {
    const bar = this.barOf(row);
    const words = [row.name, row.place, row.kind, row.state, row.error];
    if (bar) {
      words.push(`call ${bar.number}`, bar.model, bar.state, bar.error, bar.late && "late", bar.made_up && "made up");
      if (bar.sends.filter((send) => !send.hedge).length > 1) words.push("retry");
      for (const send of bar.sends) words.push(send.hedge && "hedge", send.status, send.error);
    }
    return words.filter(Boolean).join("\n").toLowerCase();
  }

  barOf(row) {
    return row.bar === undefined ? null : this.bars[row.bar];
  }

  barsUnder(at) {
    return this.bars.slice(this.firstBar[at], this.firstBar[this.last[at] + 1]);
  }

  isGroup(at) {
    return this.last[at] > at;
  }

  isClosed(at) {
    return this.found === null && this.closed.has(at);
  }

  // The numbers of the rows that are shown, from top to bottom.
  shown() {
    if (this.cached) return this.cached;
    const shown = [];
    for (let at = 0; at < this.rows.length;) {
      if (!this.found || this.found.has(at)) shown.push(at);
      at = this.isClosed(at) ? this.last[at] + 1 : at + 1;
    }
    this.cached = shown;
    return shown;
  }

  toggle(at, open = this.closed.has(at)) {
    if (!this.isGroup(at)) return;
    if (open) this.closed.delete(at);
    else this.closed.add(at);
    this.cached = null;
  }

  openAll() {
    this.closed.clear();
    this.cached = null;
  }

  closeAll() {
    this.rows.forEach((row, at) => row.depth > 0 && this.toggle(at, false));
    this.cached = null;
  }

  // Open as many levels as give about `most` rows; the first level always.
  closeBelow(most) {
    const deep = [];
    for (const row of this.rows) deep[row.depth] = (deep[row.depth] ?? 0) + 1;
    let level = 1;
    let count = deep[0] + (deep[1] ?? 0);
    while (level + 1 < deep.length && count + deep[level + 1] <= most) count += deep[++level];
    this.rows.forEach((row, at) => row.depth >= level && this.toggle(at, false));
  }

  // Show only the rows that hold every word, and the groups around them.
  find(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.cached = null;
    this.found = words.length ? new Set() : null;
    if (!words.length) return;
    this.texts.forEach((own, at) => {
      if (!words.every((word) => own.includes(word))) return;
      for (let up = at; up >= 0 && !this.found.has(up); up = this.rows[up].parent) this.found.add(up);
    });
  }
}
