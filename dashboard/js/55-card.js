/* A chart with everything that belongs to one: title, controls, tooltip, keyboard, brush, and the same numbers as table,
 * CSV and SVG.
 *
 * spec: {id, title, wide, height: number or (width, get) → number, reserve: height until it is painted, note,
 *   isNeeded: () → whether this sweep has anything for it,
 *   controls: [{key, label, values: () → [[value, text]], start}],
 *   draw(p, w, h, get) → {brush?: {x?: {field, invert, from, to}, y?: …}} or "why there is nothing to see",
 *   table(get) → {columns: [{title, format?}], rows: [[…]]}, summary(get) → one sentence} */
const manyTrials = 8000, paintQueue = [];
function paintNext() {
  requestAnimationFrame(() => setTimeout(() => {
    const card = paintQueue.shift();
    if (card && card.isVisible) card.paint();
    if (paintQueue.length) paintNext();
  }, 0));
}
class Card {
  constructor(spec) {
    this.spec = spec;
    this.canvas = element("canvas", { role: "img", tabindex: "0", "aria-label": spec.title });
    this.tip = element("div", { class: "tip", role: "status", "aria-live": "polite" });
    this.note = element("figcaption");
    this.empty = element("p", { class: "empty" });
    this.twin = element("div", { class: "twin" });
    this.controls = element("div", { class: "controls" });
    this.selects = (spec.controls || []).map((control) => this.makeSelect(control));
    this.holder = element("div", { class: "holder" }, this.canvas, this.tip, this.empty);
    this.node = element("section", { class: "card" + (spec.wide ? " wide" : ""), id: spec.id, "aria-labelledby": spec.id + "-title" },
      element("div", { class: "cardhead" }, element("h2", { id: spec.id + "-title" }, spec.title), this.controls, this.makeButtons()), this.holder, this.note, this.twin);
    this.listen();
    this.isDirty = true;
    this.isVisible = false;
  }
  makeSelect(control) {
    const select = element("select", { "aria-label": `${this.spec.title}: ${control.label}`, change: () => setOption(this.key(control), select.value) });
    this.controls.append(element("label", {}, element("span", { class: "soft" }, control.label), select));
    return { control, select };
  }
  key(control) { return `${this.spec.id}.${control.key}`; }
  makeButtons() {
    const title = this.spec.title;
    this.tableButton = element("button", { type: "button", "aria-expanded": "false", "aria-label": `Table of ${title}`, click: () => setOption(this.spec.id + ".table", option(this.spec.id + ".table", "") ? "" : "1") }, "Table");
    return element("div", { class: "tools" }, this.tableButton,
      element("button", { type: "button", "aria-label": `${title} as CSV`, click: () => saveFile(`${this.spec.id}.csv`, "text/csv", csvText(this.spec.table(this.get()))) }, "CSV"),
      element("button", { type: "button", "aria-label": `${title} as SVG`, click: () => saveFile(`${this.spec.id}.svg`, "image/svg+xml", this.svg()) }, "SVG"));
  }
  /* The controls' values, each one that exists. */
  get() {
    const values = {};
    for (const { control } of this.selects) {
      const list = control.values(), wanted = option(this.key(control), typeof control.start === "function" ? control.start() : control.start);
      values[control.key] = list.some(([v]) => v === wanted) ? wanted : list.length ? list[0][0] : "";
    }
    return values;
  }
  svg() {
    const [w, h] = this.size(), painter = new SvgPainter(w, h, theme(), (text, size) => this.measure(text, size));
    this.spec.draw(painter, w, h, this.get());
    return painter.finish(this.spec.title);
  }
  measure(text, size) {
    const c = this.canvas.getContext("2d");
    c.font = `${size || 12}px ${fontFamily}`;
    return c.measureText(text).width;
  }
  size() {
    const w = Math.max(240, Math.round(this.holder.clientWidth));
    return [w, Math.round(typeof this.spec.height === "function" ? this.spec.height(w, this.get()) : this.spec.height || 300)];
  }
  update() {
    const values = this.get();
    for (const { control, select } of this.selects) {
      const list = control.values(), key = list.map(([v, t]) => v + "\u0001" + t).join("\u0002");
      if (select.dataset.key !== key) {
        select.replaceChildren(...list.map(([value, text]) => element("option", { value }, clip(text, 60))));
        select.dataset.key = key;
      }
      select.value = values[control.key];
      select.parentNode.hidden = list.length < 2;
    }
    this.isDirty = true;
    this.node.hidden = Boolean(this.spec.isNeeded) && !this.spec.isNeeded();
    // The room is kept before the chart is painted, so that nothing moves while somebody scrolls or jumps.
    if (!this.canvas.style.height) this.canvas.style.height = (this.spec.reserve || this.size()[1]) + "px";
    this.paintSoon();
    this.updateTwin(values);
  }
  /* Charts of a large sweep take their time one by one, a frame each, so that the page stands before they do. */
  paintSoon() {
    if (!this.isVisible && !page.printing) return;
    if (page.printing || page.sweep.trials.length < manyTrials) { this.paint(); return; }
    if (!paintQueue.includes(this)) paintQueue.push(this);
    if (paintQueue.length === 1) setTimeout(paintNext, 0);
  }
  paint() {
    if (!this.isDirty || this.holder.clientWidth === 0) return;
    this.isDirty = false;
    const [w, h] = this.size(), values = this.get();
    const painter = new CanvasPainter(this.canvas, w, h, theme());
    const result = this.spec.draw(painter, w, h, values);
    const why = typeof result === "string" ? result : "";
    this.empty.textContent = why;
    this.canvas.hidden = Boolean(why);
    this.hits = painter.hits;
    this.brushes = (!why && result && result.brush) || null;
    this.canvas.classList.toggle("brushable", Boolean(this.brushes));
    const summary = !why && this.spec.summary ? this.spec.summary(values) : why;
    this.canvas.setAttribute("aria-label", `${this.spec.title}. ${clip(summary || "", 400)} The same numbers stand in its table.`);
    const note = typeof this.spec.note === "function" ? this.spec.note(values) : this.spec.note || "";
    this.note.textContent = why ? "" : note;
  }
  updateTwin() {
    const open = Boolean(option(this.spec.id + ".table", ""));
    this.tableButton.setAttribute("aria-expanded", String(open));
    this.twin.replaceChildren(...(open ? [plainTable(this.spec.table(this.get()), "Table of " + this.spec.title)] : []));
  }

  // Pointer and keyboard ----------------------------------------------------------------------------------------------
  place(event) { const box = this.canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; }
  nearest(x, y) {
    let best = null, distance = 24 * 24;
    for (const hit of this.hits || []) { const d = (hit.x - x) ** 2 + (hit.y - y) ** 2; if (d < distance) { distance = d; best = hit; } }
    return best;
  }
  show(hit) {
    this.tip.textContent = !hit ? "" : typeof hit.text === "function" ? hit.text() : hit.text;
    this.tip.classList.toggle("shown", Boolean(hit));
    if (!hit) return;
    const w = this.holder.clientWidth, x = Math.min(Math.max(hit.x + 12, 0), Math.max(0, w - this.tip.offsetWidth - 4));
    this.tip.style.left = x + "px";
    this.tip.style.top = Math.max(0, hit.y - this.tip.offsetHeight - 10) + "px";
  }
  listen() {
    const c = this.canvas;
    let start = null;
    c.addEventListener("pointermove", (event) => {
      const [x, y] = this.place(event);
      if (start) this.drawBand(start, [x, y]); else this.show(this.nearest(x, y));
    });
    c.addEventListener("pointerleave", () => { if (!start) this.show(null); });
    c.addEventListener("pointerdown", (event) => { if (this.brushes && event.button === 0 && event.pointerType !== "touch") { start = this.place(event); c.setPointerCapture(event.pointerId); } });
    c.addEventListener("pointerup", (event) => {
      const from = start, to = this.place(event);
      start = null;
      this.drawBand(null);
      if (from && Math.abs(from[0] - to[0]) + Math.abs(from[1] - to[1]) > 6) this.finishBrush(from, to);
      else this.open(this.nearest(...to), to);
    });
    c.addEventListener("keydown", (event) => this.onKey(event));
    c.addEventListener("blur", () => this.show(null));
  }
  open(hit, at) {
    if (this.spec.click && at && this.spec.click(at, this.get())) return;
    if (hit && hit.trial) setState({ trial: String(hit.trial) });
  }
  onKey(event) {
    const list = this.hits || [], step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step && list.length) {
      this.cursor = ((this.cursor === undefined ? (step > 0 ? -1 : 0) : this.cursor) + step + list.length) % list.length;
      this.show(list[this.cursor]);
      event.preventDefault();
    } else if (event.key === "Enter" && list[this.cursor]) this.open(list[this.cursor]);
    else if (event.key === "Escape") this.show(null);
  }
  drawBand(from, to) {
    if (!this.band) { this.band = element("div", { class: "band" }); this.holder.append(this.band); }
    this.band.hidden = !from;
    if (!from) return;
    const b = this.brushes, only = b.axes ? this.axisAt(from[0]) : null;
    const x0 = only ? only.at - 9 : b.x ? Math.min(from[0], to[0]) : 0, x1 = only ? only.at + 9 : b.x ? Math.max(from[0], to[0]) : this.holder.clientWidth;
    const y0 = b.y || only ? Math.min(from[1], to[1]) : 0, y1 = b.y || only ? Math.max(from[1], to[1]) : this.canvas.clientHeight;
    Object.assign(this.band.style, { left: x0 + "px", top: y0 + "px", width: x1 - x0 + "px", height: y1 - y0 + "px" });
  }
  axisAt(x) { return this.brushes.axes.reduce((a, b) => (Math.abs(b.at - x) < Math.abs(a.at - x) ? b : a)); }
  finishBrush(from, to) {
    const b = this.brushes;
    if (b.axes) { this.axisAt(from[0]).brush(Math.min(from[1], to[1]), Math.max(from[1], to[1])); return; }
    let filter = page.state.filter;
    for (const [k, i] of [["x", 0], ["y", 1]]) {
      if (!b[k] || Math.abs(from[i] - to[i]) < 4) continue;
      const one = b[k].invert(from[i]), two = b[k].invert(to[i]);
      filter = replaceClause(filter, b[k].field, rangeClause(b[k].field, Math.min(one, two), Math.max(one, two)));
    }
    setState({ filter });
  }
}

// Tables and files ----------------------------------------------------------------------------------------------------
/* A large sweep's numbers came with seven digits; the digits behind them are no knowledge. */
const exact = (v) => (v === null || v === undefined || Number.isNaN(v) ? "" : String(typeof v === "number" && page.sweep.isLarge ? Number(v.toPrecision(Number.isInteger(v) ? 15 : 7)) : v));
/* Tables are {columns, rows}, or {columns, n, row: i → row} where rows are many: most are never looked at. */
const rowsUpTo = (table, limit) => (table.rows ? table.rows.slice(0, limit) : Array.from({ length: Math.min(table.n, limit) }, (_, i) => table.row(i)));
function csvText(table) {
  const { columns } = table, rows = rowsUpTo(table, Infinity);
  const cell = (v) => { const s = exact(v); return /[",\r\n]/.test(s) ? '"' + s.replaceAll('"', '""') + '"' : s; };
  return [columns.map((c) => cell(c.title)), ...rows.map((r) => r.map(cell))].map((r) => r.join(",")).join("\r\n") + "\r\n";
}
function saveFile(name, type, text) {
  const link = element("a", { download: `${page.sweep.name}-${name}` });
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
const scrolling = (label, ...children) => element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label + ", scrolling" }, ...children);
function plainTable(table, label, limit) {
  const { columns } = table, shown = rowsUpTo(table, limit || 300), n = table.rows ? table.rows.length : table.n, isRight = columns.map((_, i) => shown.some((r) => typeof r[i] === "number"));
  const cell = (v, i) => (v instanceof Node ? v : typeof v === "number" ? (columns[i].format || short)(v) : v === null || v === undefined ? missing : clip(String(v), 300));
  const body = shown.map((r) => element("tr", {}, r.map((v, i) => element("td", isRight[i] ? { class: "number" } : {}, cell(v, i)))));
  return scrolling(label, element("table", {}, element("thead", {}, element("tr", {}, columns.map((c, i) => element("th", { scope: "col", class: isRight[i] ? "number" : null }, c.title)))),
    element("tbody", {}, body)), n > shown.length ? element("p", { class: "note" }, `The first ${count(shown.length)} of ${count(n)} rows; the CSV has all.`) : null);
}
