// How things look: colours from the style sheet, patterns for what colour alone must not say, and the drawing itself.

const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif';
const HATCHED = new Set(["cancelled", "unfinished", "unsent"]);

class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.cuts = new Map();
    this.theme();
  }

  // Read the colours anew, as after a change from light to dark.
  theme() {
    const style = getComputedStyle(document.documentElement);
    const names = ["page", "raised", "text", "dim", "line", "row", "hover", "chosen", "window", "veil", "queue", "rate",
      "backoff", "wire", "stream", "error", "place", "first"];
    this.colour = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    this.fills = new Map();
  }

  resize(width, height) {
    const ratio = globalThis.devicePixelRatio || 1;
    if (ratio !== this.ratio) this.fills = new Map();
    this.ratio = ratio;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.pen.font = FONT;
    this.pen.textBaseline = "middle";
  }

  // A repeating tile of `size` pixels, drawn once for each name.
  #tile(name, size, draw) {
    if (!this.fills.has(name)) {
      const tile = document.createElement("canvas");
      tile.width = tile.height = Math.max(1, Math.round(size * this.ratio));
      const pen = tile.getContext("2d");
      pen.scale(tile.width / size, tile.height / size);
      draw(pen);
      const pattern = this.pen.createPattern(tile, "repeat");
      pattern.setTransform(new DOMMatrix().scale(size / tile.width, size / tile.height));
      this.fills.set(name, pattern);
    }
    return this.fills.get(name);
  }

  // What fills a piece: a plain colour, or a pattern.
  fill({kind, state}) {
    const colour = this.colour[state === "error" && !WAITS.has(kind) ? "error" : kind];
    if (HATCHED.has(state)) return this.#hatched(`${kind} ${state}`, colour, state === "unfinished");
    if (kind === "rate") return this.#dotted("rate", colour, 4, 2);
    if (kind === "backoff") return this.#dotted("backoff", colour, 7, 4);
    return colour;
  }

  #hatched(name, colour, falling) {
    return this.#tile(name, 6, (pen) => {
      pen.globalAlpha = 0.18;
      pen.fillStyle = colour;
      pen.fillRect(0, 0, 6, 6);
      pen.globalAlpha = 1;
      pen.strokeStyle = colour;
      pen.lineWidth = 1.7;
      pen.beginPath();
      for (const shift of [-6, 0, 6]) {
        pen.moveTo(shift - 1, falling ? -1 : 7);
        pen.lineTo(shift + 7, falling ? 7 : -1);
      }
      pen.stroke();
    });
  }

  #dotted(name, colour, size, filled) {
    return this.#tile(name, size, (pen) => {
      pen.fillStyle = colour;
      pen.globalAlpha = 0.28;
      pen.fillRect(0, 0, size, size);
      pen.globalAlpha = 1;
      pen.fillRect(0, 0, filled, size);
    });
  }

  // A piece of a call, with what is said by form and not by colour: crosses, frames, first tokens.
  piece(piece, least = 1) {
    const {pen} = this;
    const width = Math.max(least, piece.width);
    if (piece.height < 2) return this.speck(piece, width);
    pen.fillStyle = this.fill(piece);
    pen.fillRect(piece.x, piece.y, width, piece.height);
    if (piece.height < 4) return;
    const onWire = piece.kind === "wire" || piece.kind === "stream";
    if (onWire && piece.hedge) this.#frame(piece, width);
    if (piece.kind === "stream") this.#firstToken(piece);
    if (onWire && piece.state === "error" && piece.height >= 5) this.#cross(piece, width);
  }

  // Too small for a pattern: what waits or was cancelled is pale instead.
  speck({kind, state, x, y, height}, width) {
    const {pen} = this;
    const waits = WAITS.has(kind);
    pen.globalAlpha = waits ? (kind === "queue" ? 0.3 : 0.75) : HATCHED.has(state) ? 0.4 : 1;
    pen.fillStyle = this.colour[state === "error" && !waits ? "error" : kind];
    pen.fillRect(x, y, width, height);
    pen.globalAlpha = 1;
  }

  #frame(piece, width) {
    this.pen.strokeStyle = this.colour.text;
    this.pen.lineWidth = 1;
    this.pen.strokeRect(piece.x + 0.5, piece.y + 0.5, Math.max(1, width - 1), piece.height - 1);
  }

  #firstToken({x, y, height}) {
    this.pen.fillStyle = this.colour.first;
    this.pen.fillRect(x - 0.75, y - 1, 1.5, height + 2);
  }

  #cross(piece, width) {
    const {pen} = this;
    const size = Math.min(3.2, piece.height / 2 - 1);
    const x = piece.x + width;
    const y = piece.y + piece.height / 2;
    for (const [colour, thick] of [[this.colour.page, 4], [this.colour.error, 1.8]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = thick;
      pen.beginPath();
      pen.moveTo(x - size, y - size);
      pen.lineTo(x + size, y + size);
      pen.moveTo(x - size, y + size);
      pen.lineTo(x + size, y - size);
      pen.stroke();
    }
  }

  // The time that a step or branch took, as a pale band between two edges.
  place(piece) {
    const {pen} = this;
    const colour = this.colour[piece.state === "error" ? "error" : "place"];
    const width = Math.max(2, piece.width);
    const middle = piece.y + piece.height / 2;
    pen.globalAlpha = 0.13;
    pen.fillStyle = HATCHED.has(piece.state) ? this.#hatched(`place ${piece.state}`, colour, false) : colour;
    if (HATCHED.has(piece.state)) pen.globalAlpha = 0.5;
    pen.fillRect(piece.x, piece.y, width, piece.height);
    pen.globalAlpha = 1;
    pen.fillStyle = colour;
    if (piece.height < 5) return void pen.fillRect(piece.x, middle - 0.5, width, 1);
    pen.fillRect(piece.x, piece.y, 2, piece.height);
    pen.fillRect(piece.x + width - 2, piece.y, 2, piece.height);
  }

  // What the calls of a closed group did, as heights.
  crowd(view, found, step, top, height) {
    const {kinds, counts, columns, most} = found;
    for (let at = 0; at < columns; at++) {
      let y = top + height;
      for (const kind of kinds) {
        const part = (counts[kind][at] / most) * height;
        if (part <= 0) continue;
        this.pen.fillStyle = this.colour[kind];
        this.pen.fillRect(view.gutter + at * step, y - part, step, part);
        y -= part;
      }
    }
  }

  line(x, from, to, colour, dash = []) {
    const {pen} = this;
    pen.strokeStyle = colour;
    pen.lineWidth = 1;
    pen.setLineDash(dash);
    pen.beginPath();
    pen.moveTo(Math.round(x) + 0.5, from);
    pen.lineTo(Math.round(x) + 0.5, to);
    pen.stroke();
    pen.setLineDash([]);
  }

  words(text, x, y, colour = this.colour.text, veiled = false) {
    const {pen} = this;
    if (veiled) {
      pen.fillStyle = this.colour.veil;
      pen.fillRect(x - 3, y - 8, pen.measureText(text).width + 6, 16);
    }
    pen.fillStyle = colour;
    pen.fillText(text, x, y);
  }

  wide(text) {
    return this.pen.measureText(text).width;
  }

  // Text cut to a width, with an ellipsis.
  cut(text, width) {
    const key = `${Math.floor(width)} ${text}`;
    if (!this.cuts.has(key)) {
      if (this.cuts.size > 5000) this.cuts.clear();
      this.cuts.set(key, this.#cut(text, width));
    }
    return this.cuts.get(key);
  }

  #cut(text, width) {
    if (this.wide(text) <= width) return text;
    let low = 0;
    let high = Math.min(text.length, 400);
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.wide(`${text.slice(0, middle)}…`) <= width) low = middle;
      else high = middle - 1;
    }
    return low ? `${text.slice(0, low)}…` : "";
  }
}

// -- words --------------------------------------------------------------------------------------------------------

function counted(count, what) {
  return `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
}

// How a fan ended: why, and what became of its branches.
function fanWords(fan) {
  const gone = fan.launched - fan.folded - fan.late;
  const parts = [`${fan.folded.toLocaleString("en")} of ${fan.branches.toLocaleString("en")} folded`];
  if (gone > 0) parts.push(`${gone.toLocaleString("en")} cancelled`);
  if (fan.late > 0) parts.push(`${fan.late.toLocaleString("en")} late`);
  if (fan.branches > fan.launched) parts.push(`${(fan.branches - fan.launched).toLocaleString("en")} never launched`);
  return `${fan.why}: ${parts.join(", ")}`;
}

function placeWords(row) {
  const parts = (row.fans ?? []).map(fanWords);
  if (row.kind && row.kind !== "branch") parts.unshift(row.kind);
  if (row.state !== "ok") parts.push(row.error ? `${row.state} (${row.error})` : row.state);
  return parts.join(" · ");
}

// What is remarkable about a call, beside how long it took.
function callWords(row, bar) {
  const tries = bar.sends.filter((send) => !send.hedge && send.sent !== undefined).length;
  const hedges = bar.sends.filter((send) => send.hedge);
  const parts = [bar.sent === undefined ? "not sent" : time(bar.ended - bar.sent)];
  const refused = bar.sends.filter((send) => send.status !== undefined).map((send) => send.status);
  if (tries > 1) parts.push(`${tries} sends`);
  if (refused.length) parts.push([...new Set(refused)].join(", "));
  if (hedges.length) parts.push(hedges.some((send) => send.state === "ok") ? "hedge won" : "hedged");
  if (bar.state !== "ok" && bar.state !== "unsent") parts.push(bar.error ? bar.error.split(":")[0] : bar.state);
  else if (row.state !== bar.state && row.state !== "late") parts.push(row.error ? `${row.state}: ${row.error}` : row.state);
  if (bar.late) parts.push("late");
  return parts.join(" · ");
}
