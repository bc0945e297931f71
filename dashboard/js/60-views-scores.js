/* Views of scores: best so far, Pareto front, methods with intervals, score against rank or size. */
const shownTrials = () => page.sweep.remembered("shown", () => page.sweep.searched.filter((t) => t.isOn));
const finished = () => page.sweep.remembered("finished", () => shownTrials().filter((t) => t.state === "COMPLETE" && isNumber(t.value)));
const trialText = (t) => `Trial ${t.trial} (${t.method}, ${configurationText(t.parameters, 120)}): ${isNumber(t.value) ? score(t.value) : t.state.toLowerCase() + (t.reason ? ", " + words(t.reason) : "")}`;
const methodItems = (t, methods) => methods.map((m) => ({ text: m, colour: colour(t, m), shape: page.sweep.shape(m) }));
function shownMethods(trials) { const seen = new Set(trials.map((t) => t.method)); return page.sweep.methods.filter((m) => seen.has(m)); }
const few = (list, n) => list.slice(0, n || 12);
const isChosen = (t) => page.chosen.has(t.trial);
function trialDot(p, t, x, y, r, alpha) {
  // Shapes of a few pixels cannot be told apart among so many, and rectangles are painted faster.
  if (page.sweep.trials.length > manyTrials) p.rect(x - 1, y - 1, 2.2, 2.2, { fill: colour(p.theme, t.method), alpha });
  else p.dot(x, y, r, page.sweep.shape(t.method), { fill: colour(p.theme, t.method), alpha });
  if (isChosen(t)) p.dot(x, y, r + 4, "circle", { stroke: p.theme.ink, width: 2 });
}
const nothing = "No finished trial to show" ;
const why = () => nothing + (page.state.filter ? " with this filter." : " yet.");

// Best so far ---------------------------------------------------------------------------------------------------------
const budgetAxes = { clock: ["wall clock", seconds], compute: ["compute, all slots", seconds], trials: ["trials ended", count], flops: ["FLOPs", compact] };
const budgetPoints = (kind) => page.sweep.remembered("budget " + kind, () => readBudget(kind, shownTrials()));
function readBudget(kind, trials) {
  const ended = trials.filter((t) => isNumber(t.finished_at)).sort((a, b) => a.finished_at - b.finished_at || a.trial - b.trial);
  const first = (extremes(page.sweep.attempts().map((a) => a.started_at)) || extremes(page.sweep.trials.map((t) => t.created_at)) || [0])[0];
  let spent = 0;
  return ended.map((t, i) => {
    spent += kind === "flops" ? (t.flops || 0) * (t.total_steps ? t.steps / t.total_steps : 1) : t.seconds || 0;
    return { t, x: kind === "clock" ? Math.max(0, t.finished_at - first) : kind === "trials" ? i + 1 : spent };
  });
}
function bestSteps(points) {
  const out = [];
  let best = null;
  for (const { t, x } of points) {
    if (t.state !== "COMPLETE" || !isNumber(t.value) || (best && !page.sweep.isBetter(t.value, best.value))) continue;
    best = t;
    out.push({ x, t });
  }
  return out;
}
function drawBudget(p, w, h, get, byMethod) {
  const points = budgetPoints(get.x), values = finished().map((t) => t.value).sort((a, b) => a - b);
  if (!values.length || !points.length) return why();
  // The axis leaves out what is far worse: what matters happens among the better ones.
  const best = page.sweep.isMaximized ? values[values.length - 1] : values[0], spread = Math.abs(best - quantile(values, 0.5)) * 4;
  const worst = page.sweep.isMaximized ? Math.max(quantile(values, 0.05), best - spread) : Math.min(quantile(values, 0.95), best + spread);
  const y = { title: page.sweep.metric, range: padded([worst, best], false, 0.08) }, end = points[points.length - 1].x;
  const a = axes(p, w, h, { title: budgetAxes[get.x][0], range: [0, end || 1], format: budgetAxes[get.x][1] }, y);
  const inside = (v) => Math.min(Math.max(a.y(v), a.top), a.bottom);
  for (const { t, x } of points) {
    if (!isNumber(t.value) || t.state !== "COMPLETE") continue;
    const shown = a.y(t.value) <= a.bottom && a.y(t.value) >= a.top;
    if (shown) trialDot(p, t, a.x(x), a.y(t.value), 3, 0.55);
    if (shown) p.hit(a.x(x), a.y(t.value), () => trialText(t), t.trial);
  }
  const groups = byMethod ? few(shownMethods(points.map((q) => q.t))).map((m) => [colour(p.theme, m), points.filter((q) => q.t.method === m), m]) : [[p.theme.ink, points, ""]];
  for (const [stroke, list, name] of groups) {
    const line = [];
    for (const s of bestSteps(list)) { if (line.length) line.push(a.x(s.x), line[line.length - 1]); line.push(a.x(s.x), inside(s.t.value)); }
    if (line.length) line.push(a.right, line[line.length - 1]);
    p.line(line, { stroke, width: 2, dash: name ? [[], [6, 3], [2, 3], [8, 3, 2, 3]][page.sweep.places.get(name) % 4] : [] });
  }
  return {};
}
const budgetTable = (get) => ({ columns: [{ title: budgetAxes[get.x][0], format: budgetAxes[get.x][1] }, { title: "trial" }, { title: "method" }, { title: page.sweep.metric, format: score }],
  rows: bestSteps(budgetPoints(get.x)).map(({ x, t }) => [x, t.trial, t.method, t.value]) });
const budgetControl = (start) => ({ key: "x", label: "against", start, values: () => Object.entries(budgetAxes).map(([k, [title]]) => [k, title]) });
const bestCard = {
  id: "best", title: "Best so far", height: 252, controls: [budgetControl("clock")], table: budgetTable, draw: (p, w, h, get) => drawBudget(p, w, h, get, false),
  summary: (get) => { const s = bestSteps(budgetPoints(get.x)); return s.length ? `Best ${page.sweep.metric} ${score(s[s.length - 1].t.value)} by trial ${s[s.length - 1].t.trial}.` : ""; },
  note: "The best single trial so far; dots: every finished trial, in its method's colour and shape as in the table below.",
};
const budgetCard = {
  id: "budget", title: "Budget: best of each method", controls: [budgetControl("compute")],
  height: 300, draw: (p, w, h, get) => {
    const top = legend(p, w, methodItems(p.theme, few(shownMethods(finished()))), 0);
    return shifted(p, top, (q) => drawBudget(q, w, h - top, get, true));
  },
  table: (get) => ({ columns: budgetTable(get).columns, rows: shownMethods(finished()).flatMap((m) => bestSteps(budgetPoints(get.x).filter((q) => q.t.method === m)).map(({ x, t }) => [x, t.trial, t.method, t.value])) }),
  note: "What each method had reached after so much budget, over all trials shown. Dots are single trials.",
};
/* Draws with everything moved down. */
function shifted(p, top, draw) {
  const moved = Object.create(p);
  const lower = (xy) => { const out = Array.from(xy); for (let i = 1; i < out.length; i += 2) out[i] += top; return out; };
  moved.line = (xy, s) => p.line(lower(xy), s);
  moved.rect = (x, y, w, h, s) => p.rect(x, y + top, w, h, s);
  moved.dot = (x, y, r, shape, s) => p.dot(x, y + top, r, shape, s);
  moved.text = (text, x, y, s) => p.text(text, x, y + top, s);
  moved.hit = (x, y, text, trial) => p.hit(x, y + top, text, trial);
  moved.width = (text, size) => p.width(text, size);
  const result = draw(moved);
  if (result && result.brush && result.brush.y) {
    const y = result.brush.y;
    result.brush.y = { ...y, invert: (v) => y.invert(v - top) };
  }
  return result;
}

// Pareto --------------------------------------------------------------------------------------------------------------
const lowerIsBetter = /bytes|seconds|flops|parameters|attempts|loss|perplexity|ece|flip_rate|difference|memory|forgetting|unsafe|gap|delta/;
function goalOf(name) {
  const o = page.sweep.objectives.find((q) => q.metric === name);
  if (o) return o.goal === "maximize" ? 1 : -1;
  if (name === "value") return page.sweep.isMaximized ? 1 : -1;
  return lowerIsBetter.test(name) ? -1 : 1;
}
function numericFields() {
  const trials = finished(), out = [];
  for (const [name, f] of page.sweep.fields) if (f.isNumeric && !name.startsWith("parameter.") && !name.includes("[") && name !== "trial" && name !== "configuration" && name !== page.sweep.metric && (f.has || trials.some((t) => isNumber(f.get(t))))) out.push([name, f.title]);
  return out;
}
/* Configurations as points: means over their seeds, so that the front is not made of lucky ones. */
const paretoPoints = (names) => page.sweep.remembered("pareto " + names.join("\u0001"), () => readPareto(names));
function readPareto(names) {
  const points = [];
  for (const c of page.sweep.configurations()) {
    const at = names.map((n) => { const known = c.trials.map(page.sweep.fields.get(n).get).filter(isNumber); return known.length ? mean(known) : null; });
    if (at.every(isNumber)) points.push({ c, at, t: c.trials[0], isFront: false });
  }
  const goals = names.map(goalOf), better = (a, b) => goals.every((g, k) => g * b.at[k] >= g * a.at[k]) && goals.some((g, k) => g * b.at[k] > g * a.at[k]);
  // Best in the first objective first: whoever is beaten at all is beaten by one of the front so far.
  const front = [];
  for (const a of [...points].sort((p, q) => goals.reduce((order, g, k) => order || g * (q.at[k] - p.at[k]), 0))) {
    a.isFront = !front.some((b) => better(a, b));
    if (a.isFront) front.push(a);
  }
  return points;
}
const paretoNames = (get) => (get.z ? [get.x, get.y, get.z] : [get.x, get.y]).filter(Boolean);
const paretoCard = {
  id: "pareto", title: "Pareto front", height: 252,
  controls: [{ key: "y", label: "y", start: "value", values: numericFields },
    { key: "x", label: "x", start: () => (page.sweep.objectives[1] ? page.sweep.objectives[1].metric : "trained_parameters"), values: numericFields },
    { key: "z", label: "size", start: "", values: () => [["", "no third"], ...numericFields()] }],
  draw(p, w, h, get) {
    const points = paretoPoints(paretoNames(get));
    if (!points.length) return why();
    const fx = page.sweep.fields.get(get.x), fy = page.sweep.fields.get(get.y), xs = points.map((q) => q.at[0]), ys = points.map((q) => q.at[1]);
    const [lowest, highest] = extremes(xs), isLog = lowest > 0 && highest > 20 * lowest;
    const a = axes(p, w, h, { title: fx.title, range: padded(xs, isLog), log: isLog, format: fx.name.endsWith("bytes") ? bytes : compact }, { title: fy.title, range: padded(ys), format: short });
    const third = get.z ? extremes(points.map((q) => q.at[2])) : null;
    const radius = (q) => (third ? 3 + 6 * ((q.at[2] - third[0]) / (third[1] - third[0] || 1)) : q.isFront ? 5 : 3.2);
    const front = points.filter((q) => q.isFront).sort((q, r) => q.at[0] - r.at[0]);
    if (!third) p.line(front.flatMap((q, i) => (i ? [a.x(q.at[0]), a.y(front[i - 1].at[1]), a.x(q.at[0]), a.y(q.at[1])] : [a.x(q.at[0]), a.y(q.at[1])])), { stroke: p.theme.ink, width: 1.4 });
    for (const q of points) {
      const x = a.x(q.at[0]), y = a.y(q.at[1]);
      p.dot(x, y, radius(q), page.sweep.shape(q.c.method), { fill: colour(p.theme, q.c.method), alpha: q.isFront ? 1 : 0.35, stroke: q.isFront ? p.theme.ink : undefined });
      p.hit(x, y, () => `${q.isFront ? "On the front: " : ""}configuration ${q.c.number}, ${q.c.method}, ${configurationText(q.c.parameters, 100)}: ` + paretoNames(get).map((n, k) => `${page.sweep.fields.get(n).title} ${page.sweep.fields.get(n).format(q.at[k])}`).join(", "), q.t.trial);
    }
    return { brush: { x: { field: get.x, invert: a.x.invert }, y: { field: get.y, invert: a.y.invert } } };
  },
  table(get) {
    const names = paretoNames(get);
    return { columns: [{ title: "on the front" }, { title: "configuration" }, { title: "method" }, { title: "searched values" }, ...names.map((n) => ({ title: page.sweep.fields.get(n).title, format: page.sweep.fields.get(n).format }))],
      rows: [...paretoPoints(names)].sort((a, b) => b.isFront - a.isFront || goalOf(names[0]) * (b.at[0] - a.at[0])).map((q) => [q.isFront ? "yes" : "no", q.c.number, q.c.method, configurationText(q.c.parameters), ...q.at]) };
  },
  summary: (get) => { const front = paretoPoints(paretoNames(get)).filter((q) => q.isFront); return `${front.length} configurations on the front: ${few(front, 6).map((q) => q.c.method).join(", ")}.`; },
  note: (get) => `Configurations by their mean over seeds; outlined: no other is better in ${get.z ? "all three" : "both"}.${get.z ? " Size: the third." : ""} Drag to filter.`,
};

// Methods with intervals ----------------------------------------------------------------------------------------------
const methodsCard = {
  id: "methods", title: "Methods with intervals over seeds", height: () => 62 + 30 * Math.max(1, Math.min(40, page.lines.length)),
  draw(p, w, h) {
    const lines = few(page.lines, 40);
    if (!lines.length) return why();
    const values = lines.flatMap((l) => [l.score.low, l.score.high, ...l.values]).filter(isNumber);
    const left = Math.min(w / 3, Math.max(40, ...lines.map((l) => p.width(clip(l.method, 24), 12) + 16)));
    const a = axes(p, w, h, { title: page.sweep.metric, range: padded(values) }, { none: true }, { left, top: 6 });
    const best = lines[0];
    if (isNumber(best.score.low)) p.rect(a.x(best.score.low), a.top, a.x(best.score.high) - a.x(best.score.low), a.bottom - a.top, { fill: p.theme.accent, alpha: 0.08 });
    lines.forEach((l, i) => {
      const y = 24 + 30 * i, c = colour(p.theme, l.method);
      p.text(clip(l.method, 24), left - 8, y + 4, { align: "right", fill: p.theme.ink, bold: i === 0 });
      if (isNumber(l.score.low)) p.line([a.x(l.score.low), y, a.x(l.score.high), y], { stroke: c, width: 3, alpha: 0.65 });
      for (const v of l.values) p.dot(a.x(v), y + 8, 2, "circle", { fill: c, alpha: 0.6 });
      p.dot(a.x(l.score.mean), y, 5.5, page.sweep.shape(l.method), { fill: c });
      p.hit(a.x(l.score.mean), y, `${l.method}: ${interval(l.score)}, ${l.score.n} seeds; best of ${l.n} configurations: ${configurationText(l.parameters, 160)}`, l.best.trials[0].trial);
    });
    return { brush: { x: { field: "value", invert: a.x.invert } } };
  },
  table: () => ({ columns: ["method", "configuration", "searched values", page.sweep.metric, "low", "high", "seeds", "configurations"].map((title) => ({ title, format: title === page.sweep.metric || title === "low" || title === "high" ? score : short })),
    rows: page.lines.map((l) => [l.method, l.best.number, configurationText(l.parameters), l.score.mean, l.score.low, l.score.high, l.score.n, l.n]) }),
  summary: () => page.lines.map((l) => `${l.method} ${interval(l.score)}`).slice(0, 8).join("; "),
  note: "Each method's best configuration: mean over seeds with its 95 % interval (Student); small dots are single seeds, the band is the best one's interval.",
};

// Score against size --------------------------------------------------------------------------------------------------
function sizeFields() {
  const own = ["rank", "adapter_size", "prompt_length", "prefix_length", "top_layers"].filter((n) => page.sweep.parameterNames.includes(n));
  const rest = page.sweep.parameterNames.filter((n) => page.sweep.isNumeric(n) && !own.includes(n));
  return [["trained_parameters", "trained parameters"], ...[...own, ...rest].map((n) => [n, words(n)]), ["stored_bytes", "stored bytes"], ["flops", "FLOPs"], ["seconds", "seconds"]];
}
/* By method and x: the best configuration's mean and interval at that size. */
const sizePoints = (name) => page.sweep.remembered("size " + name, () => readSize(name));
function readSize(name) {
  const f = page.sweep.fields.get(name), groups = new Map();
  for (const c of page.sweep.configurations()) {
    const x = f.get(c.trials[0]);
    if (!isNumber(x)) continue;
    const key = JSON.stringify([c.method, name === "seconds" ? c.number : x]), old = groups.get(key);
    if (!old || c.trials.length > old.c.trials.length || (c.trials.length === old.c.trials.length && page.sweep.isBetter(c.score.mean, old.c.score.mean))) groups.set(key, { c, x });
  }
  return [...groups.values()].sort((a, b) => a.x - b.x);
}
const sizeCard = {
  id: "size", title: "Score against size", height: 320, controls: [{ key: "x", label: "against", start: "trained_parameters", values: sizeFields }],
  draw(p, w, h, get) {
    const best = sizePoints(get.x), f = page.sweep.fields.get(get.x), trials = finished().filter((t) => isNumber(f.get(t)));
    if (!best.length) return `No finished trial has ${f.title}.`;
    const xs = trials.map((t) => f.get(t)), isLog = xs.every((x) => x > 0);
    const methods = few(shownMethods(trials)), top = legend(p, w, methodItems(p.theme, methods), 0);
    const values = trials.map((t) => t.value).sort((a, b) => a - b);
    const low = page.sweep.isMaximized ? quantile(values, 0.05) : values[0], high = page.sweep.isMaximized ? values[values.length - 1] : quantile(values, 0.95);
    return shifted(p, top, (q) => drawSize(q, w, h - top, { best, f, trials, xs, isLog, methods, low, high }));
  },
  table: (get) => ({ columns: [{ title: "method" }, { title: page.sweep.fields.get(get.x).title, format: page.sweep.fields.get(get.x).format }, { title: page.sweep.metric, format: score }, { title: "low", format: score }, { title: "high", format: score }, { title: "seeds" }, { title: "configuration" }],
    rows: [...sizePoints(get.x)].sort((a, b) => a.c.method.localeCompare(b.c.method) || a.x - b.x).map(({ c, x }) => [c.method, x, c.score.mean, c.score.low, c.score.high, c.score.n, c.number]) }),
  note(get) {
    const f = page.sweep.fields.get(get.x), without = finished().filter((t) => !isNumber(f.get(t))).length;
    return "Lines: the best configuration at each size with its interval over seeds; faint: single trials." + (without ? ` ${count(without)} finished trials have no ${f.title}.` : "");
  },
};
function drawSize(p, w, h, d) {
  const a = axes(p, w, h, { title: d.f.title, range: padded(d.xs, d.isLog), log: d.isLog, format: compact }, { title: page.sweep.metric, range: padded([d.low, d.high, ...d.best.map((q) => q.c.score.mean).filter((v) => v >= d.low && v <= d.high)], false, 0.1) });
  const inside = (y) => y >= a.top - 2 && y <= a.bottom + 2, clamp = (y) => Math.min(Math.max(y, a.top), a.bottom);
  for (const t of d.trials) {
    const x = a.x(d.f.get(t)), y = a.y(t.value);
    if (!inside(y)) continue;
    trialDot(p, t, x, y, 2.6, 0.3);
    p.hit(x, y, () => trialText(t), t.trial);
  }
  for (const m of d.methods) {
    const list = d.best.filter((q) => q.c.method === m && inside(a.y(q.c.score.mean))), c = colour(p.theme, m);
    if (d.f.name !== "seconds") p.line(list.flatMap((q) => [a.x(q.x), a.y(q.c.score.mean)]), { stroke: c, width: 1.8 });
    for (const q of list) {
      if (isNumber(q.c.score.low)) p.line([a.x(q.x), clamp(a.y(q.c.score.low)), a.x(q.x), clamp(a.y(q.c.score.high))], { stroke: c, width: 2, alpha: 0.6 });
      p.dot(a.x(q.x), a.y(q.c.score.mean), 5, page.sweep.shape(m), { fill: c });
      p.hit(a.x(q.x), a.y(q.c.score.mean), () => `${m}, ${d.f.title} ${d.f.format(q.x)}: ${interval(q.c.score)} over ${q.c.score.n} seeds`, q.c.trials[0].trial);
    }
  }
  return { brush: { x: { field: d.f.name, invert: a.x.invert }, y: { field: "value", invert: a.y.invert } } };
}
