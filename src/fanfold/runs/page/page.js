// The page: what it reads, what it listens to, and what it says of the row under the pointer.

const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const chart = element("chart");
const tree = new Tree(data);
const view = new View(data.end);
const painter = new Painter(element("plot"));
const overview = new Overview(element("overview"), tree, view, (scroll) => moved(scroll));
let hovered = -1;
let chosen = -1;
let pointer = null;
let asked = 0;

// -- drawing ------------------------------------------------------------------------------------------------------

// Draw once before the next frame, however often it is asked for.
function redraw() {
  asked ||= requestAnimationFrame(draw);
}

function draw() {
  asked = 0;
  view.scroll = chart.scrollTop;
  const {pen, colour} = painter;
  pen.fillStyle = colour.page;
  pen.fillRect(0, 0, view.width, view.height);
  const rows = visibleRows(view, tree);
  rows.forEach(drawBackground);
  const grid = ticks(view.from, view.to, view.plot / 110);
  for (const at of grid.found) painter.line(view.x(at), AXIS, view.height, colour.line);
  pen.save();
  pen.beginPath();
  pen.rect(view.gutter, AXIS, view.plot, view.height - AXIS);
  pen.clip();
  rows.forEach(drawBars);
  drawDecisions(rows);
  if (pointer) painter.line(pointer.x, AXIS, view.height, colour.dim, [2, 3]);
  pen.restore();
  drawGutter(rows);
  drawAxis(grid);
  overview.draw();
}

function drawBackground({number, position, top}) {
  const {pen, colour} = painter;
  const shade = number === chosen ? colour.chosen : number === hovered ? colour.hover : position % 2 ? colour.row : null;
  if (!shade || (view.row < 8 && position % 2 && shade === colour.row)) return;
  pen.fillStyle = shade;
  pen.fillRect(0, top, view.width, view.row);
}

function drawBars({number, top}) {
  const row = tree.rows[number];
  const bar = tree.barOf(row);
  const found = pieces(view, tree, number, top);
  if (bar) {
    for (const piece of found) {
      if (piece.x + piece.width >= view.gutter - 4 && piece.x <= view.width) painter.piece(piece);
    }
    if (view.row >= LABELLED) drawWords(callWords(row, bar), found, top, bar.state === "error" || row.state === "error");
    return;
  }
  for (const piece of found) painter.place(piece);
  if (tree.isClosed(number)) drawCrowd(number, top);
  if (view.row >= LABELLED) drawPlaceWords(row, number, found, top);
}

function drawCrowd(number, top) {
  const step = 2;
  const {top: space, height} = band(view.row);
  painter.crowd(view, crowd(view, tree.barsUnder(number), step), step, top + space, height);
}

// Words beside a call: after it; before it where the page ends; on it, veiled, where it fills the page.
function drawWords(text, found, top, bad) {
  const left = Math.min(...found.map((piece) => piece.x));
  const right = Math.max(...found.map((piece) => piece.x + piece.width));
  const wide = painter.wide(text);
  if (right < view.gutter || left > view.width) return;
  const places = [right + 8, left - 8 - wide, Math.min(right, view.width) - 8 - wide];
  const at = places.findIndex((x) => x >= view.gutter && x + wide <= view.width - 4);
  const colour = bad ? painter.colour.error : at === 2 ? painter.colour.text : painter.colour.dim;
  if (at >= 0) painter.words(text, places[at], top + view.row / 2 + 0.5, colour, at === 2);
}

function drawPlaceWords(row, number, found, top) {
  const text = placeWords(row) + (tree.isClosed(number) ? ` · ${counted(row.calls, "call")}` : "");
  const left = Math.max(view.gutter, found[0].x);
  const right = Math.min(view.width, found.at(-1).x + found.at(-1).width);
  if (right < view.gutter || left > view.width) return;
  const wide = painter.wide(text);
  const inside = right - left >= wide + 16;
  const x = inside ? left + 8 : right + 8;
  if (!inside && x + wide > view.width) return;
  painter.words(text, x, top + view.row / 2 + 0.5, painter.colour.text, inside && tree.isClosed(number));
}

// Where a fan had its answer: a line through all that is under it, on which the cancelled ones end soon after.
function drawDecisions(rows) {
  if (!rows.length) return;
  const bottom = new Map();
  for (const {number, top} of rows) {
    for (let up = number; up >= 0; up = tree.rows[up].parent) bottom.set(up, top + view.row);
  }
  for (const [number, to] of bottom) {
    const row = tree.rows[number];
    const own = rows.find((each) => each.number === number);
    if (tree.isClosed(number) && !own) continue;
    for (const fan of row.fans ?? []) {
      if (fan.why === "all") continue;
      const x = view.x(fan.decided);
      painter.line(x, own ? own.top + 1 : AXIS, to, painter.colour.text, [5, 3]);
      if (own && view.row >= LABELLED) drawFlag(x, own.top);
    }
  }
}

function drawFlag(x, top) {
  const {pen} = painter;
  pen.fillStyle = painter.colour.text;
  pen.beginPath();
  pen.moveTo(x, top + 2);
  pen.lineTo(x + 7, top + 5.5);
  pen.lineTo(x, top + 9);
  pen.fill();
}

function drawGutter(rows) {
  const {pen, colour} = painter;
  pen.save();
  pen.beginPath();
  pen.rect(0, AXIS, view.gutter, view.height - AXIS);
  pen.clip();
  if (view.row >= LABELLED) rows.forEach(drawName);
  else drawSomeNames(rows);
  pen.restore();
  painter.line(view.gutter - 1, 0, view.height, colour.line);
}

function drawName({number, top}) {
  const row = tree.rows[number];
  const middle = top + view.row / 2 + 0.5;
  const left = 10 + Math.min(row.depth, 9) * 13;
  if (tree.isGroup(number)) drawCaret(left, middle, !tree.isClosed(number));
  const took = time(row.end - row.start);
  const wide = painter.wide(took);
  const room = view.gutter - left - 16 - wide - 18;
  const bad = row.state === "error";
  painter.words(painter.cut(row.name, room), left + 14, middle, bad ? painter.colour.error : painter.colour.text);
  painter.words(took, view.gutter - 10 - wide, middle, painter.colour.dim);
}

// Rows too low for words: the names of those that have room, as on an axis.
function drawSomeNames(rows) {
  let free = -Infinity;
  for (const {number, top} of rows) {
    if (top < free) continue;
    free = top + 30;
    const name = painter.cut(tree.rows[number].name, view.gutter - 34);
    painter.words(name, view.gutter - 14 - painter.wide(name), Math.max(AXIS + 8, top + view.row / 2), painter.colour.dim);
    painter.pen.fillStyle = painter.colour.dim;
    painter.pen.fillRect(view.gutter - 9, top + view.row / 2, 6, 1);
  }
}

function drawCaret(x, y, open) {
  const {pen} = painter;
  pen.fillStyle = painter.colour.dim;
  pen.beginPath();
  if (open) {
    pen.moveTo(x, y - 2.5);
    pen.lineTo(x + 8, y - 2.5);
    pen.lineTo(x + 4, y + 3);
  } else {
    pen.moveTo(x + 1.5, y - 4);
    pen.lineTo(x + 7, y);
    pen.lineTo(x + 1.5, y + 4);
  }
  pen.fill();
}

function drawAxis(grid) {
  const {pen, colour} = painter;
  pen.fillStyle = colour.raised;
  pen.fillRect(0, 0, view.width, AXIS);
  pen.fillStyle = colour.line;
  pen.fillRect(0, AXIS - 1, view.width, 1);
  pen.save();
  pen.beginPath();
  pen.rect(view.gutter, 0, view.plot, AXIS);
  pen.clip();
  for (const at of grid.found) painter.words(moment(at, grid.step, view.to), view.x(at) + 4, AXIS / 2, colour.dim);
  pen.restore();
  if (pointer) {
    const text = moment(view.seconds(pointer.x), grid.step / 100, view.to);
    const wide = painter.wide(text) + 10;
    const x = Math.min(view.width - wide, Math.max(view.gutter, pointer.x - wide / 2));
    pen.fillStyle = colour.text;
    pen.fillRect(x, 4, wide, AXIS - 9);
    painter.words(text, x + 5, AXIS / 2, colour.page);
  }
}

// -- layout -------------------------------------------------------------------------------------------------------

function resize() {
  const width = chart.clientWidth;
  const height = chart.clientHeight;
  view.resize(width, height);
  painter.resize(width, height);
  overview.resize(document.body.clientWidth);
  rowsChanged();
}

function rowsChanged() {
  const shown = tree.shown().length;
  const density = Number(element("density").value);
  view.row = density || Math.min(24, Math.max(0.5, (view.height - AXIS - 2) / Math.max(1, shown)));
  element("spacer").style.height = `${Math.max(0, AXIS + shown * view.row + 2 - view.height)}px`;
  const hidden = tree.rows.length - shown;
  element("count").textContent = counted(shown, "row") + (hidden ? `, ${hidden.toLocaleString("en")} not shown` : "");
  overview.render();
  redraw();
}

function moved(scroll) {
  if (scroll !== undefined) chart.scrollTop = scroll;
  redraw();
}

function reveal(position) {
  const top = position * view.row;
  if (top < chart.scrollTop) chart.scrollTop = top;
  else if (top + view.row > chart.scrollTop + view.height - AXIS) chart.scrollTop = top + view.row - view.height + AXIS + 1;
}

// -- the card -----------------------------------------------------------------------------------------------------

function made(name, text, style) {
  const node = document.createElement(name);
  node.textContent = text;
  if (style) node.className = style;
  return node;
}

function lines(entries) {
  const table = document.createElement("table");
  for (const [name, value, style] of entries) {
    if (value === null || value === undefined || value === "") continue;
    const line = table.insertRow();
    line.append(made("th", name), made("td", value, style));
  }
  return table;
}

// How long a call spent in each phase; hedges run beside the rest and are not added up.
function spent(bar) {
  const sums = {};
  for (const send of bar.sends) {
    if (send.hedge) continue;
    for (const [kind, start, end] of send.phases) sums[kind] = (sums[kind] ?? 0) + end - start;
  }
  return sums;
}

function callEntries(row, bar) {
  const sums = spent(bar);
  const took = (kind) => (sums[kind] ? time(sums[kind]) : null);
  const [sent, received, cached, reasoning, written] = bar.tokens ?? [];
  return [
    ["queued at", time(bar.queued)],
    ["rate wait", took("rate")],
    ["queue wait", took("queue")],
    ["on the wire", took("wire")],
    ["first token at", bar.first === undefined ? null : time(bar.first)],
    ["stream", took("stream")],
    ["backoff", took("backoff")],
    ["ended at", time(bar.ended)],
    ["tokens", bar.tokens ? `${sent.toLocaleString("en")} in, ${received.toLocaleString("en")} out` : bar.state === "ok" ? "not told by the server" : null],
    ["of these", cached || reasoning ? `${cached} cached, ${reasoning} reasoning` : null],
    ["written to a cache", written ? written.toLocaleString("en") : null],
    ["cost", bar.cost],
    ["error", bar.error ?? row.error, "error"],
  ];
}

function sendsTable(bar) {
  const table = document.createElement("table");
  table.className = "sends";
  bar.sends.forEach((send, at) => {
    const line = table.insertRow();
    const how = send.status === undefined ? send.state : `${send.state} ${send.status}`;
    const from = send.sent === undefined ? "not sent" : `${time(send.sent)} to ${time(send.ended)}`;
    line.append(made("td", send.hedge ? `${at + 1} hedge` : `${at + 1}`), made("td", how), made("td", from), made("td", send.cost));
  });
  return table;
}

function placeEntries(row) {
  return [
    ["began at", time(row.start)],
    ["took", time(row.end - row.start)],
    ["times", row.spans?.length > 1 ? String(row.spans.length) : null],
    ...(row.fans ?? []).map((fan) => ["fan ended", fanWords(fan)]),
    ["calls", row.calls.toLocaleString("en")],
    ["tokens", row.tokens.toLocaleString("en")],
    ["cost", row.calls ? row.cost : null],
    ["error", row.error, "error"],
  ];
}

function describe(number) {
  const row = tree.rows[number];
  const bar = tree.barOf(row);
  const parts = [made("h2", row.name), made("p", row.place, "dim")];
  if (!bar) return [...parts, made("p", placeWords(row)), lines(placeEntries(row))];
  const state = [`call ${bar.number}`, bar.model, row.state === "ok" ? bar.state : row.state, bar.late && "late", bar.made_up && "made up"];
  parts.push(made("p", [...new Set(state)].filter(Boolean).join(" · ")), lines(callEntries(row, bar)));
  if (bar.sends.length > 1) parts.push(sendsTable(bar));
  return parts;
}

function showCard(number, x, y) {
  const card = element("card");
  card.hidden = number < 0;
  if (number < 0) return;
  if (card.dataset.row !== String(number)) card.replaceChildren(...describe(number));
  card.dataset.row = number;
  const box = card.getBoundingClientRect();
  const right = x + 16 + box.width > innerWidth - 8 ? x - 16 - box.width : x + 16;
  card.style.left = `${Math.max(8, right)}px`;
  card.style.top = `${Math.max(8, Math.min(y + 14, innerHeight - box.height - 8))}px`;
}

// -- what people do -----------------------------------------------------------------------------------------------

function rowAt(y) {
  const position = Math.floor((y - AXIS + view.scroll) / view.row);
  return y < AXIS ? -1 : (tree.shown()[position] ?? -1);
}

function at(event) {
  const box = chart.getBoundingClientRect();
  return {x: event.clientX - box.left, y: event.clientY - box.top};
}

function choose(number) {
  chosen = number;
  const position = tree.shown().indexOf(number);
  if (position < 0) return showCard(-1);
  reveal(position);
  view.scroll = chart.scrollTop;
  const box = chart.getBoundingClientRect();
  const row = tree.rows[number];
  showCard(number, box.left + Math.min(view.width - 60, Math.max(view.gutter, view.x(row.start))), box.top + view.y(position) + view.row);
  element("said").textContent = describe(number).map((part) => part.innerText || part.textContent).join(", ");
  redraw();
}

function toggle(number) {
  tree.toggle(number);
  rowsChanged();
}

let drag = null;

chart.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || event.pointerType === "touch") return;
  drag = {x: event.clientX, y: event.clientY, moved: false};
});
addEventListener("pointermove", (event) => {
  if (!drag) return;
  const [x, y] = [event.clientX - drag.x, event.clientY - drag.y];
  drag.moved ||= Math.hypot(x, y) > 4;
  if (!drag.moved) return;
  view.pan(-x);
  chart.scrollTop -= y;
  drag = {x: event.clientX, y: event.clientY, moved: true};
  redraw();
});
addEventListener("pointerup", () => setTimeout(() => (drag = null)));
addEventListener("pointercancel", () => (drag = null));
chart.addEventListener("pointermove", (event) => {
  const {x, y} = at(event);
  const number = rowAt(y);
  pointer = x >= view.gutter && x <= view.width ? {x, y} : null;
  chart.style.cursor = number >= 0 && x < view.gutter && tree.isGroup(number) ? "pointer" : "default";
  hovered = number;
  showCard(drag?.moved ? -1 : number, event.clientX, event.clientY);
  redraw();
});
chart.addEventListener("pointerleave", () => {
  hovered = -1;
  pointer = null;
  showCard(-1);
  redraw();
});
chart.addEventListener("click", (event) => {
  if (drag?.moved) return;
  const {x, y} = at(event);
  const number = rowAt(y);
  chosen = number;
  if (number >= 0 && x < view.gutter) toggle(number);
  redraw();
});
chart.addEventListener("dblclick", (event) => {
  const {x, y} = at(event);
  const number = rowAt(y);
  if (number < 0 || x < view.gutter) return;
  const {start, end} = tree.rows[number];
  const around = Math.max((end - start) * 0.06, LEAST);
  view.show(start - around, end + around * 3);
  redraw();
});
chart.addEventListener("wheel", (event) => {
  const {x} = at(event);
  if (event.ctrlKey || event.metaKey) view.zoom(Math.exp(-event.deltaY * 0.004), Math.max(view.gutter, x));
  else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) view.pan(event.deltaX || event.deltaY);
  else return;
  event.preventDefault();
  redraw();
}, {passive: false});
chart.addEventListener("scroll", () => {
  showCard(-1);
  redraw();
});

// Step to a neighbour of the chosen row; the first one where none is chosen.
function step(by) {
  const shown = tree.shown();
  const position = shown.indexOf(chosen);
  choose(shown[Math.min(shown.length - 1, Math.max(0, position < 0 ? 0 : position + by))]);
}

function inward() {
  if (tree.isGroup(chosen) && tree.isClosed(chosen)) toggle(chosen);
  else step(1);
}

function outward() {
  if (chosen < 0) return;
  if (tree.isGroup(chosen) && !tree.isClosed(chosen)) toggle(chosen);
  else if (tree.rows[chosen].parent >= 0) choose(tree.rows[chosen].parent);
}

const page = () => Math.max(1, Math.floor((view.height - AXIS) / view.row) - 1);
const KEYS = {
  ArrowDown: () => step(1),
  ArrowUp: () => step(-1),
  PageDown: () => step(page()),
  PageUp: () => step(-page()),
  Home: () => step(-Infinity),
  End: () => step(Infinity),
  ArrowRight: (event) => (event.shiftKey ? view.pan(view.plot / 8) : inward()),
  ArrowLeft: (event) => (event.shiftKey ? view.pan(-view.plot / 8) : outward()),
  Enter: () => chosen >= 0 && toggle(chosen),
  " ": () => chosen >= 0 && toggle(chosen),
  "+": () => view.zoom(1.5),
  "=": () => view.zoom(1.5),
  "-": () => view.zoom(1 / 1.5),
  0: () => view.fit(),
  Escape: () => choose(-1),
};
chart.addEventListener("keydown", (event) => {
  const act = event.ctrlKey || event.metaKey || event.altKey ? null : KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act(event);
  redraw();
});

const BUTTONS = {
  in: () => view.zoom(1.5),
  out: () => view.zoom(1 / 1.5),
  fit: () => view.fit(),
  open: () => tree.openAll(),
  close: () => tree.closeAll(),
};
for (const [id, act] of Object.entries(BUTTONS)) {
  element(id).addEventListener("click", () => {
    act();
    rowsChanged();
  });
}
element("density").addEventListener("change", rowsChanged);
element("find").addEventListener("input", (event) => {
  tree.find(event.target.value);
  chart.scrollTop = 0;
  rowsChanged();
});

// -- the beginning ------------------------------------------------------------------------------------------------

function head() {
  element("name").textContent = data.name;
  element("kind").textContent = data.kind;
  const bad = data.state !== "ok";
  element("outcome").textContent = bad ? `${data.state === "error" ? "failed" : data.state}: ${data.error}` : "";
  element("outcome").classList.toggle("bad", bad);
  for (const [name, value] of data.figures) {
    const figure = document.createElement("div");
    figure.append(made("dt", name), made("dd", value));
    element("figures").append(figure);
  }
  for (const note of data.notes) element("notes").append(made("li", note));
}

const LEGEND = [
  ["queue wait", {kind: "queue", state: "ok"}],
  ["rate wait", {kind: "rate", state: "ok"}],
  ["on the wire", {kind: "wire", state: "ok"}],
  ["stream, from its first token", {kind: "stream", state: "ok"}],
  ["backoff", {kind: "backoff", state: "ok"}],
  ["failed", {kind: "wire", state: "error"}],
  ["cancelled", {kind: "wire", state: "cancelled"}],
  ["hedge", {kind: "wire", state: "ok", hedge: true}],
];

// Each sign is drawn by what draws the rows, so that they cannot differ.
function legend() {
  const box = element("legend");
  box.replaceChildren();
  for (const [name, piece] of LEGEND) {
    const entry = document.createElement("span");
    const sign = document.createElement("canvas");
    const small = new Painter(sign);
    small.resize(26, 14);
    const thin = WAITS.has(piece.kind);
    small.piece({hedge: false, ...piece, x: 2, width: 18, y: thin ? 5 : 2, height: thin ? 4 : 10});
    entry.append(sign, name);
    box.append(entry);
  }
}

function themed() {
  painter.theme();
  overview.painter.theme();
  legend();
  resize();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themed);
head();
legend();
element("density").value = tree.shown().length > 400 ? "0" : tree.shown().length > 40 ? "15" : "24";
resize();
new ResizeObserver(resize).observe(chart);
draw();

// For whoever looks from outside, as tests do: the data, what is seen of it, and where.
globalThis.timeline = {
  data,
  tree,
  view,
  drawn: performance.now(),
  pieces: () => visibleRows(view, tree).flatMap(({number, top}) => pieces(view, tree, number, top)),
  colour: (name) => painter.colour[name],
};
