/* Tables of the page: methods, trials, one trial, several side by side, how to reproduce. */
/* A method's colour in its shape, as the charts have it. */
function swatch(method) {
  const node = element("span", { class: "swatch", "aria-hidden": "true" }), shape = page.sweep.shape(method);
  node.style.background = colour(theme(), method);
  if (shape === "circle") node.style.borderRadius = "50%";
  else node.style.clipPath = `polygon(${outline(shape, 5, 5, 4.4).map((v, i) => v.toFixed(1) + (i % 2 ? "px," : "px ")).join("").slice(0, -1)})`;
  return node;
}
const trialButton = (t) => element("button", { type: "button", class: "link", "aria-label": `Trial ${t.trial}`, click: () => setState({ trial: String(t.trial) }) }, String(t.trial));

/* columns: [{title, key: row → sortable, cell: row → text or node, number}]; sorting lives in the state under `id`. */
function sortableTable(id, columns, rows, caption, options) {
  const [name, way] = option(id + ".sort", "").split(":"), chosen = columns.find((c) => c.title === name);
  const list = chosen ? [...rows].sort((a, b) => (way === "down" ? -1 : 1) * compare(chosen.key(a), chosen.key(b))) : rows;
  const heads = columns.map((c) => c.key ? element("th", { scope: "col", class: c.number ? "number" : null, "aria-sort": c === chosen ? (way === "down" ? "descending" : "ascending") : null },
    element("button", { type: "button", "data-sort": c.title, click: () => setOption(id + ".sort", `${c.title}:${c === chosen && way === "up" ? "down" : "up"}`) }, c.title)) : element("th", { scope: "col" }, c.title));
  const start = options && options.start ? options.start : 0, shown = list.slice(start, start + ((options && options.limit) || 1e9));
  return scrolling(caption, element("table", {}, element("thead", {}, element("tr", {}, heads)), element("tbody", {}, shown.map((row) => element("tr", { class: options && options.rowClass ? options.rowClass(row) : null }, columns.map((c) => element("td", c.number ? { class: "number" } : {}, c.cell(row))))))));
}

function methodTable() {
  const s = page.sweep, hasTest = page.lines.some((l) => isNumber(l.test.mean));
  const checks = headChecks().map(([key, title]) => ({ key, title, lines: new Map(checkLines({ check: key, of: "methods" }).map((q) => [q.t.method, q])) }));
  const columns = [
    { title: "Method", key: (l) => l.method, cell: (l) => element("span", { class: "name" }, swatch(l.method), element("b", {}, clip(l.method, 40))) },
    { title: s.metric, number: true, key: (l) => l.score.mean, cell: (l) => [element("b", {}, score(l.score.mean)), " ", element("span", { class: "soft" }, range(l.score) || (l.score.n === 1 ? "1 seed" : ""))] },
    { title: "behind the best", number: true, key: (l) => (l.behind ? l.behind.mean : 0), cell: (l) => behindCell(l) },
    hasTest ? { title: "test", number: true, key: (l) => l.test.mean, cell: (l) => score(l.test.mean) } : null,
    { title: "trained", number: true, key: (l) => l.trained, cell: (l) => count(l.trained) },
    { title: "stored", number: true, key: (l) => l.stored, cell: (l) => bytes(l.stored) },
    { title: "time a trial", number: true, key: (l) => l.seconds, cell: (l) => seconds(l.seconds) },
    { title: "memory", number: true, key: (l) => l.peak, cell: (l) => (l.peak ? bytes(l.peak) : missing) },
    ...checks.map(({ key, title, lines }) => ({ title: `${shortTitle(key, title)} before → after`, number: true, key: (l) => (lines.get(l.method) || {}).delta, cell: (l) => checkCell(lines.get(l.method), key) })),
    { title: "best configuration", key: (l) => l.best.number, cell: (l) => element("span", { class: "soft" }, `${configurationText(l.parameters, 90)} (no. ${l.best.number}${l.n > 1 ? `, best of ${count(l.n)}` : ""})`) },
  ].filter(Boolean);
  if (!page.lines.length) return element("p", { class: "empty" }, why());
  return sortableTable("lines", columns, page.lines, "Methods", { rowClass: (l) => (l === page.lines[0] ? "best" : null) });
}
function behindCell(l) {
  if (!l.behind) return element("span", { class: "tag good" }, "best");
  const clear = isClear(l.behind), text = !isNumber(l.behind.low) ? "one seed" : clear ? "clearly behind" : isNear(l) ? "not distinguishable" : "undecided";
  return [signed(l.behind.mean), " ", element("span", { class: text === "not distinguishable" ? "tag same" : "tag", title: range(l.behind, signed) }, text)];
}
function checkCell(q, key) {
  if (!q) return missing;
  const f = checkNumber(key), way = judged(q, key), moved = isChanged(q);
  return [`${f(q.before).replace(" %", "")} → ${f(q.after)} `, element("span", { class: way < 0 ? "bad" : way > 0 ? "good" : "soft" }, moved ? (q.delta > 0 ? "▲" : "▼") : "≈", element("span", { class: "hidden" }, way ? (way < 0 ? " clearly worse" : " clearly better") : moved ? " clearly changed" : " no clear change"))];
}

// Trials --------------------------------------------------------------------------------------------------------------
const pageRows = 50;
function trialColumns() {
  const names = page.sweep.parameterNames.filter((n) => n !== "method").slice(0, 8);
  return [
    { title: "compare", cell: (t) => element("input", { type: "checkbox", "aria-label": `Compare trial ${t.trial}`, checked: compared().includes(t.trial), change: () => toggleCompared(t.trial) }) },
    { title: "trial", number: true, key: (t) => t.trial, cell: trialButton },
    { title: "state", key: (t) => t.state + (t.reason || ""), cell: (t) => element("span", { class: "state " + t.state.toLowerCase() }, t.state.toLowerCase() + (t.reason ? ": " + words(t.reason) : "")) },
    { title: "method", key: (t) => t.method, cell: (t) => element("span", { class: "name" }, swatch(t.method), clip(t.method, 40) + (t.role === "baseline" ? " (baseline)" : "")) },
    { title: page.sweep.metric, number: true, key: (t) => t.value, cell: (t) => score(t.value) },
    { title: "test", number: true, key: (t) => t.test, cell: (t) => score(t.test) },
    ...names.map((n) => ({ title: words(n), number: page.sweep.isNumeric(n), key: page.sweep.fields.get("parameter." + n).get, cell: (t) => { const v = page.sweep.fields.get("parameter." + n).get(t); return v === null ? element("span", { class: "soft" }, "n/a") : clip(valueText(v), 60); } })),
    { title: "configuration", number: true, key: (t) => t.configuration, cell: (t) => String(t.configuration) },
    { title: "seed", number: true, key: (t) => t.seed, cell: (t) => t.seed },
    { title: "steps", number: true, key: (t) => t.steps, cell: (t) => `${count(t.steps)} / ${count(t.total_steps)}` },
    { title: "trained", number: true, key: (t) => t.trained_parameters, cell: (t) => count(t.trained_parameters) },
    { title: "time", number: true, key: (t) => t.seconds, cell: (t) => seconds(t.seconds) },
    { title: "attempts", number: true, key: (t) => t.attempts, cell: (t) => String(t.attempts) },
  ];
}
function trialsSection() {
  const list = page.sweep.trials.filter((t) => t.isOn), last = Math.max(0, Math.ceil(list.length / pageRows) - 1), at = Math.min(Number(page.state.rows) || 0, last);
  const go = (n, text) => element("button", { type: "button", disabled: n < 0 || n > last || n === at, click: () => setState({ rows: String(n) }) }, text);
  const pager = list.length > pageRows ? element("div", { class: "pager" }, go(0, "First"), go(at - 1, "Previous"), element("span", {}, `${count(at * pageRows + 1)}–${count(Math.min(list.length, (at + 1) * pageRows))} of ${count(list.length)}`), go(at + 1, "Next"), go(last, "Last")) : null;
  return [sortableTable("trials", trialColumns(), list, "Trials", { start: at * pageRows, limit: pageRows, rowClass: (t) => (isChosen(t) ? "chosen" : null) }), pager];
}
function trialsCsv() {
  const names = page.sweep.parameterNames, plain = ["trial", "configuration", "role", "method", "seed", "state", "reason", "value", "test", "steps", "total_steps", "trained_parameters", "stored_bytes", "flops", "seconds", "peak_bytes", "attempts", "message"];
  return csvText({ columns: [...plain, ...names.map((n) => "params." + n)].map((title) => ({ title })), rows: page.sweep.trials.filter((t) => t.isOn).map((t) => [...plain.map((k) => t[k]), ...names.map((n) => page.sweep.fields.get("parameter." + n).get(t))]) });
}

// One trial -----------------------------------------------------------------------------------------------------------
const pairs = (label, list) => scrolling(label, element("table", { class: "pairs" }, element("tbody", {}, list.filter(([, v]) => v !== null && v !== undefined && v !== missing).map(([k, v]) => element("tr", {}, element("th", { scope: "row" }, k), element("td", {}, v))))));
const titled = (title, ...nodes) => [element("h3", {}, title), ...nodes];
function settingsOf(t) {
  try {
    return Object.entries(JSON.parse(page.sweep.settings().get(t.configuration))).map(([k, v]) => [words(k), typeof v === "string" || typeof v === "number" ? valueText(v) : JSON.stringify(v)]);
  } catch { return []; }
}
function trialDetail(t) {
  const own = (name) => page.sweep[name + "Of"](t.trial), attempts = own("attempts"), parts = [];
  parts.push(pairs("What it is", [["state", t.state.toLowerCase() + (t.reason ? ": " + words(t.reason) : "")], ["what happened", t.message], [page.sweep.metric, score(t.value)], ["test", score(t.test)], ["configuration", `no. ${t.configuration}${t.role === "baseline" ? " (baseline)" : ""}`], ["seed", t.seed],
    ["steps", `${count(t.steps)} of ${count(t.total_steps)}`], ["trained parameters", count(t.trained_parameters)], ["stored", bytes(t.stored_bytes)], ["time", seconds(t.seconds)], ["peak memory", bytes(t.peak_bytes)], ["FLOPs", compact(t.flops)]]));
  parts.push(titled("Searched values", pairs("Searched values", [["method", t.method], ...Object.keys(t.parameters).sort().filter((k) => k !== "method").map((k) => [words(k), valueText(t.parameters[k])])])));
  const settings = settingsOf(t);
  if (settings.length) parts.push(element("details", { class: "settings" }, element("summary", {}, `The whole configuration (${count(settings.length)} settings)`), pairs("The whole configuration", settings)));
  if (attempts.length) parts.push(titled("Attempts", plainTable({ columns: ["attempt", "state", "where", "from step", "time", "tokens/s", "exit"].map((title) => ({ title })), rows: attempts.map((a) => [a.attempt, a.state.toLowerCase() + (a.reason ? ": " + words(a.reason) : ""), `${a.worker} slot ${a.slot}`, a.resumed_step, seconds(a.seconds), count(a.tokens_per_second), a.signal ? "signal " + a.signal : a.exit_status]) }, "Attempts")));
  for (const a of attempts) if (a.log_tail) parts.push(titled(`Last lines of attempt ${a.attempt}`, element("pre", { tabindex: "0" }, a.log_tail)));
  for (const e of own("evaluations")) parts.push(evaluationPart(e));
  if (own("checks").length) parts.push(titled("Checks", plainTable({ columns: ["check", "before", "after", "change", "items"].map((title, i) => ({ title, format: i < 3 ? score : i === 3 ? signed : count })), rows: own("checks").map((c) => [checkTitle(c), c.before, c.after, isNumber(c.delta) ? `${signed(c.delta)} ${range(c, signed)}` : missing, c.n_items]) }, "Checks")));
  if (own("decisions").length) parts.push(titled("Decisions", plainTable({ columns: ["step", "rule", "action", "why"].map((title) => ({ title })), rows: own("decisions").map((d) => [d.step, d.rule, d.action, d.reason]) }, "Decisions")));
  if (own("artifacts").length) parts.push(titled("Files", element("p", { class: "note" }, "Below " + page.sweep.folder), plainTable({ columns: [{ title: "kind" }, { title: "path" }, { title: "size", format: bytes }, { title: "SHA-256" }], rows: own("artifacts").map((a) => [a.kind, a.path, a.bytes, a.sha256]) }, "Files")));
  return parts;
}
function evaluationPart(e) {
  let m = {};
  try { m = JSON.parse(e.metrics); } catch { return []; }
  const plain = Object.entries(m).filter(([, v]) => isNumber(v)).map(([k, v]) => [words(k), short(v)]), parts = titled(`Evaluation on ${e.split} (${count(e.n_items)} items)`, pairs("Evaluation on " + e.split, plain));
  if (m.f1 && Array.isArray(m.confusion)) {
    const labels = Object.keys(m.f1);
    parts.push(plainTable({ columns: [{ title: "true ↓ predicted →" }, ...labels.map((title) => ({ title, format: count })), { title: "F1", format: score }], rows: labels.slice(0, 40).map((l, i) => [l, ...labels.map((_, k) => (m.confusion[i] || [])[k]), m.f1[l]]) }, "Confusion on " + e.split));
  }
  return parts;
}
function updateDetail() {
  const t = page.sweep.byNumber.get(Number(page.state.trial)), dialog = page.dialog;
  if (!t) { if (dialog.open) dialog.close(); return; }
  const box = element("input", { type: "checkbox", id: "detail-compare", checked: compared().includes(t.trial), change: () => toggleCompared(t.trial) });
  dialog.replaceChildren(element("div", { class: "cardhead" }, element("h2", { id: "detail-title" }, `Trial ${t.trial}: `, swatch(t.method), clip(t.method, 60)), element("label", { for: "detail-compare" }, box, " compare"),
    element("button", { type: "button", click: () => dialog.close() }, "Close")), ...trialDetail(t).flat(3));
  if (!dialog.open) dialog.showModal();
}

// Side by side --------------------------------------------------------------------------------------------------------
function compareSection() {
  const list = compared().map((n) => page.sweep.byNumber.get(n)).filter(Boolean);
  if (list.length < 2) return [element("p", { class: "soft" }, "Tick two or more trials in the table above to see them side by side." + (list.length ? ` One is ticked: trial ${list[0].trial}.` : ""))];
  const names = [...new Set(list.flatMap((t) => Object.keys(t.parameters)))].filter((n) => n !== "method").sort();
  const lines = [["state", (t) => t.state.toLowerCase() + (t.reason ? ": " + words(t.reason) : "")], ["method", (t) => t.method], ...names.map((n) => [words(n), (t) => (n in t.parameters ? valueText(t.parameters[n]) : "not applicable")]), ["seed", (t) => t.seed],
    [page.sweep.metric, (t) => score(t.value)], ["test", (t) => score(t.test)], ["trained parameters", (t) => count(t.trained_parameters)], ["stored", (t) => bytes(t.stored_bytes)], ["steps", (t) => count(t.steps)], ["time", (t) => seconds(t.seconds)], ["peak memory", (t) => bytes(t.peak_bytes)],
    ...checkKinds().filter(([key]) => !checkMetric(key).includes("/")).flatMap(([key, title]) => ["before", "after"].map((kind) => [`${shortTitle(key, title)} ${kind}`, (t) => { const row = page.sweep.checksOf(t.trial).find(isOfCheck(key)); return row ? score(row[kind]) : missing; }]))];
  const body = lines.map(([title, f]) => { const texts = list.map(f), differs = new Set(texts).size > 1; return element("tr", { class: differs ? "differs" : null }, element("th", { scope: "row" }, title), texts.map((x) => element("td", {}, clip(String(x), 200)))); });
  return [scrolling("Side by side", element("table", {}, element("thead", {}, element("tr", {}, element("td"), list.map((t) => element("th", { scope: "col" }, swatch(t.method), "trial ", trialButton(t))))), element("tbody", {}, body))),
    element("p", { class: "note" }, "Rows that differ are marked. The charts ring these trials and draw their curves bold."), element("button", { type: "button", click: () => setState({ compare: "" }) }, "Compare none")];
}

// Statistics ----------------------------------------------------------------------------------------------------------
/* What `nightsweep compare` says of the sweep (docs/compare.md). */
function statisticsSection() {
  const c = page.sweep.comparison, span = (low, high) => (isNumber(low) && isNumber(high) ? `[${signed(low)}, ${signed(high)}]` : missing);
  if (!c) return [];
  const columns = (...titles) => titles.map((t) => (Array.isArray(t) ? { title: t[0], format: t[1] } : { title: t }));
  const parts = [element("p", { class: "note" }, `Configurations chosen by ${c.metric}, compared on ${c.compared_on}. Interval and p over test items where all were tested on the same ones, else over seeds; Holm's correction over all pairs; d: Cohen, δ: Cliff; ε: almost stochastic order, below 0.5 that one is better; showable: the smallest difference these seeds would find in 4 cases of 5.`)];
  if (c.pairs.length) parts.push(plainTable({ columns: columns("a − b", ["difference", signed], "95 %", "p", "p (Holm)", "d", "δ", "ε(a)", "ε(b)", ["showable", score], "verdict"),
    rows: c.pairs.map((q) => { const of = q.over_items || q.over_seeds; return [`${q.a} − ${q.b}`, q.difference, span(of.low, of.high), q.p, q.p_holm, q.cohen_d, q.cliff_delta, q.order_a_over_b, q.order_b_over_a, q.over_seeds.detectable, q.verdict]; }) }, "Pairs of methods"));
  const said = (q) => (q.equivalent ? "equivalent" : q.not_inferior ? "not inferior" : q.not_inferior === null ? "cannot be tested" : "cannot be said");
  if (c.non_inferiority && c.non_inferiority.methods.length) parts.push(...titled(`As good as ${c.non_inferiority.reference}, within ${c.non_inferiority.margin}?`, plainTable({ columns: columns("method", "p inferior", "p equivalent (TOST)", "90 % over items", "verdict"),
    rows: c.non_inferiority.methods.map((q) => [q.method, q.inferior_p, q.tost_p, span(q.low90, q.high90), said(q)]) }, "Non-inferiority")));
  parts.push(...titled("Traditional and parameter-efficient fine-tuning", plainTable({ columns: columns("method", "kind", ["parameters updated", count], ["FLOPs", short], ["time", seconds], ["memory", bytes], ["overfitting", signed], ["stored size", bytes], ["knowledge kept", (x) => percent(x, 1)], "fit"),
    rows: c.methods.map((m) => [m.method, m.traditional ? "traditional" : "parameter-efficient", m.trained_parameters, m.flops, m.seconds, m.peak_bytes, m.overfitting.mean, m.stored_bytes, m.knowledge_kept, m.fit_words]) }, "Costs")));
  const sizes = c.overfitting_by_size || [], named = [...new Set(sizes.flatMap((z) => Object.keys(z.gaps)))];
  if (sizes.length) parts.push(...titled("Overfitting by the size of the training set", plainTable({ columns: columns("training rows", ...named.map((title) => [title, signed])),
    rows: sizes.map((z) => [z.training_rows, ...named.map((m) => z.gaps[m])]) }, "Overfitting by size"), element("p", { class: "note" }, "Validation loss − training loss at the best checkpoint.")));
  const tries = [1, 2, 4, 8, 16, 32, 64].filter((k) => c.methods.some((m) => m.expected_best.length >= k));
  if (tries.length > 1) parts.push(...titled("Expected best validation score of so many configurations", plainTable({ columns: columns("method", ...tries.map((k) => [String(k), score])),
    rows: c.methods.map((m) => [m.method, ...tries.map((k) => m.expected_best[k - 1])]) }, "Expected best")));
  return parts;
}

// How to reproduce ----------------------------------------------------------------------------------------------------
function reproduceSection() {
  const s = page.sweep, environments = s.environments(), file = s.name + ".json";
  return [element("p", {}, "Save the definition as ", element("code", {}, file), " where its relative paths hold, then:"), element("pre", { tabindex: "0" }, `nightsweep plan ${file}\nnightsweep run ${file}\nnightsweep export ${s.name} --output ${s.name}.html`),
    s.inputs().length ? plainTable({ columns: [{ title: "trained on" }, { title: "file or folder" }, { title: "license" }, { title: "said by" }, { title: "SHA-256" }], rows: s.inputs().map((i) => [i.role, i.path.split("/").slice(-2).join("/"), i.license || "not said", i.license_source, i.sha256 && i.sha256.slice(0, 12)]) }, "Trained on") : null,
    s.origins().length ? plainTable({ columns: [{ title: "starts from" }, { title: "sweep" }, { title: "trial" }, { title: "seed" }, { title: "SHA-256" }], rows: s.origins().map((o) => [o.role, o.from_sweep, o.from_trial, o.seed, o.sha256 && o.sha256.slice(0, 12)]) }, "Starts from") : null,
    element("p", { class: "note" }, "Equal hashes, program version and environment give equal bits."),
    element("details", {}, element("summary", {}, "Definition"), element("pre", { tabindex: "0" }, s.definition)),
    element("details", {}, element("summary", {}, "Hashes, versions, machine"), pairs("Hashes", [["definition SHA-256", s.sha256], ["seed", s.seed], ...environments.flatMap((e, i) => e.pairs().map(([k, v]) => [(environments.length > 1 ? `${i + 1}: ` : "") + words(k).replace("sha256", "SHA-256"), v]))])),
    s.events().length ? element("details", {}, element("summary", {}, `Events (${count(s.events().length)})`), plainTable({ columns: [{ title: "when", format: clock }, { title: "trial" }, { title: "what" }, { title: "in words" }], rows: s.events().map((e) => [clock(e.created_at), e.trial, e.kind, e.message]) }, "Events")) : null];
}
