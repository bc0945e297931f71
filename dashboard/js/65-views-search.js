/* Views of the search: curves, parallel coordinates, slice and contour, importance. */

// Curves --------------------------------------------------------------------------------------------------------------
const curveNames = () => page.sweep.curves().long.map((n) => [n, n]);
const mostCurves = 2000;
/* Trials with a curve of a metric; of very many an even choice, and those that were chosen by hand. */
function curveTrials(name) {
  const curves = page.sweep.curves(), all = page.sweep.trials.filter((t) => t.isOn && curves.of(name)[t.trial]), every = Math.ceil(all.length / mostCurves);
  const list = (every < 2 ? all : all.filter((t, i) => i % every === 0 || isChosen(t))).map((t) => ({ t, place: curves.place(t.trial, name) }));
  list.n = all.length;
  return list;
}
const curvesCard = {
  id: "curves", title: "Learning curves", height: 320,
  controls: [{ key: "metric", label: "of", start: () => { const n = page.sweep.curves().long; return [page.sweep.metric, "validation/loss", "train/loss"].find((m) => n.includes(m)) || n[0]; }, values: curveNames },
    { key: "scale", label: "scale", start: "linear", values: () => [["linear", "linear"], ["log", "log"]] }],
  draw(p, w, h, get) {
    const list = get.metric ? curveTrials(get.metric) : [];
    if (!list.length) return "No curve to show" + (page.state.filter ? " with this filter." : " yet.");
    const steps = page.sweep.curves().steps(), values = page.sweep.curves().values(), sample = [];
    let last = 1;
    for (const { place: [from, to] } of list) {
      last = Math.max(last, steps[to - 1]);
      for (let i = from; i < to; i++) if (!Number.isNaN(values[i])) sample.push(values[i]);
    }
    sample.sort((x, y) => x - y);
    if (!sample.length) return "No value of these curves is a number.";
    const isLog = get.scale === "log" && sample[0] > 0, spread = [quantile(sample, 0.005), quantile(sample, 0.995)];
    const methods = few(shownMethods(list.map((q) => q.t))), top = legend(p, w, methodItems(p.theme, methods), 0);
    return shifted(p, top, (q) => {
      const a = axes(q, w, h - top, { title: "step", range: [0, last] }, { title: get.metric, range: padded(spread, isLog), log: isLog });
      const ordered = [...list.filter(({ t }) => !isChosen(t)), ...list.filter(({ t }) => isChosen(t))];
      for (const { t, place } of ordered) drawCurve(q, a, t, place, steps, values, list.length);
      return {};
    });
  },
  table(get) {
    const steps = page.sweep.curves().steps(), values = page.sweep.curves().values(), rows = [];
    for (const { t, place: [from, to] } of get.metric ? curveTrials(get.metric) : []) for (let i = from; i < to; i++) rows.push([t.trial, t.method, steps[i], values[i]]);
    return { columns: [{ title: "trial" }, { title: "method" }, { title: "step" }, { title: get.metric || "value" }], rows };
  },
  note: (get) => { const list = curveTrials(get.metric); return (list.n > list.length ? `${count(list.length)} of ${count(list.n)} curves, evenly chosen; a filter shows others.` : "A line a trial.") + " Long curves are thinned, the store has every point. A cross marks where the value stopped being a number."; },
};
function drawCurve(p, a, t, [from, to], steps, values, n) {
  const xy = [], chosen = isChosen(t), stroke = colour(p.theme, t.method);
  const inside = (v) => Math.min(Math.max(a.y(v), a.top - 4), a.bottom + 4);
  for (let i = from; i < to; i++) xy.push(a.x(steps[i]), inside(values[i]));
  p.line(xy, { stroke, width: chosen ? 3.2 : n > 60 ? 1 : 1.5, alpha: chosen ? 1 : n > 300 ? 0.18 : n > 60 ? 0.4 : 0.75 });
  if (to - from === 1 && !Number.isNaN(xy[1])) p.dot(xy[0], xy[1], 3, page.sweep.shape(t.method), { fill: stroke, alpha: 0.8 });
  const end = to - 1;
  if (Number.isNaN(values[end])) {
    const known = xy.findLastIndex((v, i) => i % 2 === 1 && !Number.isNaN(v));
    p.dot(a.x(steps[end]), known > 0 ? xy[known] : a.top + 6, 4.5, "cross", { fill: p.theme.bad });
  }
  const k = Math.max(from, end - 1);
  for (const i of new Set([k, end])) if (!Number.isNaN(values[i])) p.hit(a.x(steps[i]), inside(values[i]), () => `${trialText(t)}; step ${count(steps[i])}: ${short(values[i])}`, t.trial);
}

// Parallel coordinates ------------------------------------------------------------------------------------------------
function parallelAxes() {
  const names = ["method", ...page.sweep.parameterNames.filter((n) => n !== "method")].slice(0, 14);
  return [...names, "value"].map((name) => page.sweep.fields.get(name)).filter(Boolean);
}
/* Where the values of one field lie: numbers on a scale, texts at even places, what does not apply in a band below. */
function parallelScale(f, trials, top, bottom) {
  const values = trials.map(f.get);
  if (f.isNumeric) {
    const known = values.filter(isNumber), found = extremes(known) || [0, 1];
    const isLog = found[0] > 0 && found[1] / found[0] >= 20, s = scale(found[0], found[0] === found[1] ? found[0] * 1.01 + 1e-9 : found[1], bottom, top, isLog);
    return { y: (v) => (isNumber(v) ? s(v) : NaN), labels: found[0] === found[1] ? [[found[0], short(found[0])]] : spaced(ticks(...found, isLog, 4), s).map((v) => [v, short(v)]), s };
  }
  const texts = [...new Set(values.filter((v) => v !== null && v !== undefined))].sort(compare), places = new Map(texts.map((v, i) => [v, texts.length > 1 ? bottom - ((bottom - top) * i) / (texts.length - 1) : (top + bottom) / 2]));
  return { y: (v) => (places.has(v) ? places.get(v) : NaN), labels: texts.length <= 14 ? texts.map((v) => [v, clip(valueText(v), 16)]) : [], texts, places };
}
/* Of ticks that would be written over each other the first. */
function spaced(list, s) {
  const kept = [];
  for (const v of list) if (kept.every((k) => Math.abs(s(k) - s(v)) >= 15)) kept.push(v);
  return kept;
}
const parallelCard = {
  id: "parallel", title: "Parallel coordinates", wide: true, height: (w) => (w < 600 ? 300 : 340),
  draw(p, w, h) {
    const all = page.sweep.searched;
    if (!all.length) return "No trial to show yet.";
    const fields = parallelAxes(), top = 34, bottom = h - 44, band = h - 18, gap = (w - 120) / Math.max(1, fields.length - 1);
    const place = fields.map((f, i) => ({ f, x: 60 + gap * i, ...parallelScale(f, all, top, bottom) }));
    p.rect(30, band - 9, w - 60, 18, { fill: p.theme.line, alpha: 0.45 });
    p.text("not applicable", 34, band + 4, { size: 10 });
    const known = extremes(finished().map((t) => t.value)), xy = place.flatMap((a) => [a.x, band]);
    const path = (t) => { for (let i = 0; i < place.length; i++) { const v = place[i].y(place[i].f.get(t)); xy[2 * i + 1] = Number.isNaN(v) ? band : v; } return xy; }; // one array for all of them
    const off = all.filter((t) => !t.isOn), on = all.filter((t) => t.isOn).sort((a, b) => (isNumber(a.value) ? 1 : 0) - (isNumber(b.value) ? 1 : 0) || (page.sweep.isBetter(a.value, b.value) ? 1 : -1));
    for (const t of off) p.line(path(t), { stroke: p.theme.dim, alpha: 0.35 });
    const alpha = on.length > 3000 ? 0.12 : on.length > 400 ? 0.3 : 0.65;
    for (const t of on) p.line(path(t), { stroke: known && isNumber(t.value) ? shade(p.theme, (t.value - known[0]) / (known[1] - known[0] || 1)) : p.theme.bad, alpha: isChosen(t) ? 1 : alpha, width: isChosen(t) ? 3 : 1.2, dash: isNumber(t.value) ? [] : [3, 3] });
    place.forEach((a, i) => drawParallelAxis(p, a, gap, top, bottom, i + 1 === place.length));
    for (const t of on.slice(-400)) { const a = place[place.length - 1], v = a.y(a.f.get(t)); p.hit(a.x, Number.isNaN(v) ? band : v, () => trialText(t), t.trial); }
    return { brush: { axes: place.map((a) => ({ at: a.x, brush: (from, to) => brushAxis(a, from, to, band) })) } };
  },
  table() {
    const fields = parallelAxes(), cell = (f, v) => (v === null || v === undefined ? (f.name === "value" ? missing : "not applicable") : f.isNumeric ? v : valueText(v));
    return { columns: [{ title: "trial" }, { title: "shown" }, ...fields.map((f) => ({ title: f.title, format: f.format }))], n: page.sweep.searched.length,
      row: (i) => { const t = page.sweep.searched[i]; return [t.trial, t.isOn ? "yes" : "no", ...fields.map((f) => cell(f, f.get(t)))]; } };
  },
  note: () => `Every trial is a line, also where a value does not apply to it; ${shadeWords()}, dashed: without a score. Drag along an axis to filter, over the band for trials to which it does not apply.`,
};
/* Better is further from the ground. */
const shadeWords = () => (theme().name === "dark" ? "the brighter the better" : "the darker the better");
function shade(t, share) { const s = page.sweep.isMaximized ? share : 1 - share; return t.name === "dark" ? rampColour(0.25 + 0.75 * s) : rampColour(0.85 * (1 - s)); }
function drawParallelAxis(p, a, gap, top, bottom, isLast) {
  p.line([a.x, top - 6, a.x, bottom], { stroke: p.theme.axis, width: 1.4 });
  const room = Math.max(4, Math.floor(gap / 6.6));
  p.text(clip(a.f.title, isLast ? 22 : room), a.x, 14, { align: isLast ? "right" : "center", fill: p.theme.ink, bold: true, size: 11 });
  for (const [v, label] of a.labels) {
    const y = a.y(v), text = clip(label, Math.max(3, Math.floor((gap - 12) / 6.2))), width = p.width(text, 10);
    const x = isLast ? a.x - 6 : a.x + 6;
    p.rect(isLast ? x - width - 2 : x - 2, y - 7, width + 4, 13, { fill: p.theme.panel, alpha: 0.75 });
    p.text(text, x, y + 3, { size: 10, align: isLast ? "right" : "left", fill: p.theme.ink });
  }
}
function brushAxis(a, from, to, band) {
  const name = a.f.name;
  if (from > band - 12) return setState({ filter: replaceClause(page.state.filter, name, `${filterName(name)} missing`) });
  if (a.s) return brush(name, ...[a.s.invert(to), a.s.invert(from)].sort((x, y) => x - y));
  const chosen = a.texts.filter((v) => a.places.get(v) >= from - 5 && a.places.get(v) <= to + 5);
  if (chosen.length) setState({ filter: replaceClause(page.state.filter, name, `${filterName(name)} in [${chosen.map((v) => filterText(valueText(v))).join(", ")}]`) });
}

// Slice and contour ---------------------------------------------------------------------------------------------------
const sliceNames = () => page.sweep.parameterNames.filter((n) => n !== "method" || page.sweep.methods.length > 1).map((n) => [n, words(n)]);
const numericNames = () => sliceNames().filter(([n]) => page.sweep.isNumeric(n));
const sliceCard = {
  id: "slice", title: "Slice and contour", height: 320,
  controls: [{ key: "x", label: "of", start: "learning_rate", values: sliceNames }, { key: "y", label: "with", start: "", values: () => [["", "the score alone"], ...numericNames()] }],
  draw(p, w, h, get) {
    const f = get.x ? page.sweep.fields.get(get.x) : null, trials = f ? finished().filter((t) => f.get(t) !== null && f.get(t) !== undefined) : [];
    if (!trials.length) return f ? `No finished trial has ${f.title}.` : "Nothing was searched.";
    return get.y && get.y !== get.x && f.isNumeric ? drawContour(p, w, h, f, page.sweep.fields.get(get.y), trials) : drawSlice(p, w, h, f, trials);
  },
  table(get) {
    const names = [get.x, get.y].filter(Boolean), fields = names.map((n) => page.sweep.fields.get(n));
    return { columns: [{ title: "trial" }, { title: "method" }, ...fields.map((f) => ({ title: f.title })), { title: page.sweep.metric, format: score }],
      n: finished().length, row: (i) => { const t = finished()[i]; return [t.trial, t.method, ...fields.map((f) => (f.isNumeric ? f.get(t) : valueText(f.get(t)))), t.value]; } };
  },
  note: (get) => (get.y ? "Ground: the score expected between the trials (weighted by nearness); dots: trials; " + shadeWords() + "." : "A dot a finished trial.") + " Drag to filter.",
};
function drawSlice(p, w, h, f, trials) {
  const methods = few(shownMethods(trials)), top = legend(p, w, methodItems(p.theme, methods), 0);
  return shifted(p, top, (q) => {
    const ys = padded(trials.map((t) => t.value)), height = h - top;
    if (!f.isNumeric) {
      const texts = [...new Set(trials.map(f.get))].sort(compare).slice(0, 40), a = axes(q, w, height, { title: f.title, range: [-0.5, texts.length - 0.5], format: (v) => (Number.isInteger(v) && texts[v] !== undefined ? clip(valueText(texts[v]), Math.max(3, Math.floor(w / texts.length / 8))) : "") }, { title: page.sweep.metric, range: ys });
      for (const t of trials) { const i = texts.indexOf(f.get(t)); if (i < 0) continue; const x = a.x(i + 0.5 * (((t.trial * 0.618) % 1) - 0.5)); trialDot(q, t, x, a.y(t.value), 3.4, 0.65); q.hit(x, a.y(t.value), () => trialText(t), t.trial); }
      return { brush: { y: { field: "value", invert: a.y.invert } } };
    }
    const xs = trials.map(f.get), isLog = xs.every((x) => x > 0) && extremes(xs)[1] / extremes(xs)[0] >= 20;
    const a = axes(q, w, height, { title: f.title, range: padded(xs, isLog), log: isLog }, { title: page.sweep.metric, range: ys });
    for (const t of trials) { trialDot(q, t, a.x(f.get(t)), a.y(t.value), 3.4, trials.length > 2000 ? 0.3 : 0.65); q.hit(a.x(f.get(t)), a.y(t.value), () => trialText(t), t.trial); }
    return { brush: { x: { field: f.name, invert: a.x.invert }, y: { field: "value", invert: a.y.invert } } };
  });
}
function drawContour(p, w, h, fx, fy, all) {
  const trials = all.filter((t) => isNumber(fy.get(t)));
  if (trials.length < 3) return `Too few trials have both ${fx.title} and ${fy.title}.`;
  const make = (f) => { const v = trials.map(f.get), e = extremes(v), isLog = e[0] > 0 && e[1] / e[0] >= 20; return { title: f.title, range: padded(v, isLog), log: isLog }; };
  const a = axes(p, w, h, make(fx), make(fy)), known = extremes(trials.map((t) => t.value));
  const places = trials.slice(0, 3000).map((t) => [a.x(fx.get(t)), a.y(fy.get(t)), t.value]), cell = 12;
  for (let x = a.left + 1; x < a.right; x += cell) for (let y = a.top; y < a.bottom; y += cell) {
    let sum = 0, weights = 0;
    for (const [px, py, v] of places) { const k = 1 / ((px - x - cell / 2) ** 2 + (py - y - cell / 2) ** 2 + 60) ** 1.5; sum += k * v; weights += k; }
    p.rect(x, y, Math.min(cell, a.right - x), Math.min(cell, a.bottom - y), { fill: shade(p.theme, (sum / weights - known[0]) / (known[1] - known[0] || 1)), alpha: 0.35 });
  }
  for (const t of trials) {
    const x = a.x(fx.get(t)), y = a.y(fy.get(t));
    p.dot(x, y, 4.2, page.sweep.shape(t.method), { fill: shade(p.theme, (t.value - known[0]) / (known[1] - known[0] || 1)), stroke: p.theme.ink });
    p.hit(x, y, () => trialText(t), t.trial);
  }
  return { brush: { x: { field: fx.name, invert: a.x.invert }, y: { field: fy.name, invert: a.y.invert } } };
}

// Importance ----------------------------------------------------------------------------------------------------------
/* Share of the variance of the score, over configurations to which the parameter applies, that the parameter alone
 * explains: groups by value (numbers in at most four groups of equal size) within each method, so that a parameter of one
 * method is judged among that method's trials; the adjusted share (epsilon squared, Kelley 1935), with a percentile
 * interval over 200 bootstrap draws of the configurations. */
function explained(items) {
  let between = 0, within = 0, total = 0, groups = 0, n = 0, strata = 0;
  for (const stratum of groupBy(items, (q) => q.stratum).values()) {
    if (stratum.length < 2) continue;
    const centre = mean(stratum.map((q) => q.score));
    strata++;
    for (const group of groupBy(stratum, (q) => q.group).values()) {
      const m = mean(group.map((q) => q.score));
      groups++;
      n += group.length;
      between += group.length * (m - centre) ** 2;
      for (const q of group) { within += (q.score - m) ** 2; total += (q.score - centre) ** 2; }
    }
  }
  if (n - groups < 1 || total === 0) return NaN;
  return Math.max(0, (between - (groups - strata) * (within / (n - groups))) / total);
}
function importanceItems(name) {
  const f = page.sweep.fields.get(name), items = [];
  for (const c of page.sweep.configurations()) {
    const v = f.get(c.trials[0]);
    if (v !== null && v !== undefined) items.push({ v, score: c.score.mean, stratum: name === "method" ? "" : c.method, group: String(v) });
  }
  if (f.isNumeric) for (const stratum of groupBy(items, (q) => q.stratum).values()) {
    const distinct = [...new Set(stratum.map((q) => q.v))].sort((a, b) => a - b), k = Math.min(4, Math.max(2, Math.floor(stratum.length / 3)));
    if (distinct.length <= k) continue;
    const sorted = stratum.map((q) => q.v).sort((a, b) => a - b), cuts = Array.from({ length: k - 1 }, (_, i) => quantile(sorted, (i + 1) / k));
    for (const q of stratum) q.group = String(cuts.filter((c) => q.v > c).length);
  }
  return items;
}
function importances() {
  const draw = generator(7), out = [];
  for (const name of page.sweep.parameterNames) {
    const items = importanceItems(name), share = explained(items);
    if (!isNumber(share)) continue;
    const draws = [];
    for (let i = 0; i < (items.length > 2000 ? 30 : 200); i++) { const s = explained(items.map(() => items[Math.floor(draw() * items.length)])); if (isNumber(s)) draws.push(s); }
    draws.sort((a, b) => a - b);
    out.push({ name, share, low: draws.length ? quantile(draws, 0.025) : NaN, high: draws.length ? quantile(draws, 0.975) : NaN, n: items.length });
  }
  return out.sort((a, b) => b.share - a.share);
}
const importanceCard = {
  id: "importance", title: "What mattered", reserve: 228, height: () => 60 + 28 * Math.max(1, few(page.importances(), 14).length),
  draw(p, w, h) {
    const list = few(page.importances(), 14);
    if (!list.length) return "Too few finished configurations to say what mattered.";
    const label = (q) => `${clip(words(q.name), 22)} (n ${count(q.n)})`, left = Math.min(w / 2, Math.max(...list.map((q) => p.width(label(q), 12))) + 18);
    const a = axes(p, w, h, { title: "share of the score's variance", range: [0, 1], format: (v) => percent(v, 0) }, { none: true }, { left, top: 4 });
    list.forEach((q, i) => {
      const y = 20 + 28 * i;
      p.text(label(q), left - 8, y + 4, { align: "right", fill: p.theme.ink });
      p.rect(left, y - 7, a.x(q.share) - left, 14, { fill: p.theme.accent, alpha: 0.75 });
      p.line([a.x(Math.min(q.low, 1)), y, a.x(Math.min(q.high, 1)), y], { stroke: p.theme.ink, width: 1.6 });
      p.hit(a.x(q.share), y, `${words(q.name)}: ${percent(q.share)} [${percent(q.low)}, ${percent(q.high)}] over ${q.n} configurations`);
    });
    return {};
  },
  table: () => ({ columns: [{ title: "parameter" }, { title: "share", format: percent }, { title: "low", format: percent }, { title: "high", format: percent }, { title: "configurations" }], rows: page.importances().map((q) => [words(q.name), q.share, q.low, q.high, q.n]) }),
  summary: () => page.importances().slice(0, 5).map((q) => `${words(q.name)} ${percent(q.share)}`).join(", "),
  note: "Variance over configurations that the parameter alone explains, within each method and only where it applies (n of them); lines: 95 % bootstrap intervals. Shares need not add up to one.",
};
