/* The page's data: columns decoded when they are first asked for, and trials as objects. */
function decodeBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text), out = new Uint8Array(binary.length);
  for (let i = 0; i < out.length; i++) out[i] = binary.charCodeAt(i);
  return out;
}
const blockTypes = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, f32: Float32Array, f64: Float64Array };
/* A block's numbers; its text is let go once it is read. */
function decodeBlock(spec) {
  for (const [name, Type] of Object.entries(blockTypes)) {
    if (typeof spec[name] === "string") spec[name] = new Type(decodeBase64(spec[name]).buffer);
    if (spec[name]) return spec[name];
  }
  return null;
}
/* A function from row to value: number, text or null. */
function decodeColumn(spec) {
  if ("all" in spec) return () => spec.all;
  const numbers = decodeBlock(spec);
  const codes = spec.codes ? decodeBlock(spec.codes) : null;
  // A reader for each of the frequent types: one that meets them all is several times slower. NaN is no value.
  if (!codes && numbers instanceof Float32Array) return (i) => { const v = numbers[i]; return v === v ? v : null; };
  if (!codes && numbers instanceof Float64Array) return (i) => { const v = numbers[i]; return v === v ? v : null; };
  if (!codes && numbers instanceof Uint16Array) return (i) => numbers[i];
  const number = (i) => (numbers && !Number.isNaN(numbers[i]) ? numbers[i] : null);
  return codes ? (i) => (codes[i] ? spec.texts[codes[i] - 1] : number(i)) : number;
}
/* Rows of a table as objects that look into its columns: tens of thousands of them take little memory. */
function rowsOf(table) {
  class Row {
    constructor(place) { this.place = place; }
  }
  for (const [name, spec] of Object.entries(table.columns)) {
    // The first look decodes the column and puts the plain reader in its own place.
    const define = (get) => Object.defineProperty(Row.prototype, name, { configurable: true, get, set(value) { Object.defineProperty(this, name, { value, writable: true }); } });
    define(function () { const read = decodeColumn(spec); define(function () { return read(this.place); }); return read(this.place); });
  }
  Row.prototype.pairs = function () { return Object.keys(table.columns).map((name) => [name, this[name]]); };
  const rows = new Array(table.n);
  for (let i = 0; i < table.n; i++) rows[i] = new Row(i);
  return rows;
}
/* Of rows with a trial, those of one: by halving where they are in its order, else by looking at all. */
function finderOf(rows) {
  let isOrdered = true;
  for (let i = 1; i < rows.length && isOrdered; i++) isOrdered = rows[i - 1].trial <= rows[i].trial;
  return (trial) => {
    if (!isOrdered) return rows.filter((row) => row.trial === trial);
    let low = 0, high = rows.length;
    while (low < high) { const middle = (low + high) >> 1; if (rows[middle].trial < trial) low = middle + 1; else high = middle; }
    const found = [];
    for (; low < rows.length && rows[low].trial === trial; low++) found.push(rows[low]);
    return found;
  };
}

const lazily = (make) => {
  let value, made = false;
  return () => {
    if (!made) { value = make(); made = true; }
    return value;
  };
};

class Curves {
  constructor(spec) {
    this.names = spec.names;
    this.trial = decodeBlock(spec.trial);
    this.metric = decodeBlock(spec.metric);
    this.counts = decodeBlock(spec.n);
    this.starts = new Uint32Array(this.counts.length + 1);
    for (let i = 0; i < this.counts.length; i++) this.starts[i + 1] = this.starts[i] + this.counts[i];
    this.steps = lazily(() => decodeBlock(spec.steps));
    this.values = lazily(() => decodeBlock(spec.values));
    this.used = new Set(this.metric);
  }
  /* Names of the metrics that have a curve of more than one point somewhere. */
  get long() {
    const many = new Set();
    for (let i = 0; i < this.counts.length; i++) if (this.counts[i] > 1) many.add(this.metric[i]);
    return this.names.filter((_, k) => many.has(k));
  }
  /* By trial number: 1 + the place of its curve of a metric, 0 without. */
  of(name) {
    this.cache = this.cache || new Map();
    if (!this.cache.has(name)) {
      let last = 0;
      for (const t of this.trial) if (t > last) last = t;
      const found = new Uint32Array(last + 1), k = this.names.indexOf(name);
      for (let i = 0; i < this.metric.length; i++) if (this.metric[i] === k) found[this.trial[i]] = i + 1;
      this.cache.set(name, found);
    }
    return this.cache.get(name);
  }
  /* [start, end) of the points of a trial's curve, or null. */
  place(trial, name) {
    const i = this.of(name)[trial];
    return i ? [this.starts[i - 1], this.starts[i]] : null;
  }
  last(trial, name) {
    const i = this.of(name)[trial], value = i ? this.values()[this.starts[i] - 1] : NaN;
    return Number.isNaN(value) ? null : value;
  }
  at(trial, name, step) {
    const place = this.place(trial, name);
    if (!place) return NaN;
    const steps = this.steps(), values = this.values();
    let best = NaN;
    for (let i = place[0]; i < place[1] && steps[i] <= step; i++) best = values[i];
    return best;
  }
}

class Sweep {
  constructor(raw) {
    Object.assign(this, { name: raw.name, state: raw.state, definition: raw.definition, sha256: raw.definition_sha256, seed: raw.seed,
      folder: raw.output_folder, created_at: raw.created_at, finished_at: raw.finished_at, summary: raw.summary, comparison: raw.comparison, isLarge: raw.is_large });
    this.memory = new Map();
    this.objectives = rowsOf(raw.objectives);
    this.metric = this.objectives[0].metric;
    this.isMaximized = this.objectives[0].goal === "maximize";
    this.trials = this.readTrials(raw.trials);
    this.byNumber = new Map();
    for (const t of this.trials) this.byNumber.set(t.trial, t);
    this.readParameters(raw.parameters);
    for (const row of rowsOf(raw.objective_values)) {
      const t = this.byNumber.get(row.trial);
      if (t) (t.others = t.others || [])[row.position] = row.value;
    }
    this.searched = this.trials.filter((t) => t.role === "search");
    this.curves = lazily(() => new Curves(raw.curves));
    for (const name of ["attempts", "evaluations", "checks", "decisions", "artifacts", "events", "environments", "inputs", "origins"]) {
      this[name] = lazily(() => rowsOf(raw[name]));
      const find = lazily(() => finderOf(this[name]()));
      this[name + "Of"] = (trial) => find()(trial);
    }
    this.settings = lazily(() => new Map(rowsOf(raw.configurations).map((row) => [row.configuration, row.settings])));
    this.checkKinds = lazily(() => this.readCheckKinds());
    this.readMethods();
    this.fields = this.makeFields();
  }
  readTrials(table) {
    const trials = rowsOf(table), column = table.columns.method, sweep = this;
    const method = lazily(() => decodeColumn({ ...column, ...(column.texts ? { texts: column.texts.map(valueText) } : {}), ..."all" in column ? { all: valueText(column.all) } : {} }));
    if (trials.length) Object.defineProperties(Object.getPrototypeOf(trials[0]), {
      method: { get() { const name = method()(this.place); return name === null ? missing : name; } },
      /* What was searched and applies: a new object each time. */
      parameters: { get() { return sweep.parametersAt(this.place); } },
    });
    for (const t of trials) t.isOn = true;
    return trials;
  }
  /* A column a parameter, by the trial's place; undefined where it does not apply. */
  readParameters(table) {
    const read = Object.fromEntries(Object.entries(table.columns).map(([k, spec]) => [k, decodeColumn(spec)]));
    const kinds = new Map();
    this.parameters = new Map();
    for (let i = 0; i < table.n; i++) {
      const t = this.byNumber.get(read.trial(i)), name = read.name(i), value = read.value(i);
      if (!t) continue;
      if (!this.parameters.has(name)) this.parameters.set(name, new Array(this.trials.length));
      this.parameters.get(name)[t.place] = value;
      if (t.role === "search") kinds.set(name, (kinds.get(name) || 0) | (typeof value === "number" ? 1 : 2));
    }
    this.parameterNames = [...kinds.keys()].sort();
    this.isNumeric = (name) => kinds.get(name) === 1;
  }
  parametersAt(place) {
    const values = Object.create(null);
    for (const [name, column] of this.parameters) if (column[place] !== undefined) values[name] = column[place];
    return values;
  }
  /* Kinds of checks in the order of their first rows: [key, row]. */
  readCheckKinds() {
    const kinds = [], seen = new Map();
    for (const row of this.checks()) {
      const check = row.check, metric = row.metric;
      if (!seen.has(check)) seen.set(check, new Set());
      if (seen.get(check).has(metric)) continue;
      seen.get(check).add(metric);
      kinds.push([`${check}|${metric}`, row]);
    }
    return kinds;
  }
  /* Methods in the order of their summary, then of appearance: the order of colours. */
  readMethods() {
    const seen = new Set(this.summary.methods.map((m) => valueText(m.method)));
    for (const t of this.searched) seen.add(t.method);
    for (const t of this.trials) seen.add(t.method);
    this.methods = [...seen].filter((m) => this.trials.some((t) => t.method === m));
    this.places = new Map(this.methods.map((m, i) => [m, i]));
  }
  /* What was computed of the shown trials, until the filter changes. */
  remembered(key, make) {
    if (!this.memory.has(key)) this.memory.set(key, make());
    return this.memory.get(key);
  }
  isBetter(a, b) { return this.isMaximized ? a > b : a < b; }
  shape(method) { return shapes[this.places.get(method) % shapes.length]; }

  /* Everything a trial can be filtered, sliced and drawn by: name → {title, get, isNumeric, format}. */
  makeFields() {
    const fields = new Map();
    const add = (name, title, get, format, isNumeric, has) => { if (!fields.has(name)) fields.set(name, { name, title, get, format: format || short, isNumeric: isNumeric !== false, has }); };
    add("value", this.metric, (t) => t.value, score);
    add(this.metric, this.metric, (t) => t.value, score);
    if (this.trials.some((t) => isNumber(t.test))) add("test", "test score", (t) => t.test, score);
    this.objectives.slice(1).forEach((o, i) => add(o.metric, o.metric, (t) => (t.others ? t.others[i + 1] : null), score));
    add("trained_parameters", "trained parameters", (t) => t.trained_parameters, count);
    add("stored_bytes", "stored bytes", (t) => t.stored_bytes, bytes);
    add("seconds", "seconds", (t) => t.seconds, seconds);
    add("flops", "FLOPs", (t) => t.flops, compact);
    add("peak_bytes", "peak memory", (t) => t.peak_bytes, bytes);
    add("tokens_per_second", "tokens per second", (t) => t.tokens_per_second, count);
    add("steps", "steps", (t) => t.steps, count);
    add("attempts", "attempts", (t) => t.attempts, count);
    add("trial", "trial", (t) => t.trial, count);
    add("configuration", "configuration", (t) => t.configuration, count);
    for (const name of ["method", "state", "reason", "role", "seed", "message"]) add(name, name, (t) => t[name], valueText, false);
    for (const name of this.parameterNames) {
      const column = this.parameters.get(name), get = (t) => (column[t.place] === undefined ? null : column[t.place]);
      add(name, words(name), get, valueText, this.isNumeric(name));
      add("parameter." + name, words(name), get, valueText, this.isNumeric(name));
    }
    this.addMeasured(add);
    return fields;
  }
  /* Checks (before and after training, and the change), and the last value of every metric. */
  addMeasured(add) {
    const names = new Set(this.checkKinds().map(([, row]) => row.metric));
    for (const name of names) for (const kind of ["after", "before", "delta"]) {
      add(`${name}.${kind}`, `${words(name)} ${kind === "delta" ? "change" : kind}`, (t) => { const row = this.checksOf(t.trial).find((r) => r.metric === name); return row ? row[kind] : null; }, score, true, true);
    }
    const curves = this.curves();
    for (const k of curves.used) add(curves.names[k], curves.names[k], (t) => curves.last(t.trial, curves.names[k]), score, true, true);
  }

  /* Configurations with finished trials among the shown ones, and each method's best: chosen by the mean over seeds among
   * those with the most finished seeds, so that one lucky seed does not win. */
  configurations() { return this.remembered("configurations", () => this.readConfigurations()); }
  readConfigurations() {
    const groups = groupBy(this.searched.filter((t) => t.isOn && t.state === "COMPLETE" && isNumber(t.value)), (t) => t.configuration);
    return [...groups.values()].map((trials) => ({ number: trials[0].configuration, method: trials[0].method, get parameters() { return trials[0].parameters; }, trials,
      values: trials.map((t) => t.value), score: student(trials.map((t) => t.value)), trained: trials[0].trained_parameters }));
  }
  methodLines() {
    const lines = [];
    for (const [method, list] of groupBy(this.configurations(), (c) => c.method)) {
      const most = Math.max(...list.map((c) => c.trials.length));
      const best = list.filter((c) => c.trials.length === most).reduce((a, b) => (this.isBetter(b.score.mean, a.score.mean) ? b : a));
      const average = (f) => { const known = best.trials.map(f).filter(isNumber); return known.length ? mean(known) : null; };
      lines.push({ method, best, n: list.length, score: best.score, values: best.values, parameters: best.parameters,
        test: student(best.trials.map((t) => t.test).filter(isNumber)), trained: best.trained, stored: average((t) => t.stored_bytes),
        seconds: average((t) => t.seconds), flops: average((t) => t.flops), peak: (extremes(best.trials.map((t) => t.peak_bytes)) || [0, null])[1] });
    }
    lines.sort((a, b) => (this.isBetter(a.score.mean, b.score.mean) ? -1 : this.isBetter(b.score.mean, a.score.mean) ? 1 : 0));
    for (const line of lines) line.behind = line === lines[0] ? null : welch(line.values, lines[0].values);
    return lines;
  }
}
/* "rank 8, learning rate 0.001": what was searched, without the method. */
function configurationText(parameters, limit) {
  const text = Object.keys(parameters).sort().filter((k) => k !== "method").map((k) => `${words(k)} ${clip(valueText(parameters[k]), 60)}`).join(", ");
  return clip(text || "no searched values", limit || 200);
}
