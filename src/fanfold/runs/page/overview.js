// The strip above: all rows over the whole run, and the window that the chart below shows of it.

class Overview {
  constructor(canvas, tree, view, changed) {
    this.canvas = canvas;
    this.tree = tree;
    this.view = view;
    this.changed = changed;
    this.painter = new Painter(canvas);
    this.picture = document.createElement("canvas");
    this.drag = null;
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#release(event));
    canvas.addEventListener("pointercancel", () => (this.drag = null));
    canvas.addEventListener("dblclick", () => {
      this.view.fit();
      this.changed();
    });
  }

  resize(width) {
    this.width = width;
    this.height = this.canvas.getBoundingClientRect().height;
    this.whole = new View(1);
    this.whole.whole = this.view.whole;
    this.whole.resize(width, this.height);
    this.whole.gutter = this.view.gutter;
    this.whole.fit();
    this.painter.resize(width, this.height);
    this.render();
  }

  // Draw all rows once; the window moves over the picture.
  render() {
    const {painter, whole, tree} = this;
    const {pen} = painter;
    const shown = tree.shown();
    pen.fillStyle = painter.colour.page;
    pen.fillRect(0, 0, this.width, this.height);
    const room = this.height - 8;
    whole.row = Math.min(10, room / Math.max(1, shown.length));
    shown.forEach((number, position) => {
      const top = 4 + position * whole.row;
      if (tree.barOf(tree.rows[number])) {
        for (const piece of pieces(whole, tree, number, top)) this.#line(piece);
      } else if (tree.isClosed(number)) {
        for (const bar of tree.barsUnder(number)) for (const piece of callPieces(whole, bar, number, top)) this.#line(piece);
      }
    });
    this.picture.width = this.canvas.width;
    this.picture.height = this.canvas.height;
    this.picture.getContext("2d").drawImage(this.canvas, 0, 0);
    this.used = Math.max(1, shown.length * whole.row);
    this.draw();
  }

  #line(piece) {
    this.painter.speck({...piece, height: Math.max(0.75, piece.height)}, Math.max(0.6, piece.width));
  }

  draw() {
    const {painter, view, whole} = this;
    const {pen} = painter;
    pen.save();
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.drawImage(this.picture, 0, 0);
    pen.restore();
    const left = whole.x(view.from);
    const right = whole.x(view.to);
    const rows = Math.max(1, this.tree.shown().length * view.row);
    const top = 4 + (view.scroll / rows) * this.used;
    const bottom = Math.min(4 + this.used, 4 + ((view.scroll + view.height - AXIS) / rows) * this.used);
    pen.fillStyle = painter.colour.veil;
    pen.fillRect(whole.gutter, 0, left - whole.gutter, this.height);
    pen.fillRect(right, 0, this.width - right, this.height);
    pen.strokeStyle = painter.colour.window;
    pen.lineWidth = 1.5;
    pen.strokeRect(left + 0.75, Math.max(1, top - 2), Math.max(3, right - left - 1.5), Math.max(4, Math.min(this.height - 2, bottom - top + 4)));
    painter.words("the whole run", 12, this.height / 2 - 8, painter.colour.text);
    painter.words("drag to zoom, click to go there", 12, this.height / 2 + 9, painter.colour.dim);
    pen.fillStyle = painter.colour.page;
    pen.fillRect(whole.gutter - 8, 0, 8, this.height);
    painter.line(whole.gutter - 1, 0, this.height, painter.colour.line);
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return {x: Math.max(this.whole.gutter, event.clientX - box.left), y: event.clientY - box.top};
  }

  #press(event) {
    const at = this.#place(event);
    const {view, whole} = this;
    const zoomed = view.to - view.from < view.whole * 0.999;
    const inside = zoomed && at.x >= whole.x(view.from) && at.x <= whole.x(view.to);
    this.drag = {from: at.x, last: at.x, pan: inside, moved: false};
    this.canvas.setPointerCapture(event.pointerId);
  }

  #move(event) {
    if (!this.drag) return;
    const {x} = this.#place(event);
    const {view, whole, drag} = this;
    drag.moved ||= Math.abs(x - drag.from) > 3;
    if (!drag.moved) return;
    if (drag.pan) {
      const by = whole.seconds(x) - whole.seconds(drag.last);
      view.show(view.from + by, view.to + by);
    } else {
      view.show(whole.seconds(Math.min(drag.from, x)), whole.seconds(Math.max(drag.from, x)));
    }
    drag.last = x;
    this.changed();
  }

  #release(event) {
    if (!this.drag) return;
    const {view, whole, drag} = this;
    this.drag = null;
    if (drag.moved) return;
    const at = this.#place(event);
    const half = (view.to - view.from) / 2;
    view.show(whole.seconds(at.x) - half, whole.seconds(at.x) + half);
    const rows = this.tree.shown().length * view.row;
    this.changed(((at.y - 4) / this.used) * rows - (view.height - AXIS) / 2);
  }
}
