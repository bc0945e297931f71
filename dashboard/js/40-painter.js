/* Drawing: one set of calls, painted on a canvas for the screen or written as SVG for a file. */
class CanvasPainter {
  constructor(canvas, width, height, theme) {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = height + "px";
    this.c = canvas.getContext("2d");
    this.c.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.c.clearRect(0, 0, width, height);
    this.theme = theme;
    this.hits = [];
  }
  style(s) {
    const c = this.c;
    c.globalAlpha = s.alpha === undefined ? 1 : s.alpha;
    c.lineWidth = s.width || 1;
    if (s.dash !== this.dash) { c.setLineDash(s.dash || []); this.dash = s.dash; }
    if (s.stroke) c.strokeStyle = s.stroke;
    if (s.fill) c.fillStyle = s.fill;
  }
  ink(s) { if (s.fill) this.c.fill(); if (s.stroke) this.c.stroke(); this.c.globalAlpha = 1; }
  /* xy: x0, y0, x1, y1, …; a NaN breaks the line. */
  line(xy, s) {
    this.style(s);
    this.c.beginPath();
    let pen = false;
    for (let i = 0; i < xy.length; i += 2) {
      if (Number.isNaN(xy[i + 1])) { pen = false; continue; }
      if (pen) this.c.lineTo(xy[i], xy[i + 1]); else this.c.moveTo(xy[i], xy[i + 1]);
      pen = true;
    }
    this.ink(s);
  }
  rect(x, y, w, h, s) {
    this.style(s);
    if (s.fill) this.c.fillRect(x, y, w, h);
    if (s.stroke) this.c.strokeRect(x, y, w, h);
    this.c.globalAlpha = 1;
  }
  dot(x, y, r, shape, s) {
    this.style(s);
    this.c.beginPath();
    if (shape === "circle") this.c.arc(x, y, r, 0, 2 * Math.PI);
    else { const xy = outline(shape, x, y, r); this.c.moveTo(xy[0], xy[1]); for (let i = 2; i < xy.length; i += 2) this.c.lineTo(xy[i], xy[i + 1]); this.c.closePath(); }
    this.ink(s);
  }
  text(text, x, y, s) {
    s = s || {};
    const c = this.c;
    c.globalAlpha = 1;
    c.fillStyle = s.fill || this.theme.soft;
    c.font = `${s.bold ? "600 " : ""}${s.size || 12}px ${fontFamily}`;
    c.textAlign = s.align || "left";
    c.textBaseline = "alphabetic";
    if (s.turn) { c.save(); c.translate(x, y); c.rotate(-Math.PI / 2); c.fillText(text, 0, 0); c.restore(); } else c.fillText(text, x, y);
  }
  width(text, size) { this.c.font = `${size || 12}px ${fontFamily}`; return this.c.measureText(text).width; }
  /* A place that answers the pointer; the text, or a function that makes it when it is asked for. Where there are more
   * than anybody could point at, the first ones do. */
  hit(x, y, text, trial) { if (this.hits.length < 30000) this.hits.push({ x, y, text, trial }); }
}
const fontFamily = 'system-ui, "Segoe UI", "Liberation Sans", "DejaVu Sans", sans-serif';
function outline(shape, x, y, r) {
  const k = r * 0.36;
  switch (shape) {
    case "square": return [x - r * 0.88, y - r * 0.88, x + r * 0.88, y - r * 0.88, x + r * 0.88, y + r * 0.88, x - r * 0.88, y + r * 0.88];
    case "triangle": return [x, y - r * 1.15, x + r * 1.1, y + r * 0.85, x - r * 1.1, y + r * 0.85];
    case "down": return [x, y + r * 1.15, x + r * 1.1, y - r * 0.85, x - r * 1.1, y - r * 0.85];
    case "diamond": return [x, y - r * 1.25, x + r * 1.25, y, x, y + r * 1.25, x - r * 1.25, y];
    default: return [x - k, y - r * 1.1, x + k, y - r * 1.1, x + k, y - k, x + r * 1.1, y - k, x + r * 1.1, y + k, x + k, y + k, x + k, y + r * 1.1, x - k, y + r * 1.1, x - k, y + k, x - r * 1.1, y + k, x - r * 1.1, y - k, x - k, y - k];
  }
}
const xmlText = (s) => String(s).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "").replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
/* In two parts: no address stands in the page, not even one that is only a name. */
const svgNamespace = "http:/" + "/www.w3.org/2000/svg";
class SvgPainter {
  constructor(width, height, theme, measure) {
    this.size = [width, height];
    this.theme = theme;
    this.parts = [];
    this.measure = measure;
    this.hits = [];
  }
  style(s) {
    return `fill="${xmlText(s.fill || "none")}"` + (s.stroke ? ` stroke="${xmlText(s.stroke)}" stroke-width="${s.width || 1}"` : "")
      + (s.alpha !== undefined && s.alpha !== 1 ? ` opacity="${s.alpha}"` : "") + (s.dash && s.dash.length ? ` stroke-dasharray="${s.dash.join(" ")}"` : "");
  }
  line(xy, s) {
    let d = "", pen = false;
    for (let i = 0; i < xy.length; i += 2) {
      if (Number.isNaN(xy[i + 1])) { pen = false; continue; }
      d += (pen ? "L" : "M") + xy[i].toFixed(1) + " " + xy[i + 1].toFixed(1);
      pen = true;
    }
    this.parts.push(`<path d="${d}" ${this.style(s)}/>`);
  }
  rect(x, y, w, h, s) { this.parts.push(`<rect x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${Math.max(w, 0).toFixed(1)}" height="${Math.max(h, 0).toFixed(1)}" ${this.style(s)}/>`); }
  dot(x, y, r, shape, s) {
    if (shape === "circle") this.parts.push(`<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="${r}" ${this.style(s)}/>`);
    else this.parts.push(`<polygon points="${outline(shape, x, y, r).map((v) => v.toFixed(1)).join(" ")}" ${this.style(s)}/>`);
  }
  text(text, x, y, s) {
    s = s || {};
    const anchor = { right: "end", center: "middle" }[s.align] || "start";
    this.parts.push(`<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" font-size="${s.size || 12}"${s.bold ? ' font-weight="600"' : ""} text-anchor="${anchor}" fill="${s.fill || this.theme.soft}"`
      + (s.turn ? ` transform="rotate(-90 ${x.toFixed(1)} ${y.toFixed(1)})"` : "") + `>${xmlText(text)}</text>`);
  }
  width(text, size) { return this.measure(text, size); }
  hit() {}
  finish(title) {
    const [w, h] = this.size;
    return `<svg xmlns="${svgNamespace}" viewBox="0 0 ${w} ${h}" width="${w}" height="${h}" font-family='${fontFamily}'><title>${xmlText(title)}</title><rect width="${w}" height="${h}" fill="${this.theme.ground}"/>${this.parts.join("")}</svg>\n`;
  }
}

// Axes ----------------------------------------------------------------------------------------------------------------
function scale(low, high, from, to, isLog) {
  const f = isLog ? Math.log10 : (x) => x, a = f(low), span = f(high) - a || 1;
  const to_ = (x) => from + ((f(x) - a) / span) * (to - from);
  to_.invert = (p) => { const v = a + ((p - from) / (to - from)) * span; return isLog ? 10 ** v : v; };
  return to_;
}
function ticks(low, high, isLog, n) {
  if (isLog) {
    const decades = Math.log10(high / low), list = [];
    const steps = decades < 1.2 ? [1, 2, 3, 5, 7] : decades < 3 ? [1, 3] : [1];
    const every = Math.max(1, Math.ceil(decades / (n || 6)));
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) if (e % every === 0) for (const s of steps) list.push(s * 10 ** e);
    const inside = list.filter((x) => x >= low * 0.9999 && x <= high * 1.0001);
    if (inside.length >= 2) return inside;
  }
  const raw = (high - low) / (n || 5) || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999), list = [];
  for (let x = Math.ceil(low / step - 1e-9) * step; x <= high + step * 1e-9; x += step) list.push(Number(x.toPrecision(12)));
  return list;
}
function padded(values, isLog, pad) {
  const found = extremes(isLog ? values.filter((x) => x > 0) : values);
  if (!found) return null;
  const [low, high] = found;
  if (isLog) { const k = Math.max((high / low) ** 0.05, 1.08); return [low / k, high * k]; }
  const space = (high - low) * (pad === undefined ? 0.06 : pad) || Math.abs(high) * 0.05 || 1;
  return [low - space, high + space];
}
/* Steps of time that people count in. */
function timeTicks(low, high, n) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400], raw = (high - low) / n;
  const step = steps.find((s) => s >= raw) || 86400 * Math.ceil(raw / 86400), list = [];
  for (let x = Math.ceil(low / step) * step; x <= high + step * 1e-9; x += step) list.push(x);
  return list;
}
/* Frame with axes. x and y: {title, range, log, format, none}. Gives {x, y, left, right, top, bottom}. */
function axes(p, w, h, x, y, inset) {
  const format = y.format || short, yTicks = y.none ? [] : ticks(...y.range, y.log, Math.max(2, Math.floor(h / 60)));
  const labels = yTicks.map((t) => format(t));
  const left = (inset && inset.left) || Math.min(110, Math.max(30, ...labels.map((l) => p.width(l, 11) + 12)) + (y.title ? 16 : 0));
  const right = w - 12, top = (inset && inset.top) || 10, bottom = h - 38;
  const sx = scale(...x.range, left, right, x.log), sy = y.none ? null : scale(...y.range, bottom, top, y.log);
  yTicks.forEach((t, i) => {
    p.line([left, sy(t), right, sy(t)], { stroke: p.theme.line, alpha: 0.7 });
    p.text(labels[i], left - 6, sy(t) + 4, { align: "right", size: 11 });
  });
  let edge = -1e9;
  const room = Math.max(2, Math.floor(w / 90));
  for (const t of x.format === seconds && !x.log ? timeTicks(...x.range, room) : ticks(...x.range, x.log, room)) {
    const label = (x.format || short)(t).replace(/\.0(?= )/, ""), half = p.width(label, 11) / 2, at = Math.min(Math.max(sx(t), left + 2), right);
    p.line([at, bottom, at, bottom + 4], { stroke: p.theme.line });
    if (at - half < edge + 6 || at + half > w) continue;
    p.text(label, at, bottom + 16, { align: "center", size: 11 });
    edge = at + half;
  }
  p.line([left, top, left, bottom, right, bottom], { stroke: p.theme.axis });
  p.text(clip(x.title + (x.log ? " (log)" : ""), 60), (left + right) / 2, h - 5, { align: "center" });
  if (y.title) p.text(clip(y.title + (y.log ? " (log)" : ""), Math.max(12, Math.floor(h / 8))), 12, (top + bottom) / 2, { align: "center", turn: true });
  return { x: sx, y: sy, left, right, top, bottom };
}
/* Names beside their shapes, broken into lines; gives the height used. */
function legend(p, w, items, top) {
  let x = 8, y = top + 12;
  for (const item of items) {
    const label = clip(item.text, 34), width = p.width(label, 12) + 26;
    if (x + width > w && x > 8) { x = 8; y += 17; }
    p.dot(x + 5, y - 4, 4.2, item.shape || "circle", item.hollow ? { stroke: item.colour, width: 1.6 } : { fill: item.colour });
    p.text(label, x + 14, y);
    x += width;
  }
  return items.length ? y + 8 - top : 0;
}
