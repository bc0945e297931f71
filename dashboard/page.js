/* The page of a sweep: one finding in words, then tables and charts. Reads the JSON that the export put beside it and
 * asks nobody else. All text from the store goes in through textContent, never as HTML. */
(function () {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const main = document.getElementById("main");
  // Okabe & Ito's palette, told apart with every kind of colour vision; past its end, shape and label tell.
  const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#8c564b", "#7f7f7f"];

  function element(name, attributes, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
    for (const child of children.flat()) {
      if (child !== null && child !== undefined) node.append(child);
    }
    return node;
  }
  function drawn(name, attributes, ...children) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    for (const child of children) node.append(child);
    return node;
  }

  // Numbers --------------------------------------------------------------------------------------------------------
  const isNumber = (x) => typeof x === "number" && Number.isFinite(x);
  function short(x) {
    if (!isNumber(x)) return "–";
    if (x === 0) return "0";
    const size = Math.abs(x);
    if (size >= 1e4 || size < 1e-3) return x.toExponential(1).replace("e+", "e");
    return String(Number(x.toPrecision(4)));
  }
  const count = (x) => (isNumber(x) ? Math.round(x).toLocaleString("en-US") : "–");
  const share = (x) => (isNumber(x) ? (100 * x).toFixed(2) + " %" : "–");
  const seconds = (x) => !isNumber(x) ? "–" : x < 60 ? x.toFixed(1) + " s" : x < 3600 ? (x / 60).toFixed(1) + " min" : (x / 3600).toFixed(1) + " h";
  const bytes = (x) => !isNumber(x) ? "–" : x < 1 << 20 ? (x / 1024).toFixed(0) + " KiB" : (x / (1 << 20)).toFixed(1) + " MiB";
  const interval = (i) => !i || !isNumber(i.mean) ? "–"
    : i.mean.toFixed(4) + (isNumber(i.low) ? ` [${i.low.toFixed(4)}, ${i.high.toFixed(4)}]` : "");

  // Tables ---------------------------------------------------------------------------------------------------------
  /* columns: [{title, number: bool, text: row → string or node, key: row → sortable}] */
  function table(columns, rows, caption, isBest) {
    const body = element("tbody");
    const heads = columns.map((column, index) => {
      const button = element("button", { type: "button" }, column.title);
      const head = element("th", { scope: "col", ...(column.number ? { class: "number" } : {}) }, button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        fill([...rows].sort((a, b) => (up ? 1 : -1) * compare(columns[index].key(a), columns[index].key(b))));
      });
      return head;
    });
    function fill(list) {
      body.replaceChildren(...list.map((row) => element("tr", isBest && isBest(row) ? { class: "best" } : {},
        columns.map((column) => element("td", column.number ? { class: "number" } : {}, column.text(row))))));
    }
    fill(rows);
    return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
      element("table", {}, element("thead", {}, element("tr", {}, heads)), body));
  }
  function compare(a, b) {
    const missing = (x) => x === null || x === undefined || Number.isNaN(x);
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  }

  // Charts ---------------------------------------------------------------------------------------------------------
  const frame = { width: 540, height: 300, left: 64, right: 16, top: 12, bottom: 44 };
  function scale(low, high, from, to, isLog) {
    const f = isLog ? Math.log10 : (x) => x;
    const a = f(low), span = f(high) - a || 1;
    return (x) => from + ((f(x) - a) / span) * (to - from);
  }
  function ticks(low, high, isLog) {
    if (isLog) {
      const list = [];
      for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) list.push(10 ** e);
      const inside = list.filter((x) => x >= low * 0.999 && x <= high * 1.001);
      return inside.length >= 2 ? inside : [low, high];
    }
    const raw = (high - low) / 5 || 1, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
    const list = [];
    for (let x = Math.ceil(low / step) * step; x <= high + step * 1e-9; x += step) list.push(Number(x.toPrecision(12)));
    return list;
  }
  function extent(values, isLog) {
    const known = values.filter((x) => isNumber(x) && (!isLog || x > 0));
    if (known.length === 0) return null;
    let low = Math.min(...known), high = Math.max(...known);
    if (isLog) return [low / 1.3, high * 1.3];
    const pad = (high - low) * 0.06 || Math.abs(high) * 0.05 || 1;
    return [low - pad, high + pad];
  }
  /* An empty chart with axes; x and y are {title, range, log}. Returns {svg, x, y} with the two scales. */
  function axes(title, x, y, height) {
    const size = { ...frame, height: height || frame.height };
    const svg = drawn("svg", { viewBox: `0 0 ${size.width} ${size.height}`, role: "img", "aria-label": title });
    const bottom = size.height - size.bottom;
    const sx = scale(...x.range, size.left, size.width - size.right, x.log);
    const sy = y.range ? scale(...y.range, bottom, size.top, y.log) : null;
    svg.append(drawn("path", { class: "axis", d: `M${size.left} ${size.top}V${bottom}H${size.width - size.right}` }));
    for (const t of ticks(...x.range, x.log)) {
      svg.append(drawn("path", { class: "axis", d: `M${sx(t)} ${bottom}v4` }),
        drawn("text", { x: sx(t), y: bottom + 17, "text-anchor": "middle" }, short(t)));
    }
    for (const t of y.range ? ticks(...y.range, y.log) : []) {
      svg.append(drawn("path", { class: "axis", d: `M${size.left} ${sy(t)}H${size.width - size.right}`, opacity: 0.5 }),
        drawn("text", { x: size.left - 8, y: sy(t) + 4, "text-anchor": "end" }, short(t)));
    }
    svg.append(drawn("text", { x: (size.left + size.width - size.right) / 2, y: size.height - 6, "text-anchor": "middle" }, x.title));
    if (y.title) {
      const middle = (size.top + bottom) / 2;
      svg.append(drawn("text", { x: 12, y: middle, transform: `rotate(-90 12 ${middle})`, "text-anchor": "middle" }, y.title));
    }
    return { svg, x: sx, y: sy };
  }
  const tip = (text) => drawn("title", {}, text);
  function figure(svg, caption) {
    return element("figure", {}, svg, element("figcaption", {}, caption));
  }
  function legend(methods) {
    return element("p", { class: "note" }, methods.map((m) => element("span", { style: "margin-right:14px;white-space:nowrap" },
      element("span", { class: "swatch", style: `background:${colour(m)}` }), m)));
  }

  // A sweep --------------------------------------------------------------------------------------------------------
  const order = [];
  function colour(method) {
    if (!order.includes(method)) order.push(method);
    return colours[order.indexOf(method) % colours.length];
  }
  const methodOf = (settings) => Array.isArray(settings.method) ? settings.method.join("+") : settings.method;
  const parameters = (object) => Object.entries(object).filter(([key]) => key !== "method")
    .map(([key, value]) => `${key} ${typeof value === "number" ? short(value) : JSON.stringify(value).replaceAll('"', "")}`).join(", ") || "–";

  function finding(sweep) {
    const s = sweep.summary, best = s.methods[0];
    if (!best) return "No trial of this sweep has finished yet.";
    const rest = s.methods.slice(1);
    const overlaps = (a, b) => isNumber(a.low) && isNumber(b.low) && a.low <= b.high && b.low <= a.high;
    const close = rest.filter((m) => overlaps(m.score, best.score)).map((m) => m.method);
    const cheaper = rest.filter((m) => close.includes(m.method) && m.trained_parameters < best.trained_parameters)
      .sort((a, b) => a.trained_parameters - b.trained_parameters)[0];
    const seeds = best.score.n === 1 ? "one seed, so no interval" : `95 % interval over ${best.score.n} seeds`;
    let words = `Best on ${s.metric}: ${best.method} with ${interval(best.score)} (${seeds}), training ${count(best.trained_parameters)} parameters.`;
    if (close.length > 0) words += ` Its interval overlaps with that of ${close.join(", ")}: with these seeds they are not distinguishable.`;
    else if (rest.length > 0 && best.score.n > 1) words += " No other method's interval reaches it.";
    if (cheaper) words += ` Of those, ${cheaper.method} trains fewest: ${count(cheaper.trained_parameters)}.`;
    return words;
  }

  function methodTable(sweep) {
    const s = sweep.summary;
    const change = (m) => isNumber(m.flip_rate_before) && isNumber(m.flip_rate_after) ? m.flip_rate_after - m.flip_rate_before : null;
    const columns = [
      { title: "Method", text: (m) => [element("span", { class: "swatch", style: `background:${colour(m.method)}` }), m.method], key: (m) => m.method },
      { title: "Best configuration", text: (m) => `${parameters(m.parameters)} (no. ${m.configuration}, of ${m.configurations})`, key: (m) => m.configuration },
      { title: s.metric, number: true, text: (m) => interval(m.score), key: (m) => m.score.mean },
      { title: "test, of that configuration", number: true, text: (m) => interval(m.test), key: (m) => m.test.mean },
      { title: "Trained", number: true, text: (m) => count(m.trained_parameters), key: (m) => m.trained_parameters },
      { title: "Stored", number: true, text: (m) => bytes(m.stored_bytes), key: (m) => m.stored_bytes },
      { title: "Flip rate before → after", number: true,
        text: (m) => isNumber(m.flip_rate_after) ? `${share(m.flip_rate_before)} → ${share(m.flip_rate_after)}` : "–", key: change },
      { title: "Peak memory", number: true, text: (m) => bytes(m.peak_bytes), key: (m) => m.peak_bytes },
      { title: "Time a trial", number: true, text: (m) => seconds(m.seconds), key: (m) => m.seconds },
    ];
    return table(columns, s.methods, "Methods", (m) => m === s.methods[0]);
  }

  function methodChart(sweep) {
    const methods = sweep.summary.methods;
    const values = methods.flatMap((m) => [m.score.mean, m.score.low, m.score.high]);
    const range = extent(values);
    if (!range) return null;
    const height = 70 + 30 * methods.length;
    const chart = axes("Score of each method's best configuration with its interval over seeds",
      { title: sweep.summary.metric, range }, {}, height);
    methods.forEach((m, i) => {
      const y = 30 + 30 * i, c = colour(m.method);
      if (isNumber(m.score.low)) chart.svg.append(drawn("path", { d: `M${chart.x(m.score.low)} ${y}H${chart.x(m.score.high)}`, stroke: c, "stroke-width": 3, opacity: 0.6 }));
      chart.svg.append(drawn("circle", { cx: chart.x(m.score.mean), cy: y, r: 5, fill: c }, tip(`${m.method}: ${interval(m.score)}`)),
        drawn("text", { class: "label", x: frame.left + 6, y: y - 8 }, m.method));
    });
    return figure(chart.svg, "Each method's best configuration: mean and 95 % Student interval over seeds.");
  }

  function curveChart(sweep) {
    const names = [...new Set(sweep.curves.map((c) => c.metric))];
    if (names.length === 0) return null;
    const trialOf = new Map(sweep.trials.map((t) => [t.number, t]));
    const first = names.includes(sweep.summary.metric) ? sweep.summary.metric : names[0];
    const select = element("select", { "aria-label": "curve" }, names.map((n) => element("option", n === first ? { selected: "" } : {}, n)));
    const holder = element("div");
    function draw() {
      const curves = sweep.curves.filter((c) => c.metric === select.value);
      const xs = extent(curves.flatMap((c) => c.steps)), ys = extent(curves.flatMap((c) => c.values));
      if (!xs || !ys) { holder.replaceChildren(element("p", {}, "No values yet.")); return; }
      const chart = axes(`${select.value} over steps`, { title: "optimiser step", range: xs }, { title: select.value, range: ys });
      for (const curve of curves) {
        const trial = trialOf.get(curve.trial), c = colour(trial.method);
        const points = curve.steps.map((s, i) => [s, curve.values[i]]).filter((p) => isNumber(p[1])).map(([s, v]) => `${chart.x(s).toFixed(1)} ${chart.y(v).toFixed(1)}`);
        const label = tip(`trial ${curve.trial}: ${trial.method}, ${parameters(trial.parameters)}`);
        chart.svg.append(points.length > 1
          ? drawn("path", { d: "M" + points.join("L"), fill: "none", stroke: c, "stroke-width": 1.6, opacity: 0.75 }, label)
          : drawn("circle", { cx: points.length ? points[0].split(" ")[0] : -9, cy: points.length ? points[0].split(" ")[1] : -9, r: 3.5, fill: c, opacity: 0.75 }, label));
      }
      holder.replaceChildren(figure(chart.svg, "One line a trial; hover for its configuration."));
    }
    select.addEventListener("change", draw);
    draw();
    return element("div", {}, element("h2", {}, "Curves ", select), legend([...new Set(sweep.trials.map((t) => t.method))]), holder);
  }

  /* Score against a number: trained parameters, or any searched number such as rank or adapter_size. */
  function sizeChart(sweep) {
    const done = sweep.trials.filter((t) => isNumber(t.value) && t.role === "search");
    const keys = new Set(["trained parameters"]);
    for (const t of done) for (const [k, v] of Object.entries(t.parameters)) if (isNumber(v)) keys.add(k);
    if (done.length === 0) return null;
    const read = (t, key) => key === "trained parameters" ? t.trained_parameters : t.parameters[key];
    const first = ["rank", "adapter_size"].find((k) => keys.has(k)) || "trained parameters";
    const select = element("select", { "aria-label": "against" }, [...keys].map((k) => element("option", k === first ? { selected: "" } : {}, k)));
    const holder = element("div");
    function draw() {
      const key = select.value, points = done.filter((t) => isNumber(read(t, key)));
      const isLog = points.every((t) => read(t, key) > 0);
      const xs = extent(points.map((t) => read(t, key)), isLog), ys = extent(points.map((t) => t.value));
      const chart = axes(`${sweep.summary.metric} against ${key}`, { title: key + (isLog ? " (log)" : ""), range: xs, log: isLog }, { title: sweep.summary.metric, range: ys });
      const groups = new Map();
      for (const t of points) {
        const name = `${t.method} ${read(t, key)}`;
        if (!groups.has(name)) groups.set(name, { method: t.method, x: read(t, key), values: [] });
        groups.get(name).values.push(t.value);
        chart.svg.append(drawn("circle", { cx: chart.x(read(t, key)), cy: chart.y(t.value), r: 3.5, fill: colour(t.method), opacity: 0.55 },
          tip(`trial ${t.number}: ${t.method}, ${parameters(t.parameters)}: ${short(t.value)}`)));
      }
      for (const method of new Set(points.map((t) => t.method))) {
        const line = [...groups.values()].filter((g) => g.method === method).sort((a, b) => a.x - b.x)
          .map((g) => `${chart.x(g.x).toFixed(1)} ${chart.y(g.values.reduce((a, b) => a + b) / g.values.length).toFixed(1)}`);
        if (line.length > 1) chart.svg.append(drawn("path", { d: "M" + line.join("L"), fill: "none", stroke: colour(method), "stroke-width": 1.6 }));
      }
      const missing = done.length - points.length;
      holder.replaceChildren(figure(chart.svg, "A dot a trial, lines through the means." + (missing ? ` ${missing} trials have no ${key} and are not shown here.` : "")));
    }
    select.addEventListener("change", draw);
    draw();
    return element("div", {}, element("h2", {}, "Score against ", select), legend([...new Set(done.map((t) => t.method))]), holder);
  }

  function biasSection(sweep) {
    if (sweep.bias.length === 0) return null;
    const trialOf = new Map(sweep.trials.map((t) => [t.number, t]));
    const rows = sweep.bias.filter((b) => trialOf.get(b.trial).role === "search").map((b) => ({ ...b, method: trialOf.get(b.trial).method }));
    if (rows.length === 0) return null;
    const flips = rows.filter((b) => b.metric === "flip_rate" && isNumber(b.before));
    const parts = [element("h2", {}, "Bias before → after"),
      element("p", { class: "note" }, "Counterfactual swap: how often, and by how much, the answer changes when only a name, pronoun or kinship word does. Before: the linear probe of the same seed. The interval is a paired bootstrap over the same items.")];
    if (flips.length > 0) {
      const chart = axes("Flip rate before and after fine-tuning", { title: "flip rate", range: extent(flips.flatMap((b) => [b.before, b.after])) }, {}, 60 + 18 * flips.length);
      flips.sort((a, b) => a.method.localeCompare(b.method) || a.trial - b.trial).forEach((b, i) => {
        const y = 20 + 18 * i, c = colour(b.method);
        chart.svg.append(drawn("path", { d: `M${chart.x(b.before)} ${y}H${chart.x(b.after)}`, stroke: c, "stroke-width": 2 }),
          drawn("circle", { cx: chart.x(b.before), cy: y, r: 4, fill: "none", stroke: c, "stroke-width": 1.6 }, tip(`trial ${b.trial} before: ${share(b.before)}`)),
          drawn("circle", { cx: chart.x(b.after), cy: y, r: 4.5, fill: c }, tip(`trial ${b.trial} after: ${share(b.after)}`)));
      });
      parts.push(legend([...new Set(flips.map((b) => b.method))]), figure(chart.svg, "Open: before. Filled: after. One line a trial."));
    }
    const signed = (x) => isNumber(x) ? (x > 0 ? "+" : "") + x.toFixed(4) : "–";
    const columns = [
      { title: "Trial", number: true, text: (b) => String(b.trial), key: (b) => b.trial },
      { title: "Method", text: (b) => b.method, key: (b) => b.method },
      { title: "Check", text: (b) => b.check, key: (b) => b.check },
      { title: "Metric", text: (b) => b.metric.replaceAll("_", " "), key: (b) => b.metric },
      { title: "Before", number: true, text: (b) => isNumber(b.before) ? b.before.toFixed(4) : "–", key: (b) => b.before },
      { title: "After", number: true, text: (b) => b.after.toFixed(4), key: (b) => b.after },
      { title: "Change", number: true, text: (b) => isNumber(b.delta) ? `${signed(b.delta)} [${signed(b.low)}, ${signed(b.high)}]` : "–", key: (b) => b.delta },
      { title: "Items", number: true, text: (b) => count(b.n_items), key: (b) => b.n_items },
    ];
    parts.push(element("details", {}, element("summary", {}, "All values"), table(columns, rows, "Bias checks")));
    return element("section", {}, parts);
  }

  function failureSection(sweep) {
    const failed = sweep.trials.filter((t) => t.state === "FAILED");
    if (failed.length === 0) return null;
    const columns = [
      { title: "Trial", number: true, text: (t) => String(t.number), key: (t) => t.number },
      { title: "Method", text: (t) => t.method, key: (t) => t.method },
      { title: "Reason", text: (t) => element("span", { class: "bad" }, t.reason), key: (t) => t.reason },
      { title: "What happened", text: (t) => t.message || "–", key: (t) => t.message },
      { title: "Configuration", text: (t) => parameters(t.parameters), key: (t) => t.configuration },
      { title: "Attempts", number: true, text: (t) => String(t.attempts), key: (t) => t.attempts },
      { title: "Last lines", text: (t) => t.log_tail ? element("details", {}, element("summary", {}, "show"), element("pre", {}, t.log_tail)) : "–", key: (t) => t.number },
    ];
    return element("section", {}, element("h2", {}, "Failures"), table(columns, failed, "Failures"));
  }

  function trialSection(sweep) {
    const columns = [
      { title: "Trial", number: true, text: (t) => String(t.number), key: (t) => t.number },
      { title: "State", text: (t) => t.state + (t.reason ? ` (${t.reason})` : ""), key: (t) => t.state },
      { title: "Method", text: (t) => t.method + (t.role === "baseline" ? " (baseline)" : ""), key: (t) => t.method },
      { title: "Configuration", text: (t) => `no. ${t.configuration}: ${parameters(t.parameters)}`, key: (t) => t.configuration },
      { title: "Seed", number: true, text: (t) => String(t.seed), key: (t) => t.seed },
      { title: sweep.summary.metric, number: true, text: (t) => short(t.value), key: (t) => t.value },
      { title: "test", number: true, text: (t) => short(t.test), key: (t) => t.test },
      { title: "Steps", number: true, text: (t) => `${count(t.steps)} / ${count(t.total_steps)}`, key: (t) => t.steps },
      { title: "Trained", number: true, text: (t) => count(t.trained_parameters), key: (t) => t.trained_parameters },
      { title: "FLOPs", number: true, text: (t) => short(t.flops), key: (t) => t.flops },
      { title: "tokens/s", number: true, text: (t) => count(t.tokens_per_second), key: (t) => t.tokens_per_second },
      { title: "Time", number: true, text: (t) => seconds(t.seconds), key: (t) => t.seconds },
      { title: "Attempts", number: true, text: (t) => String(t.attempts), key: (t) => t.attempts },
    ];
    return element("section", {}, element("h2", {}, `Trials (${sweep.trials.length})`), table(columns, sweep.trials, "Trials"));
  }

  function reproduceSection(sweep) {
    const rows = sweep.environments.flatMap((e) => Object.entries(e));
    return element("section", {}, element("h2", {}, "How to reproduce it"),
      element("p", {}, "Save the definition below as a file and run: ", element("code", {}, "nightsweep run FILE.json"), ". Equal hashes and an equal environment give equal bits."),
      element("details", {}, element("summary", {}, "Definition"), element("pre", {}, sweep.definition)),
      element("details", {}, element("summary", {}, "Hashes and environment"), element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Environment" },
        element("table", {}, element("tbody", {}, [["definition_sha256", sweep.definition_sha256], ...rows].map(([k, v]) =>
          element("tr", {}, element("th", { scope: "row" }, k), element("td", {}, element("code", {}, String(v))))))))));
  }

  function sweepSections(sweep) {
    for (const m of sweep.summary.methods) colour(m.method);
    const states = Object.entries(sweep.summary.trials).filter(([, n]) => n > 0)
      .map(([state, n]) => element("li", state === "FAILED" ? { class: "bad" } : {}, element("b", {}, count(n)), " " + state.toLowerCase()));
    return [
      element("h1", {}, sweep.name),
      element("ul", { class: "states" }, states, element("li", {}, "compute ", element("b", {}, seconds(sweep.summary.seconds))), element("li", {}, "exported ", data.exported_at, " UTC")),
      element("p", { class: "finding" }, finding(sweep)),
      methodTable(sweep),
      element("p", { class: "note" }, "The best configuration is chosen on validation; the test score is that configuration's, never the best of the test scores. Intervals: 95 %, Student, over seeds."),
      element("div", { class: "grid" }, element("div", {}, element("h2", {}, "Methods"), methodChart(sweep)), sizeChart(sweep), curveChart(sweep)),
      biasSection(sweep), failureSection(sweep), trialSection(sweep), reproduceSection(sweep),
    ].filter((part) => part !== null);
  }

  document.title = data.sweeps.map((s) => s.name).join(", ") + " – Nightsweep";
  for (const sweep of data.sweeps) main.append(...sweepSections(sweep));
  main.append(element("p", { class: "note" }, `Nightsweep ${data.program_version}`));
})();
