// Where things are: seconds and rows as pixels, and the pieces of which each row is made.

const AXIS = 26; // pixels above the first row, for the times
const LABELLED = 12; // the least height of a row that has words
const LEAST = 1e-5; // seconds that can fill the width
const WAITS = new Set(["queue", "rate", "backoff"]);

class View {
  constructor(end) {
    this.whole = end > 0 ? end * 1.12 : 1; // with room for the words after the last call
    this.width = this.height = this.scroll = 0;
    this.gutter = 0;
    this.row = 24;
    this.fit();
  }

  resize(width, height) {
    this.width = width;
    this.height = height;
    this.gutter = Math.round(Math.min(300, Math.max(110, width * 0.24)));
  }

  get plot() {
    return Math.max(1, this.width - this.gutter);
  }

  x(seconds) {
    return this.gutter + ((seconds - this.from) / (this.to - this.from)) * this.plot;
  }

  seconds(x) {
    return this.from + ((x - this.gutter) / this.plot) * (this.to - this.from);
  }

  y(position) {
    return AXIS + position * this.row - this.scroll;
  }

  fit() {
    this.show(0, this.whole);
  }

  // Show this stretch of time; it stays within the run, and keeps its length where it can.
  show(from, to) {
    const length = Math.min(this.whole, Math.max(LEAST, to - from));
    this.from = Math.min(Math.max(0, from), this.whole - length);
    this.to = this.from + length;
  }

  zoom(factor, x = this.gutter + this.plot / 2) {
    const at = this.seconds(x);
    const length = Math.min(this.whole, Math.max(LEAST, (this.to - this.from) / factor));
    const share = (at - this.from) / (this.to - this.from);
    this.show(at - share * length, at + (1 - share) * length);
  }

  pan(pixels) {
    const by = (pixels / this.plot) * (this.to - this.from);
    this.show(this.from + by, this.to + by);
  }
}

// How high the band of a row is, and how far below the row's top.
function band(row) {
  const space = row >= LABELLED ? Math.round(row * 0.17) : row > 3 ? 1 : 0;
  return {top: space, height: Math.max(0.6, row - 2 * space)};
}

// The pieces of one call: waits are thin, what is on the wire is thick; hedges stand below the send they help.
function callPieces(view, bar, number, top) {
  const {top: space, height} = band(view.row);
  const hedged = bar.sends.some((send) => send.hedge);
  const lane = hedged && height >= 5 ? (height - 1) / 2 : height;
  const pieces = [];
  bar.sends.forEach((send, at) => {
    const y = top + space + (send.hedge && lane < height ? lane + 1 : 0);
    for (const [kind, start, end] of send.phases) {
      const thin = WAITS.has(kind) && lane >= 4;
      const x = view.x(start);
      // How a send ended is no matter of its waits, unless it never came further.
      const state = WAITS.has(kind) && send.sent !== undefined ? "ok" : send.state;
      pieces.push({
        kind, x, width: view.x(end) - x,
        y: thin ? y + lane * 0.3 : y, height: thin ? lane * 0.4 : lane,
        state, hedge: Boolean(send.hedge), row: number, call: bar.number, send: at,
      });
    }
  });
  return pieces;
}

// The pieces of a row at `top`: a call's, or one for each time that a step or branch ran.
function pieces(view, tree, number, top) {
  const row = tree.rows[number];
  const bar = tree.barOf(row);
  if (bar) return callPieces(view, bar, number, top);
  const {top: space, height} = band(view.row);
  const spans = row.spans?.length ? row.spans : [[row.start, row.end, row.state]];
  return spans.map(([start, end, state]) => {
    const x = view.x(start);
    return {kind: "place", x, width: view.x(end) - x, y: top + space, height, state, row: number};
  });
}

// The rows that can be seen, each with its number, its position in the list, and its top.
function visibleRows(view, tree) {
  const shown = tree.shown();
  const first = Math.max(0, Math.floor(view.scroll / view.row));
  const last = Math.min(shown.length, Math.ceil((view.scroll + view.height - AXIS) / view.row) + 1);
  const rows = [];
  for (let at = first; at < last; at++) rows.push({number: shown[at], position: at, top: view.y(at)});
  return rows;
}

// How many calls of a group were in each phase, for each `step` pixels of the width.
function crowd(view, bars, step) {
  const columns = Math.ceil(view.plot / step);
  const kinds = ["stream", "wire", "queue", "rate", "backoff"];
  const counts = Object.fromEntries(kinds.map((kind) => [kind, new Float64Array(columns + 1)]));
  for (const bar of bars) {
    for (const send of bar.sends) {
      for (const [kind, start, end] of send.phases) {
        const from = Math.floor((view.x(start) - view.gutter) / step);
        const to = Math.max(from + 1, Math.floor((view.x(end) - view.gutter) / step));
        if (to <= 0 || from >= columns) continue;
        counts[kind][Math.max(0, from)] += 1;
        counts[kind][Math.min(columns, to)] -= 1;
      }
    }
  }
  let most = 1;
  const totals = new Float64Array(columns);
  for (const kind of kinds) {
    let now = 0;
    for (let at = 0; at < columns; at++) {
      now += counts[kind][at];
      counts[kind][at] = now;
      totals[at] += now;
      most = Math.max(most, totals[at]);
    }
  }
  return {kinds, counts, columns, most};
}

// About `wanted` round times between two, for the grid.
function ticks(from, to, wanted) {
  const rough = (to - from) / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= rough);
  const found = [];
  for (let at = Math.ceil(from / step); at * step <= to; at++) found.push(at * step);
  return {step, found};
}

// A duration as people read it.
function time(seconds) {
  const show = (value, digits) => value.toLocaleString("en", {maximumFractionDigits: digits});
  if (seconds === 0) return "0 s";
  if (seconds >= 1) return `${show(seconds, 2)} s`;
  return seconds >= 1e-3 ? `${show(seconds * 1e3, seconds < 0.1 ? 1 : 0)} ms` : `${show(seconds * 1e6, 0)} µs`;
}

// A moment on an axis that goes up to `to` in steps of `step`.
function moment(seconds, step, to) {
  const [unit, name] = to >= 1 ? [1, "s"] : to >= 1e-3 ? [1e-3, "ms"] : [1e-6, "µs"];
  const digits = Math.min(6, Math.max(0, Math.ceil(-Math.log10(step / unit) - 1e-9)));
  return `${(seconds / unit).toLocaleString("en", {minimumFractionDigits: digits, maximumFractionDigits: digits})} ${name}`;
}
