/* The page as a whole: head, finding, what stands where, and what happens when something changes. */

// The finding in words ------------------------------------------------------------------------------------------------
const strong = (text) => element("b", {}, text);
const listed = (names) => (names.length < 2 ? names.join("") : names.slice(0, -1).join(", ") + " and " + names[names.length - 1]);
/* Not distinguishable is not the same as equal: only what lies within 2 % of the best is called near. */
const isClear = (d) => isNumber(d.low) && (d.low > 0 || d.high < 0);
const isNear = (l) => Math.abs(l.behind.mean) <= 0.02 * Math.abs(page.lines[0].score.mean);
function finding() {
  const best = page.lines[0], rest = page.lines.slice(1), name = (l) => clip(l.method, 40);
  if (!best) return [element("p", { class: "lead" }, why())];
  const unclear = rest.filter((l) => isNumber(l.behind.low) && !isClear(l.behind)), single = rest.filter((l) => !isNumber(l.behind.low)), same = unclear.filter(isNear), open = unclear.filter((l) => !isNear(l)), behind = rest.filter((l) => isClear(l.behind));
  const differences = (list) => listed(list.map((l) => `${name(l)} (${signed(l.behind.mean)})`));
  const parts = [element("p", { class: "lead" }, strong(name(best)), ` is best on ${page.sweep.metric}: `, strong(score(best.score.mean)), isNumber(best.score.low) ? ` ${range(best.score)}, 95 % over ${best.score.n} seeds` : ", one seed, so no interval",
    isNumber(best.test.mean) ? `; on test ${interval(best.test)}.` : ".")];
  if (!rest.length) parts.push(element("p", {}, page.sweep.methods.length > 1 ? "No other method has a finished trial among those shown." : "It is the only method of this sweep."));
  else if (!isNumber(best.score.low)) parts.push(element("p", {}, "With one seed, methods cannot be told apart: run more seeds before choosing."));
  else if (behind.length === rest.length) parts.push(element("p", {}, rest.length > 1 ? `Clearly ahead of all ${rest.length} others; next is ` : "Clearly ahead of ", `${name(rest[0])} (${signed(rest[0].behind.mean)} ${range(rest[0].behind, signed)}).`));
  else parts.push(element("p", {}, same.length ? ["Not distinguishable from it: ", strong(listed(same.map(name))), " (the 95 % interval of the difference contains 0). "] : null, open.length ? `Seeds too few or too scattered to tell: ${differences(open)}. ` : null,
    single.length ? `One seed only: ${differences(single)}. ` : null, behind.length ? `Clearly behind: ${differences(behind)}.` : null));
  const cheap = same.filter((l) => isNumber(l.trained) && l.trained < best.trained).sort((x, y) => x.trained - y.trained)[0];
  parts.push(element("p", {}, cheap ? [strong(name(cheap)), ` comes near (${signed(cheap.behind.mean)}) with ${count(cheap.trained)} trained parameters, ${short(Number((best.trained / cheap.trained).toPrecision(2)))} times fewer than ${name(best)}.`] : `It trains ${count(best.trained)} parameters, keeps ${bytes(best.stored)} and takes ${seconds(best.seconds)} a trial.`));
  const bias = biasWords(best);
  if (bias) parts.push(bias);
  return parts;
}
/* What training did to bias, safety and what the model knew before, for the best method. */
function biasWords(best) {
  const parts = [];
  for (const [key, title] of headChecks()) {
    const q = checkLines({ check: key, of: "methods" }).find((l) => l.t.method === best.method), f = checkNumber(key);
    if (!q || !isNumber(q.before)) continue;
    const way = judged(q, key), verdict = way ? (way < 0 ? "clearly worse." : "clearly better.") : "no clear change.";
    parts.push(checkMetric(key) === "flip_rate" ? `Bias: its answer flips on ${f(q.after)} of the counterfactual pairs, ${f(q.before)} before: ` : `${clip(title.charAt(0).toUpperCase() + title.slice(1), 60)} ${f(q.after)}, ${f(q.before)} before: `,
      element("span", { class: way < 0 ? "bad" : way > 0 ? "good" : null }, verdict), " ");
  }
  return parts.length ? element("p", {}, parts) : null;
}
function stateChips() {
  const s = page.sweep, groups = groupBy(s.trials, (t) => t.state), chips = [];
  for (const state of ["COMPLETE", "RUNNING", "WAITING", "PAUSED", "PRUNED", "FAILED"]) {
    const list = groups.get(state);
    if (!list) continue;
    const reasons = [...groupBy(list.filter((t) => t.reason), (t) => t.reason)].map(([r, l]) => `${l.length} ${words(r)}`).join(", ");
    chips.push(element("button", { type: "button", class: "chip " + state.toLowerCase(), title: "Show these trials", click: () => { setState({ filter: replaceClause(page.state.filter, "state", `state in [${state}]`) }); } }, strong(count(list.length)), " " + state.toLowerCase() + (reasons ? `: ${reasons}` : "")));
  }
  return chips;
}

// Building ------------------------------------------------------------------------------------------------------------
const specs = [methodsCard, sizeCard, curvesCard, checksCard, matrixCard, safetyCard, parallelCard, importanceCard, sliceCard, rungsCard, budgetCard, timelineCard];
function section(id, title, ...nodes) { return element("section", { id, class: "card wide", "aria-labelledby": id + "-title" }, element("div", { class: "cardhead" }, element("h2", { id: id + "-title" }, title), ...nodes)); }
function build() {
  const root = document.getElementById("page");
  page.input = element("input", { type: "text", id: "filter", spellcheck: "false", autocomplete: "off", "aria-describedby": "filter-note", placeholder: "method = lora and rank >= 4 and state = COMPLETE", input: () => { clearTimeout(page.timer); page.timer = setTimeout(() => setState({ filter: page.input.value, rows: "" }), 150); } });
  page.note = element("span", { id: "filter-note", role: "status" });
  page.choice = element("select", { id: "sweep", change: () => setState({ ...startState(), theme: page.state.theme, sweep: page.choice.value }) }, page.data.sweeps.map((s) => element("option", { value: s.name }, s.name)));
  page.themeButton = element("button", { type: "button", click: () => setState({ theme: themeName() === "dark" ? "light" : "dark" }) });
  page.liveMark = element("span", { class: "live", role: "status" });
  const jump = (id, text) => element("button", { type: "button", "data-to": id, click: () => { const node = document.getElementById(id); node.scrollIntoView({ block: "start" }); const to = node.querySelector("canvas, table, h2"); if (to) { if (!to.hasAttribute("tabindex")) to.setAttribute("tabindex", "-1"); to.focus({ preventScroll: true }); } } }, text);
  const head = element("header", { class: "bar" }, element("span", { class: "brand" }, "Nightsweep"), page.data.sweeps.length > 1 ? element("label", {}, element("span", { class: "hidden" }, "Sweep"), page.choice) : null,
    element("div", { class: "filter" }, element("label", { for: "filter" }, "Filter"), page.input, element("button", { type: "button", click: () => setState({ filter: "", rows: "" }) }, "Clear"), page.note), page.liveMark, page.themeButton);
  page.title = element("h1");
  page.chips = element("div", { class: "chips" });
  page.facts = element("p", { class: "soft facts" });
  page.finding = element("div", { class: "finding", "aria-live": "polite" });
  page.methodTable = element("div");
  page.best = new Card(bestCard);
  page.pareto = new Card(paretoCard);
  const top = element("div", { class: "top" }, element("section", { class: "summary", "aria-label": "Finding" }, page.title, page.finding, page.chips, page.facts), page.best.node, page.pareto.node);
  const methods = section("lines", "Methods: what each reaches and what it costs");
  methods.append(page.methodTable, element("p", { class: "note" }, "Each method's best configuration, chosen on validation; test is that configuration's and took no part in choosing. Intervals: 95 %, Student, over seeds; differences: Welch."));
  const nav = element("nav", { class: "jumps", "aria-label": "Views" }, [["methods", "Methods"], ["size", "Size"], ["curves", "Curves"], ["checks", "Checks"], ["safety", "Safety"], ["parallel", "Parallel"], ["importance", "Importance"], ["slice", "Slice"], ["rungs", "Rungs"], ["budget", "Budget"], ["timeline", "Timeline"], ["statistics", "Statistics"], ["trials", "Trials"], ["compare", "Compare"], ["reproduce", "Reproduce"]].map(([id, text]) => jump(id, text)));
  page.cards = [page.best, page.pareto, ...specs.map((spec) => new Card(spec))];
  page.trials = element("div");
  page.compare = element("div");
  page.statistics = element("div");
  page.reproduce = element("div");
  const trials = section("trials", "Trials", element("div", { class: "tools" }, element("button", { type: "button", "aria-label": "Trials as CSV", click: () => saveFile("trials.csv", "text/csv", trialsCsv()) }, "CSV")));
  const side = section("compare", "Side by side"), sure = section("statistics", "How sure that is"), again = section("reproduce", "How to reproduce it");
  trials.append(page.trials);
  side.append(page.compare);
  sure.append(page.statistics);
  again.append(page.reproduce);
  page.dialog = element("dialog", { "aria-labelledby": "detail-title", close: () => { if (page.state.trial) setState({ trial: "" }); }, click: (event) => { if (event.target === page.dialog) page.dialog.close(); } });
  root.replaceChildren(head, element("main", {}, top, methods, nav, element("div", { class: "grid" }, page.cards.slice(2).map((c) => c.node)), sure, trials, side, again), element("footer", { class: "soft" }, `Nightsweep ${page.data.program_version}. Times are UTC. This page is one file and asks nobody else.`), page.dialog);
  watch();
}
/* Charts are painted when they come into sight, and again when their width changes. */
function watch() {
  const byNode = new Map(page.cards.map((c) => [c.node, c]));
  const seen = new IntersectionObserver((entries) => { for (const e of entries) { const c = byNode.get(e.target); c.isVisible = e.isIntersecting; if (c.isVisible) c.paintSoon(); } }, { rootMargin: "100px" });
  const sized = new ResizeObserver((entries) => { for (const e of entries) { const c = byNode.get(e.target), w = Math.round(e.contentRect.width); if (c.width !== w) { c.width = w; c.isDirty = true; c.paintSoon(); } } });
  for (const c of page.cards) { seen.observe(c.node); sized.observe(c.node); }
}

// Changing ------------------------------------------------------------------------------------------------------------
function applyFilter() {
  page.error = null;
  try {
    const test = parseFilter(page.state.filter, page.sweep.fields);
    for (const t of page.sweep.trials) t.isOn = test(t);
  } catch (error) {
    page.error = error.message;
    for (const t of page.sweep.trials) t.isOn = true;
  }
  page.sweep.memory.clear();
  const on = page.sweep.trials.filter((t) => t.isOn).length;
  page.note.textContent = page.error || (page.state.filter ? `${count(on)} of ${count(page.sweep.trials.length)} trials` : `${count(on)} trials`);
  page.note.classList.toggle("bad", Boolean(page.error));
  page.input.setAttribute("aria-invalid", String(Boolean(page.error)));
}
function chooseSweep() {
  const raw = page.data.sweeps.find((s) => s.name === page.state.sweep) || page.data.sweeps[0];
  if (page.sweep && page.sweep.raw === raw) return;
  page.sweep = new Sweep(raw);
  page.sweep.raw = raw;
  document.title = `${page.sweep.name} – Nightsweep`;
}
function update() {
  document.documentElement.dataset.theme = themeName();
  chooseSweep();
  if (document.activeElement !== page.input) page.input.value = page.state.filter;
  applyFilter();
  page.chosen = new Set([Number(page.state.trial), ...compared()]);
  page.lines = page.sweep.methodLines();
  page.importances = lazily(importances);
  page.choice.value = page.sweep.name;
  page.themeButton.textContent = themeName() === "dark" ? "Light" : "Dark";
  page.title.textContent = page.sweep.name;
  const s = page.sweep, total = s.trials.reduce((sum, t) => sum + (t.seconds || 0), 0);
  page.chips.replaceChildren(...stateChips());
  page.facts.textContent = `Sweep ${s.state.toLowerCase()}, started ${s.created_at.slice(0, 16)}${s.finished_at ? ", ended " + s.finished_at.slice(0, 16) : ""}; ${seconds(total)} of compute; as of ${page.data.exported_at} UTC.`;
  page.finding.replaceChildren(...finding());
  keepFocus(() => {
    page.methodTable.replaceChildren(methodTable());
    page.trials.replaceChildren(...trialsSection().filter(Boolean));
    page.compare.replaceChildren(...compareSection());
  });
  if (page.reproduced !== s.raw) {
    page.reproduced = s.raw;
    page.statistics.replaceChildren(...statisticsSection());
    document.getElementById("statistics").hidden = !s.comparison;
    page.reproduce.replaceChildren(...reproduceSection().filter(Boolean));
  }
  for (const card of page.cards) card.update();
  // Views that this sweep has nothing for are left out: their neighbours take the whole width, and no button leads there.
  for (const [id, beside] of [["matrix", "safety"], ["curves", "checks"], ["budget", "rungs"]]) document.getElementById(id).classList.toggle("wide", document.getElementById(beside).hidden);
  for (const button of document.querySelectorAll(".jumps button")) button.hidden = document.getElementById(button.dataset.to).hidden;
  updateDetail();
}
/* Tables are built anew; what had the focus gets it back under the same name. */
function keepFocus(change) {
  const had = document.activeElement, name = had && (had.getAttribute("aria-label") || (had.dataset && had.dataset.sort)), place = had ? had.closest("section") : null;
  change();
  if (!had || had.isConnected || !name || !place) return;
  for (const node of place.querySelectorAll("button, input")) if ((node.getAttribute("aria-label") || node.dataset.sort) === name) { node.focus(); break; }
}

// Live ----------------------------------------------------------------------------------------------------------------
/* Under `nightsweep serve` the server says when the store has changed; the data is then fetched again. */
function live() {
  if (document.documentElement.dataset.kind !== "live") return;
  const query = location.search, source = new EventSource("events" + query);
  let busy = false, again = false;
  const load = async () => {
    if (busy) { again = true; return; }
    busy = true;
    const begin = performance.now();
    try {
      const answer = await fetch("data" + query);
      if (answer.ok) { page.data = await answer.json(); schedule(); }
    } catch { page.liveMark.textContent = "server gone"; }
    // A large page must not load all the time: at least as long as it took is left between two.
    await new Promise((done) => setTimeout(done, performance.now() - begin));
    busy = false;
    if (again) { again = false; load(); }
  };
  source.addEventListener("open", () => { page.liveMark.textContent = "live"; });
  source.addEventListener("error", () => { page.liveMark.textContent = "server gone, trying again"; });
  source.addEventListener("changed", load);
}

function start() {
  const text = document.getElementById("data");
  page.data = JSON.parse(text.textContent);
  if (text.textContent.length > 4e6) text.textContent = ""; // what is parsed need not stay a second time
  page.state = readState();
  document.documentElement.dataset.theme = themeName();
  chooseSweep();
  build();
  update();
  addEventListener("hashchange", () => { page.state = readState(); schedule(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", schedule);
  addEventListener("beforeprint", () => { page.printing = true; update(); });
  addEventListener("afterprint", () => { page.printing = false; update(); });
  addEventListener("keydown", (event) => { if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) { page.input.focus(); event.preventDefault(); } });
  live();
}
start();
