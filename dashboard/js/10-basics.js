/* Elements, numbers as text, colours, and the little statistics the page needs. All text from the store goes in through
 * textContent and attributes, never as HTML. */
function element(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat(3)) if (child !== null && child !== undefined) node.append(child);
  return node;
}

// Numbers as text -----------------------------------------------------------------------------------------------------
const isNumber = (x) => typeof x === "number" && Number.isFinite(x);
const missing = "–";
function short(x) {
  if (!isNumber(x)) return typeof x === "string" ? x : missing;
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 1e6 || size < 1e-3) return x.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
  if (Number.isInteger(x)) return grouped.format(x);
  return String(Number(x.toPrecision(4)));
}
const grouped = new Intl.NumberFormat("en-US");
const count = (x) => (isNumber(x) ? grouped.format(Math.round(x)) : missing);
function compact(x) {
  if (!isNumber(x)) return missing;
  for (const [unit, name] of [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]]) {
    if (Math.abs(x) >= unit) return String(Number((x / unit).toPrecision(3))) + name;
  }
  return String(Number(x.toPrecision(3)));
}
const percent = (x, digits) => (isNumber(x) ? (100 * x).toFixed(digits === undefined ? 1 : digits) + " %" : missing);
const score = (x) => (!isNumber(x) ? missing : Math.abs(x) < 100 ? x.toFixed(4) : short(x));
const signed = (x, f) => (isNumber(x) ? (x > 0 ? "+" : x < 0 ? "−" : "±") + (f || score)(Math.abs(x)) : missing);
function seconds(x) {
  if (!isNumber(x)) return missing;
  if (x < 60) return x.toFixed(1) + " s";
  if (x < 3600) return (x / 60).toFixed(1) + " min";
  if (x < 172800) return (x / 3600).toFixed(1) + " h";
  return (x / 86400).toFixed(1) + " days";
}
function bytes(x) {
  if (!isNumber(x)) return missing;
  if (x < 1024) return x + " B";
  if (x < 1 << 20) return (x / 1024).toFixed(0) + " KiB";
  if (x < 2 ** 30) return (x / (1 << 20)).toFixed(1) + " MiB";
  return (x / 2 ** 30).toFixed(2) + " GiB";
}
const clock = (x) => (isNumber(x) ? new Date(1000 * x).toISOString().slice(0, 19).replace("T", " ") : missing);
const words = (name) => name.replaceAll("_", " ");
const range = (i, f) => (i && isNumber(i.low) ? `[${(f || score)(i.low)}, ${(f || score)(i.high)}]` : "");
const interval = (i, f) => (!i || !isNumber(i.mean) ? missing : (f || score)(i.mean) + (isNumber(i.low) ? " " + range(i, f) : ""));
function valueText(value) {
  if (value === null || value === undefined) return missing;
  if (typeof value === "number") return short(value);
  return value.startsWith("[") ? value.replace(/[[\]"\s]/g, "").replaceAll(",", "+") : value;
}
/* At most n characters, without the marks that turn the direction of what follows. */
function clip(text, n) {
  const plain = text.replace(/[\u202a-\u202e\u2066-\u2069]/g, "");
  return plain.length > n ? [...plain.slice(0, n)].join("") + "…" : plain;
}

// Statistics ----------------------------------------------------------------------------------------------------------
const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
function variance(list) {
  const m = mean(list);
  return list.reduce((a, b) => a + (b - m) ** 2, 0) / (list.length - 1);
}
/* 0.975 quantile of Student's t: a table up to 10 degrees of freedom (between its places linear in 1/df), above them
 * the expansion around the normal one (Hill 1970), good to six digits there. */
const tTable = [12.7062047364, 4.3026527297, 3.1824463053, 2.7764451052, 2.5705818356, 2.4469118511, 2.3646242516, 2.3060041352, 2.2621571629, 2.228138852];
function tQuantile(df) {
  if (df <= 1) return tTable[0];
  if (df < 10) {
    const i = Math.floor(df), share = (1 / i - 1 / df) / (1 / i - 1 / (i + 1));
    return tTable[i - 1] + share * (tTable[i] - tTable[i - 1]);
  }
  const z = 1.959963984540054, z3 = z ** 3, z5 = z ** 5, z7 = z ** 7, z9 = z ** 9;
  return z + (z3 + z) / (4 * df) + (5 * z5 + 16 * z3 + 3 * z) / (96 * df ** 2) + (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * df ** 3)
    + (79 * z9 + 776 * z7 + 1482 * z5 - 1920 * z3 - 945 * z) / (92160 * df ** 4);
}
function student(list) {
  const n = list.length, m = n ? mean(list) : NaN;
  if (n < 2) return { mean: m, low: NaN, high: NaN, n };
  const half = tQuantile(n - 1) * Math.sqrt(variance(list) / n);
  return { mean: m, low: m - half, high: m + half, n };
}
/* Difference of two means with Welch's interval: unequal variances, few seeds. */
function welch(a, b) {
  const m = a.length && b.length ? mean(a) - mean(b) : NaN;
  if (a.length < 2 || b.length < 2) return { mean: m, low: NaN, high: NaN };
  const va = variance(a) / a.length, vb = variance(b) / b.length;
  const df = (va + vb) ** 2 / (va ** 2 / (a.length - 1) + vb ** 2 / (b.length - 1)) || 1;
  const half = tQuantile(df) * Math.sqrt(va + vb);
  return { mean: m, low: m - half, high: m + half };
}
/* Small deterministic generator (mulberry32), so that a page looks the same at every opening. */
function generator(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
function quantile(sorted, p) {
  const at = (sorted.length - 1) * p, i = Math.floor(at);
  return i + 1 < sorted.length ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[i];
}
function groupBy(list, key) {
  const groups = new Map();
  for (const item of list) {
    const k = key(item);
    if (!groups.has(k)) groups.set(k, []);
    groups.get(k).push(item);
  }
  return groups;
}
function extremes(values) {
  let low = Infinity, high = -Infinity;
  for (const x of values) if (isNumber(x)) { if (x < low) low = x; if (x > high) high = x; }
  return low <= high ? [low, high] : null;
}
function compare(a, b) {
  const none = (x) => x === null || x === undefined || Number.isNaN(x);
  if (none(a) || none(b)) return none(a) - none(b);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

// Colours and shapes --------------------------------------------------------------------------------------------------
/* The first six stay apart for every kind of colour vision (tests/page measures it), at least 3:1 from their ground.
 * Shapes tell the same, so colour is never alone. */
const palettes = {
  light: ["#0055cc", "#e07000", "#1da568", "#c76bb3", "#5c2b00", "#1d3557", "#8a8200", "#7a7a7a"],
  dark: ["#3d8bff", "#ff5c33", "#26d980", "#e05aa8", "#e6df19", "#c8e9f9", "#d19a8a", "#9a9a9a"],
};
const shapes = ["circle", "square", "triangle", "diamond", "cross", "down"];
/* Viridis at seven places, read from dark to light. */
const ramp = [[68, 1, 84], [70, 50, 127], [54, 92, 141], [39, 127, 142], [31, 161, 135], [74, 194, 109], [253, 231, 37]];
function rampColour(share) {
  const at = Math.min(Math.max(share, 0), 1) * (ramp.length - 1), i = Math.min(Math.floor(at), ramp.length - 2);
  return `rgb(${ramp[i].map((c, k) => Math.round(c + (at - i) * (ramp[i + 1][k] - c))).join(",")})`;
}
