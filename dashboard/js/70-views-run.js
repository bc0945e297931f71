/* Views of what happened: checks before and after, decisions of stopping rules, slots over time. */

// Checks --------------------------------------------------------------------------------------------------------------
const checkTitle = (row) => `${row.check.replace(/^\d+:/, "")}: ${words(row.metric)}`;
/* "unsafe_rate[plain][chat]": a cell of a matrix; those are drawn by the matrix of checks alone. */
const cellPattern = /^([^[\]]+)\[([^[\]]*)\]\[([^[\]]*)\]$/;
const checkKinds = () => page.sweep.remembered("check kinds", () => page.sweep.checkKinds().filter(([, row]) => !cellPattern.test(row.metric)).map(([key, row]) => [key, checkTitle(row)]));
const checkKind = (key) => key.slice(0, key.indexOf("|")).replace(/^\d+:/, ""), checkMetric = (key) => key.slice(key.indexOf("|") + 1);
/* What is better of a check's metric: "less", "more", "zero" (nearer to it), or "" where neither is. */
function betterOf(key) {
  const metric = checkMetric(key);
  if (checkKind(key) === "weights") return "";
  if (/signed|bias_score|effect_size/.test(metric)) return "zero";
  if (metric.startsWith("over_refusal")) return "less";
  return /accuracy|usefulness|(^|_)f1|bleu|chrf|refus|agreement|retention|retained/.test(metric) && !/drop|loss|forgetting|difference|gap/.test(metric) ? "more" : "less";
}
const betterWords = { less: "Less is better", more: "More is better", zero: "Nearer to 0 is better", "": "Neither way is better by itself" };
/* 1: clearly better after training than before, −1: clearly worse, 0: no clear change, or none that is good or bad. */
function judged(q, key) {
  const better = betterOf(key);
  if (!better || !isNumber(q.low) || !isNumber(q.before) || (q.low <= 0 && q.high >= 0)) return 0;
  const rises = q.delta > 0;
  if (better === "zero") return Math.abs(q.after) > Math.abs(q.before) ? -1 : 1;
  return rises === (better === "more") ? 1 : -1;
}
const isChanged = (q) => isNumber(q.low) && isNumber(q.before) && (q.low > 0 || q.high < 0);
const checkNumber = (key) => (/rate|accuracy|parity|share/.test(checkMetric(key)) ? (x) => percent(x, 2) : score);
/* "flip rate", "forgetting accuracy": the bias check is known by its metrics. */
const shortTitle = (key, title) => (/^(counterfactual|group_fairness)$/.test(checkKind(key)) ? title.replace(/^[^:]*: /, "") : title.replace(": ", " "));
/* The checks that stand in the table of methods: of each kind its first metric, flips before others. */
function headChecks() {
  const kinds = new Map();
  for (const [key, title] of checkKinds()) {
    const kind = checkKind(key);
    if (betterOf(key) && !checkMetric(key).includes("/") && (!kinds.has(kind) || checkMetric(key) === "flip_rate")) kinds.set(kind, [key, title]);
  }
  return few([...kinds.values()], 3);
}
const isOfCheck = (key) => { const cut = key.indexOf("|"); return (row) => row.check === key.slice(0, cut) && row.metric === key.slice(cut + 1); };
/* One line a configuration that was best of its method, or every trial. */
const checkLines = (get) => page.sweep.remembered(`check ${get.of} ${get.check}`, () => readCheckLines(get));
function readCheckLines(get) {
  const isIt = isOfCheck(get.check);
  if (get.of === "trials") {
    const out = [];
    for (const row of page.sweep.checks()) {
      const t = isIt(row) ? page.sweep.byNumber.get(row.trial) : null;
      if (t && t.isOn && t.role === "search") out.push({ t, before: row.before, after: row.after, low: row.low, high: row.high, delta: row.delta, n: row.n_items });
      if (out.length === 60) break;
    }
    return out;
  }
  return page.lines.map((l) => {
    const own = l.best.trials.map((t) => page.sweep.checksOf(t.trial).find(isIt)).filter(Boolean), average = (k) => { const known = own.map((r) => r[k]).filter(isNumber); return known.length ? mean(known) : null; };
    const over = student(own.map((r) => r.delta).filter(isNumber));
    return own.length ? { t: l.best.trials[0], before: average("before"), after: average("after"), delta: average("delta"), low: own.length > 1 ? over.low : own[0].low, high: own.length > 1 ? over.high : own[0].high, n: own[0].n_items } : null;
  }).filter(Boolean);
}
/* Where the 95 % interval of the change puts what came after; without a before the interval is that of after itself. */
const reached = (l) => (isNumber(l.low) && isNumber(l.high) ? [l.low, l.high].map((v) => v + (isNumber(l.before) ? l.before : 0)) : null);
/* All values, and of intervals what is at most twice as far as they are apart: with few seeds some are huge. */
function checkRange(lines) {
  const [low, high] = extremes(lines.flatMap((l) => [l.before, l.after]).filter(isNumber)), far = 2 * (high - low) || Infinity;
  return padded([low, high, ...lines.flatMap((l) => reached(l) || []).map((v) => Math.min(Math.max(v, low - far), high + far))]);
}
const checksCard = {
  id: "checks", title: "Checks before → after", isNeeded: () => page.sweep.checkKinds().length > 0, controls: [{ key: "check", label: "", start: () => (checkKinds()[0] || [""])[0], values: checkKinds }, { key: "of", label: "for", start: "methods", values: () => [["methods", "each method's best"], ["trials", "single trials"]] }],
  height: (w, get) => 58 + 24 * Math.max(1, checkLines(get).length),
  draw(p, w, h, get) {
    const lines = checkLines(get);
    if (!lines.length) return "This sweep has no checks" + (page.state.filter ? " among the trials shown." : ".");
    const name = (l) => (get.of === "trials" ? `${l.t.trial} ${l.t.method}` : l.t.method), left = Math.min(w / 3, Math.max(...lines.map((l) => p.width(clip(name(l), 22), 12))) + 18);
    const a = axes(p, w, h, { title: checkKinds().find(([k]) => k === get.check)[1], range: checkRange(lines), format: /rate|accuracy|parity|share/.test(checkMetric(get.check)) ? percent : short }, { none: true }, { left, top: 4 });
    lines.forEach((l, i) => {
      const y = 18 + 24 * i, c = colour(p.theme, l.t.method);
      p.text(clip(name(l), 22), left - 8, y + 4, { align: "right", fill: p.theme.ink });
      if (isNumber(l.before)) {
        p.line([a.x(l.before), y, a.x(l.after), y], { stroke: c, width: 2 });
        p.dot(a.x(l.before), y, 4.5, "circle", { fill: p.theme.panel, stroke: c, width: 1.8 });
      }
      const reach = reached(l), edges = [a.left, a.right];
      if (reach) {
        const [from, to] = reach.map((v) => Math.min(Math.max(a.x(v), edges[0]), edges[1]));
        p.line([from, y, to, y], { stroke: c, width: 1.2, alpha: 0.8 });
        for (const [x, v] of [[from, reach[0]], [to, reach[1]]]) if (Math.abs(x - a.x(v)) < 1) p.line([x, y - 4, x, y + 4], { stroke: c, width: 1.2, alpha: 0.8 });
      }
      p.dot(a.x(l.after), y, 5, "circle", { fill: c });
      p.hit(a.x(l.after), y, `${name(l)}: ${score(l.before)} before, ${score(l.after)} after, change ${signed(l.delta)} ${range(l, signed)}`, l.t.trial);
    });
    return {};
  },
  table: (get) => ({ columns: [{ title: "trial" }, { title: "method" }, { title: "before", format: score }, { title: "after", format: score }, { title: "change", format: signed }, { title: "low", format: signed }, { title: "high", format: signed }, { title: "items" }],
    rows: checkLines(get).map((l) => [l.t.trial, l.t.method, l.before, l.after, l.delta, l.low, l.high, l.n]) }),
  summary: (get) => checkLines(get).slice(0, 6).map((l) => `${l.t.method} ${score(l.before)} to ${score(l.after)}`).join("; "),
  note: (get) => `Open: before (the untrained model; with a linear probe of the same seed where labels are needed). Filled: after, with the 95 % interval of the change (over seeds; of one trial over items). ${betterWords[betterOf(get.check)]}.`,
};
/* Every check of every method's best configuration at one look: change, and whether it is clear. */
const overviewKinds = () => few(checkKinds().filter(([k]) => !checkMetric(k).includes("/")), 12);
const matrixCard = {
  id: "matrix", title: "All checks of each method's best", isNeeded: () => page.sweep.checkKinds().length > 0, height: (w) => 40 + 28 * Math.max(1, few(page.lines, 40).length) + (w < 500 ? 40 : 0),
  draw(p, w, h) {
    const kinds = overviewKinds(), lines = few(page.lines, 40);
    if (!kinds.length || !lines.length) return "This sweep has no checks" + (page.state.filter ? " among the trials shown." : ".");
    const left = Math.min(w / 3, Math.max(...lines.map((l) => p.width(clip(l.method, 20), 12))) + 18), cell = (w - left - 8) / kinds.length;
    const all = kinds.map(([k]) => checkLines({ check: k, of: "methods" }));
    kinds.forEach(([key, title], k) => p.text(clip(shortTitle(key, title), Math.floor(cell / 6.4)), left + cell * (k + 0.5), 14, { align: "center", size: 11 }));
    lines.forEach((l, i) => {
      const y = 24 + 28 * i;
      p.text(clip(l.method, 20), left - 8, y + 17, { align: "right", fill: p.theme.ink });
      kinds.forEach(([key, title], k) => drawChange(p, left + cell * k + 2, y, cell - 4, all[k].find((q) => q.t.method === l.method), key, `${l.method}, ${title}`));
    });
    return {};
  },
  table: () => ({ columns: ["method", "check", "before", "after", "change", "low", "high", "better"].map((title, i) => ({ title, format: i < 4 ? score : signed })),
    rows: checkKinds().flatMap(([k, title]) => checkLines({ check: k, of: "methods" }).map((l) => [l.t.method, title, l.before, l.after, l.delta, l.low, l.high, betterOf(k)])) }),
  note: "Change by fine-tuning; clear when its 95 % interval leaves out 0 (over seeds, with one seed over items). Checks of single layers stand in the chart beside this one and in the table.",
};
/* A cell with a change: ground and mark say whether it is clear, and for the better or the worse. */
function drawChange(p, x, y, w, q, key, title) {
  if (!q) { p.text(w > 80 ? "not measured" : missing, x + w / 2, y + 17, { align: "center", size: 11 }); return; }
  const way = judged(q, key), moved = isChanged(q);
  p.rect(x, y, w, 24, { fill: way < 0 ? p.theme.bad : way > 0 ? p.theme.good : p.theme.line, alpha: way ? 0.28 : 0.35 });
  const arrow = moved ? (q.delta > 0 ? " ▲" : " ▼") : "", text = w > 166 ? (way ? (way > 0 ? " better" : " worse") : moved ? "" : " no clear change") : "";
  p.text(isNumber(q.delta) ? signed(q.delta) + arrow + text : score(q.after), x + w / 2, y + 16, { align: "center", fill: p.theme.ink, size: 11 });
  p.hit(x + w / 2, y + 12, `${title}: ${score(q.before)} → ${score(q.after)}, change ${signed(q.delta)} ${range(q, signed)}`, q.t.trial);
}

// Matrix of a check ---------------------------------------------------------------------------------------------------
/* Checks whose metric carries two bracketed keys, as a safety check's unsafe_rate[trained with][tested with]: [key of
 * check and metric, {title, rows, columns}] with the keys in the order they came. */
const families = () => page.sweep.remembered("families", () => {
  const found = new Map();
  for (const [key, row] of page.sweep.checkKinds()) {
    const parts = row.metric.match(cellPattern);
    if (!parts) continue;
    const own = `${row.check}|${parts[1]}`;
    if (!found.has(own)) found.set(own, { title: checkTitle({ check: row.check, metric: parts[1] }), rows: new Set(), columns: new Set(), keys: new Set() });
    found.get(own).rows.add(parts[2]);
    found.get(own).columns.add(parts[3]);
    found.get(own).keys.add(key);
  }
  return [...found];
});
/* A cell's mean over the seeds of the method's best configuration among those that have it: what a model was trained
 * with may be a searched value, so that each row comes from other trials. */
function cellOf(family, method, row, column) {
  const isIt = isOfCheck(`${family}[${row}][${column}]`), hasIt = (t) => page.sweep.checksOf(t.trial).some(isIt), own = page.sweep.configurations().filter((c) => c.method === method && c.trials.some(hasIt));
  const baselines = own.length ? [] : page.sweep.trials.filter((t) => t.role === "baseline" && hasIt(t)); // the row of the model before training
  if (!own.length && !baselines.length) return null;
  const best = baselines.length ? { trials: baselines } : own.reduce((a, b) => (b.trials.length > a.trials.length || (b.trials.length === a.trials.length && page.sweep.isBetter(b.score.mean, a.score.mean)) ? b : a));
  const rows = best.trials.map((t) => page.sweep.checksOf(t.trial).find(isIt)).filter(Boolean), average = (k) => { const known = rows.map((r) => r[k]).filter(isNumber); return known.length ? mean(known) : null; };
  const over = student(rows.map((r) => r.delta).filter(isNumber)), several = rows.length > 1;
  return { t: best.trials[0], before: average("before"), after: average("after"), delta: average("delta"), low: several ? over.low : rows[0].low, high: several ? over.high : rows[0].high, n: rows.length };
}
function cells(get) {
  const family = families().find(([key]) => key === get.check);
  if (!family || !get.method) return null;
  const rows = few([...family[1].rows], 20), columns = few([...family[1].columns], 20);
  return page.sweep.remembered(`cells ${get.check} ${get.method}`, () => ({ rows, columns, at: rows.map((r) => columns.map((c) => cellOf(family[0], get.method, r, c))) }));
}
const familyRows = (get) => { const family = families().find(([key]) => key === get.check); return family ? Math.min(20, family[1].rows.size) : 0; };
const safetyCard = {
  id: "safety", title: "Safety matrix", isNeeded: () => families().length > 0, height: (w, get) => (familyRows(get) ? 58 + 46 * familyRows(get) : 60),
  controls: [{ key: "check", label: "", start: () => (families()[0] || [""])[0], values: () => families().map(([key, f]) => [key, f.title]) },
    { key: "method", label: "of", start: () => (page.lines[0] || { method: "" }).method, values: () => page.lines.map((l) => [l.method, l.method]) }],
  draw(p, w, h, get) {
    const m = cells(get), format = checkNumber(get.check);
    if (!m || !m.at.flat().some(Boolean)) return "No check of this sweep has a value for each pair of training and test conditions" + (page.state.filter ? " among the trials shown." : ".");
    const left = Math.min(w / 3, Math.max(...m.rows.map((r) => p.width(clip(r, 18), 12))) + 30), cell = (w - left - 8) / m.columns.length, most = extremes(m.at.flat().filter(Boolean).map((q) => q.after))[1] || 1;
    p.text("tested with", left + (w - left) / 2, 12, { align: "center", size: 11 });
    p.text("trained with", 10, 34 + 23 * m.rows.length, { align: "center", size: 11, turn: true });
    m.columns.forEach((c, k) => p.text(clip(c, Math.floor(cell / 7)), left + cell * (k + 0.5), 28, { align: "center", fill: p.theme.ink }));
    m.rows.forEach((r, i) => {
      const y = 36 + 46 * i;
      p.text(clip(r, 18), left - 8, y + 26, { align: "right", fill: p.theme.ink });
      m.columns.forEach((c, k) => {
        const q = m.at[i][k], x = left + cell * k + 2, middle = left + cell * (k + 0.5);
        p.rect(x, y, cell - 4, 42, q ? { fill: p.theme.accent, alpha: 0.06 + 0.34 * Math.max(0, q.after / most) } : { stroke: p.theme.line });
        if (r === c) p.rect(x, y, cell - 4, 42, { stroke: p.theme.axis, width: 1.5 });
        if (!q) { p.text(cell > 90 ? "not measured" : missing, middle, y + 25, { align: "center", size: 11 }); return; }
        const way = judged(q, get.check), mark = isChanged(q) ? (q.delta > 0 ? " ▲" : " ▼") : "";
        p.text(format(q.after) + mark, middle, y + 19, { align: "center", fill: way < 0 ? p.theme.bad : way > 0 ? p.theme.good : p.theme.ink, bold: true });
        if (isNumber(q.before)) p.text((cell > 96 ? "before " : "") + format(q.before), middle, y + 35, { align: "center", size: 10, fill: p.theme.ink });
        p.hit(middle, y + 20, `${get.method}, trained with ${r}, tested with ${c}: ${format(q.before)} before, ${format(q.after)} after, change ${signed(q.delta)} ${range(q, signed)}, ${q.n} ${q.n === 1 ? "seed" : "seeds"}`, q.t.trial);
      });
    });
    return {};
  },
  table(get) {
    const m = cells(get), rows = [];
    if (m) m.rows.forEach((r, i) => m.columns.forEach((c, k) => { const q = m.at[i][k]; rows.push(q ? [r, c, q.before, q.after, q.delta, q.low, q.high, q.n] : [r, c, null, null, null, null, null, 0]); }));
    return { columns: ["trained with", "tested with", "before", "after", "change", "low", "high", "seeds"].map((title, i) => ({ title, format: i < 4 ? score : i < 7 ? signed : count })), rows };
  },
  summary: (get) => { const m = cells(get), all = m ? m.at.flat().filter(Boolean) : []; return all.length ? `${get.method}: from ${score(extremes(all.map((q) => q.after))[0])} to ${score(extremes(all.map((q) => q.after))[1])} over ${all.length} pairs of conditions.` : ""; },
  note: (get) => `After training, before it below; ▲ ▼ where the 95 % interval of the change leaves out 0. The darker, the higher; framed: trained and tested alike. ${betterWords[betterOf(get.check)]}.`,
};

// Decisions -----------------------------------------------------------------------------------------------------------
const rungDecisions = () => page.sweep.remembered("rungs", readRungDecisions);
const readRungDecisions = () => page.sweep.decisions().filter((d) => isNumber(d.step) && d.trial !== null && page.sweep.byNumber.get(d.trial) && page.sweep.byNumber.get(d.trial).isOn);
const isStop = (d) => ["prune", "stop"].includes(d.action);
const rungsCard = {
  // A column that is null all along is written as that: no row is looked at.
  id: "rungs", title: "Rungs: who went on, who was stopped", height: 300, isNeeded: () => { const { n, columns } = page.sweep.raw.decisions; return n > 0 && columns.step.all !== null; },
  draw(p, w, h) {
    const list = rungDecisions();
    if (!list.length) return "No stopping rule decided anything" + (page.state.filter ? " about the trials shown." : " in this sweep.");
    const values = list.map((d) => page.sweep.curves().at(d.trial, page.sweep.metric, d.step)), steps = [...new Set(list.map((d) => d.step))].sort((a, b) => a - b);
    const sorted = values.filter(isNumber).sort((a, b) => a - b);
    if (!sorted.length) return "The trials of these decisions have no curve of " + page.sweep.metric + ".";
    const a = axes(p, w, h, { title: "step of the decision", range: [0, steps[steps.length - 1] * 1.08] }, { title: page.sweep.metric, range: padded([quantile(sorted, 0.02), sorted[sorted.length - 1]]) }, { top: 24 });
    for (const s of steps.slice(0, 20)) {
      const own = list.filter((d) => d.step === s), stopped = own.filter(isStop).length;
      p.line([a.x(s), a.top, a.x(s), a.bottom], { stroke: p.theme.line });
      p.text(`${own.length - stopped} on, ${stopped} stopped`, a.x(s), 14, { align: "center", size: 10 });
    }
    list.forEach((d, i) => {
      if (!isNumber(values[i]) || a.y(values[i]) > a.bottom) return;
      const t = page.sweep.byNumber.get(d.trial), x = a.x(d.step) + 14 * (((d.trial * 0.618) % 1) - 0.5), y = a.y(values[i]);
      const style = { fill: isStop(d) ? p.theme.bad : colour(p.theme, t.method), alpha: 0.7 };
      if (list.length > manyTrials) p.rect(x - 1, y - 1, 2.2, 2.2, style); else p.dot(x, y, isStop(d) ? 4.5 : 3, isStop(d) ? "cross" : page.sweep.shape(t.method), style);
      p.hit(x, y, () => `Trial ${d.trial} (${t.method}), step ${d.step}: ${d.action} by ${d.rule}${d.reason ? ": " + d.reason : ""}`, d.trial);
    });
    return {};
  },
  table: () => ({ columns: ["trial", "step", "rule", "action", "reason"].map((title) => ({ title })), n: rungDecisions().length, row: (i) => { const d = rungDecisions()[i]; return [d.trial, d.step, d.rule, d.action, d.reason]; } }),
  summary: () => `${count(rungDecisions().filter(isStop).length)} of ${count(rungDecisions().length)} decisions stopped a trial.`,
  note: "A mark a decision at the value the trial had then; red crosses were stopped. Why, in words, stands in the table and in each trial.",
};

// Slots over time -----------------------------------------------------------------------------------------------------
const slotRows = () => page.sweep.remembered("slots", readSlotRows);
function readSlotRows() {
  const list = page.sweep.attempts().filter((a) => isNumber(a.started_at)), keys = [...new Set(list.map((a) => `${a.worker} slot ${a.slot}`))].sort(compare);
  return { list, keys };
}
const timelineCard = {
  id: "timeline", title: "Slots over time", wide: true, height: () => 60 + 26 * Math.max(1, Math.min(40, slotRows().keys.length)),
  draw(p, w, h) {
    const { list, keys } = slotRows();
    if (!list.length) return "No trial has run yet.";
    const first = extremes(list.map((a) => a.started_at))[0], last = extremes(list.map((a) => (isNumber(a.ended_at) ? a.ended_at : a.started_at + (a.seconds || 0))))[1];
    const left = Math.min(w / 3, Math.max(...keys.map((k) => p.width(clip(k, 22), 11))) + 14), a = axes(p, w, h, { title: "since the first start", range: [0, Math.max(1, last - first)], format: seconds }, { none: true }, { left, top: 4 });
    keys.slice(0, 40).forEach((k, i) => p.text(clip(k, 22), left - 6, 22 + 26 * i, { align: "right", size: 11 }));
    for (const q of list) {
      const row = keys.indexOf(`${q.worker} slot ${q.slot}`), t = page.sweep.byNumber.get(q.trial);
      if (row >= 40 || !t) continue;
      const x = a.x(q.started_at - first), end = a.x((isNumber(q.ended_at) ? q.ended_at : last) - first), y = 8 + 26 * row, c = t.isOn ? colour(p.theme, t.method) : p.theme.dim;
      p.rect(x, y, Math.max(1, end - x - 0.5), 19, { fill: c, alpha: q.state === "COMPLETE" ? 0.8 : 0.4 });
      if (q.state === "FAILED") p.rect(x, y + 14, Math.max(1.5, end - x - 0.5), 5, { fill: p.theme.bad });
      if (q.state === "INTERRUPTED") p.line([end - 1, y, end - 1, y + 19], { stroke: p.theme.ink, width: 2 });
      if (isChosen(t)) p.rect(x, y, Math.max(2, end - x - 1), 19, { stroke: p.theme.ink, width: 2 });
      if (end - x > 30) p.text(String(q.trial), x + 4, y + 13, { size: 10, fill: p.theme.ink });
      p.hit((x + end) / 2, y + 9, () => `Trial ${q.trial}, attempt ${q.attempt} (${t.method}): ${q.state.toLowerCase()}${q.reason ? ", " + words(q.reason) : ""}, ${seconds(q.seconds)}`, q.trial);
    }
    return {};
  },
  table: () => ({ columns: [{ title: "trial" }, { title: "attempt" }, { title: "worker" }, { title: "slot" }, { title: "state" }, { title: "reason" }, { title: "started", format: clock }, { title: "ended", format: clock }, { title: "seconds", format: seconds }],
    rows: slotRows().list.map((a) => [a.trial, a.attempt, a.worker, a.slot, a.state, a.reason, a.started_at, a.ended_at, a.seconds]) }),
  summary: () => { const { list, keys } = slotRows(); return `${count(list.length)} attempts in ${count(keys.length)} slots.`; },
  note: "A bar an attempt in its method's colour. Red foot: failed; pale: stopped early; dark end: interrupted and resumed later.",
};
