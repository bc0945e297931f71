/* Views of what happened: checks before and after, decisions of stopping rules, slots over time. */

// Checks --------------------------------------------------------------------------------------------------------------
const readCheckRows = () => page.sweep.checks().filter((row) => { const t = page.sweep.byNumber.get(row.trial); return t && t.isOn && t.role === "search"; });
const checkRows = () => page.checkRows();
const checkTitle = (row) => `${row.check.replace(/^\d+:/, "")}: ${words(row.metric)}`;
const checkKinds = () => page.checkKinds();
const readCheckKinds = () => [...new Map(checkRows().map((row) => [`${row.check}|${row.metric}`, checkTitle(row)])).entries()];
/* One line a configuration that was best of its method, or every trial. */
function checkLines(get) {
  const rows = checkRows().filter((row) => `${row.check}|${row.metric}` === get.check);
  const ofTrial = new Map(rows.map((row) => [row.trial, row]));
  if (get.of === "trials") return few(rows, 60).map((row) => ({ t: page.sweep.byNumber.get(row.trial), before: row.before, after: row.after, low: row.low, high: row.high, delta: row.delta, n: row.n_items }));
  return page.lines.map((l) => {
    const own = l.best.trials.map((t) => ofTrial.get(t.trial)).filter(Boolean), average = (k) => { const known = own.map((r) => r[k]).filter(isNumber); return known.length ? mean(known) : null; };
    const over = student(own.map((r) => r.delta).filter(isNumber));
    return own.length ? { t: l.best.trials[0], before: average("before"), after: average("after"), delta: average("delta"), low: own.length > 1 ? over.low : own[0].low, high: own.length > 1 ? over.high : own[0].high, n: own[0].n_items } : null;
  }).filter(Boolean);
}
const checksCard = {
  id: "checks", title: "Checks before → after", controls: [{ key: "check", label: "", start: () => (checkKinds()[0] || [""])[0], values: checkKinds }, { key: "of", label: "for", start: "methods", values: () => [["methods", "each method's best"], ["trials", "single trials"]] }],
  height: (w, get) => 58 + 24 * Math.max(1, checkLines(get).length),
  draw(p, w, h, get) {
    const lines = checkLines(get);
    if (!lines.length) return "This sweep has no checks" + (page.state.filter ? " among the trials shown." : ".");
    const name = (l) => (get.of === "trials" ? `${l.t.trial} ${l.t.method}` : l.t.method), left = Math.min(w / 3, Math.max(...lines.map((l) => p.width(clip(name(l), 22), 12))) + 18);
    const a = axes(p, w, h, { title: checkKinds().find(([k]) => k === get.check)[1], range: padded(lines.flatMap((l) => [l.before, l.after])) }, { none: true }, { left, top: 4 });
    lines.forEach((l, i) => {
      const y = 18 + 24 * i, c = colour(p.theme, l.t.method);
      p.text(clip(name(l), 22), left - 8, y + 4, { align: "right", fill: p.theme.ink });
      if (isNumber(l.before)) {
        p.line([a.x(l.before), y, a.x(l.after), y], { stroke: c, width: 2 });
        p.dot(a.x(l.before), y, 4.5, "circle", { fill: p.theme.panel, stroke: c, width: 1.8 });
      }
      p.dot(a.x(l.after), y, 5, "circle", { fill: c });
      p.hit(a.x(l.after), y, `${name(l)}: ${score(l.before)} before, ${score(l.after)} after, change ${signed(l.delta)} ${range(l, signed)}`, l.t.trial);
    });
    return {};
  },
  table: (get) => ({ columns: [{ title: "trial" }, { title: "method" }, { title: "before", format: score }, { title: "after", format: score }, { title: "change", format: signed }, { title: "low", format: signed }, { title: "high", format: signed }, { title: "items" }],
    rows: checkLines(get).map((l) => [l.t.trial, l.t.method, l.before, l.after, l.delta, l.low, l.high, l.n]) }),
  summary: (get) => checkLines(get).slice(0, 6).map((l) => `${l.t.method} ${score(l.before)} to ${score(l.after)}`).join("; "),
  note: "Open: before (the untrained model with a linear probe of the same seed). Filled: after. Further left is less bias, for signed differences nearer to 0.",
};
/* Every check of every method's best configuration at one look: change, and whether it is clear. */
const matrixCard = {
  id: "matrix", title: "All checks of each method's best", height: (w) => 40 + 28 * Math.max(1, few(page.lines, 40).length) + (w < 500 ? 40 : 0),
  draw(p, w, h) {
    const kinds = checkKinds(), lines = few(page.lines, 40);
    if (!kinds.length || !lines.length) return "This sweep has no checks.";
    const left = Math.min(w / 3, Math.max(...lines.map((l) => p.width(clip(l.method, 20), 12))) + 18), cell = (w - left - 8) / kinds.length;
    const all = kinds.map(([k]) => checkLines({ check: k, of: "methods" }));
    kinds.forEach(([, title], k) => p.text(clip(title.replace(/^[^:]*: /, ""), Math.floor(cell / 6.4)), left + cell * (k + 0.5), 14, { align: "center", size: 11 }));
    lines.forEach((l, i) => {
      const y = 24 + 28 * i;
      p.text(clip(l.method, 20), left - 8, y + 17, { align: "right", fill: p.theme.ink });
      kinds.forEach(([, title], k) => {
        const found = all[k].find((q) => q.t.method === l.method);
        if (!found) { p.text("not measured", left + cell * (k + 0.5), y + 17, { align: "center", size: 11 }); return; }
        const clear = isNumber(found.low) && (found.low > 0 || found.high < 0), worse = /signed/.test(title) ? Math.abs(found.after) > Math.abs(found.before) : found.delta > 0;
        p.rect(left + cell * k + 2, y, cell - 4, 24, { fill: !clear ? p.theme.line : worse ? p.theme.bad : p.theme.good, alpha: clear ? 0.28 : 0.35 });
        const mark = !clear ? "no clear change" : worse ? "▲ worse" : "▼ better";
        p.text(cell > 170 ? `${signed(found.delta)}  ${mark}` : signed(found.delta) + (clear ? (worse ? " ▲" : " ▼") : ""), left + cell * (k + 0.5), y + 16, { align: "center", fill: p.theme.ink, size: 11 });
        p.hit(left + cell * (k + 0.5), y + 12, `${l.method}, ${title}: ${score(found.before)} → ${score(found.after)}, change ${signed(found.delta)} ${range(found, signed)}`, found.t.trial);
      });
    });
    return {};
  },
  table: () => ({ columns: ["method", "check", "before", "after", "change", "low", "high"].map((title, i) => ({ title, format: i < 4 ? score : signed })),
    rows: checkKinds().flatMap(([k, title]) => checkLines({ check: k, of: "methods" }).map((l) => [l.t.method, title, l.before, l.after, l.delta, l.low, l.high])) }),
  note: "Change by fine-tuning; clear when its 95 % interval leaves out 0 (over seeds, with one seed over items).",
};

// Decisions -----------------------------------------------------------------------------------------------------------
const rungDecisions = () => page.sweep.decisions().filter((d) => isNumber(d.step) && d.trial !== null && page.sweep.byNumber.get(d.trial) && page.sweep.byNumber.get(d.trial).isOn);
const isStop = (d) => ["prune", "stop"].includes(d.action);
const rungsCard = {
  id: "rungs", title: "Rungs: who went on, who was stopped", height: 300,
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
      p.dot(x, y, isStop(d) ? 4.5 : 3, isStop(d) ? "cross" : page.sweep.shape(t.method), { fill: isStop(d) ? p.theme.bad : colour(p.theme, t.method), alpha: 0.7 });
      p.hit(x, y, () => `Trial ${d.trial} (${t.method}), step ${d.step}: ${d.action} by ${d.rule}: ${d.reason}`, d.trial);
    });
    return {};
  },
  table: () => ({ columns: ["trial", "step", "rule", "action", "reason"].map((title) => ({ title })), rows: rungDecisions().map((d) => [d.trial, d.step, d.rule, d.action, d.reason]) }),
  summary: () => `${count(rungDecisions().filter(isStop).length)} of ${count(rungDecisions().length)} decisions stopped a trial.`,
  note: "A mark a decision at the value the trial had then; red crosses were stopped. Why, in words, stands in the table and in each trial.",
};

// Slots over time -----------------------------------------------------------------------------------------------------
function slotRows() {
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
