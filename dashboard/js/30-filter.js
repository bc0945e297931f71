/* The filter: one expression over trials, which also holds what was brushed.
 *
 *   or, and, not, ( );  name OP value with = != < <= > >= ~ (contains);  name in 1..10, name in [lora, full];
 *   name missing, name exists;  a bare word finds trials whose method, state, message or values contain it.
 * Names and texts with other characters stand in backticks or quotes. Parsed into closures; nothing is evaluated. */
const filterToken = /\s*(?:(`[^`]*`)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(-?(?:\d+(?:\.(?!\.)\d*)?|\.(?!\.)\d+)(?:[eE][+-]?\d+)?(?![\w/]))|(\.\.|<=|>=|!=|[=<>~()[\],])|([^\s`"'()[\],=<>~!]+))/y;
function filterTokens(text) {
  const tokens = [];
  filterToken.lastIndex = 0;
  const end = text.trimEnd().length;
  while (filterToken.lastIndex < end) {
    const at = filterToken.lastIndex, m = filterToken.exec(text);
    if (!m) throw new Error(`character ${at + 1}: '${text[at]}' is not understood here`);
    if (m[1] !== undefined) tokens.push({ kind: "name", value: m[1].slice(1, -1), at });
    else if (m[2] !== undefined) tokens.push({ kind: "text", value: m[2].slice(1, -1).replace(/\\(.)/g, "$1"), at });
    else if (m[3] !== undefined) tokens.push({ kind: "number", value: Number(m[3]), at });
    else if (m[4] !== undefined) tokens.push({ kind: m[4], value: m[4], at });
    else tokens.push({ kind: "word", value: m[5], at });
  }
  tokens.push({ kind: "end", value: "the end", at: end });
  return tokens;
}
function parseFilter(text, fields) {
  const tokens = filterTokens(text);
  let i = 0, depth = 0;
  const peek = () => tokens[i];
  const isWord = (w) => peek().kind === "word" && peek().value.toLowerCase() === w;
  const fail = (what) => { throw new Error(`character ${peek().at + 1}: ${what} was expected, '${clip(String(peek().value), 30)}' was found`); };
  const take = (kind) => (peek().kind === kind ? tokens[i++] : fail(`'${kind}'`));
  function value() {
    if (!["number", "text", "word", "name"].includes(peek().kind)) fail("a value");
    return tokens[i++].value;
  }
  const same = (a, b) => (typeof a === "number" && typeof b === "number" ? a === b : a !== null && a !== undefined && (String(a) === String(b) || valueText(a) === String(b)));
  const order = { "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b };
  function comparison(field) {
    const token = tokens[i++], get = field.get;
    if (token.kind === "=") { const v = value(); return (t) => same(get(t), v); }
    if (token.kind === "!=") { const v = value(); return (t) => !same(get(t), v); }
    if (token.kind === "~") { const v = String(value()).toLowerCase(); return (t) => { const x = get(t); return x !== null && x !== undefined && String(x).toLowerCase().includes(v); }; }
    if (token.value === "missing") return (t) => { const x = get(t); return x === null || x === undefined; };
    if (token.value === "exists") return (t) => { const x = get(t); return x !== null && x !== undefined; };
    if (token.value === "in") return membership(get);
    const v = value(), test = order[token.kind];
    return (t) => { const x = get(t); return x !== null && x !== undefined && test(x, v); };
  }
  function membership(get) {
    if (peek().kind === "[") {
      const list = [];
      i++;
      while (peek().kind !== "]") { list.push(value()); if (peek().kind === ",") i++; else if (peek().kind !== "]") fail("',' or ']'"); }
      i++;
      return (t) => { const x = get(t); return list.some((v) => same(x, v)); };
    }
    const low = take("number").value;
    take("..");
    const high = take("number").value;
    return (t) => { const x = get(t); return typeof x === "number" && x >= low && x <= high; };
  }
  function primary() {
    if (++depth > 200) fail("a shorter filter");
    if (peek().kind === "(") {
      i++;
      const inner = either();
      take(")");
      return inner;
    }
    if (isWord("not")) { i++; const inner = primary(); return (t) => !inner(t); }
    const token = peek();
    if (!["word", "name", "text", "number"].includes(token.kind)) fail("a name");
    i++;
    const next = peek(), isOperator = ["=", "!=", "~", "<", "<=", ">", ">="].includes(next.kind) || (next.kind === "word" && ["in", "missing", "exists"].includes(next.value));
    if (isOperator) {
      const field = fields.get(String(token.value));
      if (!field) throw new Error(`character ${token.at + 1}: no trial has '${clip(String(token.value), 40)}'`);
      return comparison(field);
    }
    const needle = String(token.value).toLowerCase();
    return (t) => [t.method, t.state, t.reason, t.message, "trial " + t.trial, ...Object.values(t.parameters)].some((x) => x !== null && x !== undefined && String(x).toLowerCase().includes(needle));
  }
  function both() {
    const list = [primary()];
    while (peek().kind !== "end" && peek().kind !== ")" && !isWord("or")) { if (isWord("and")) i++; list.push(primary()); }
    return list.length === 1 ? list[0] : (t) => list.every((f) => f(t));
  }
  function either() {
    const list = [both()];
    while (isWord("or")) { i++; list.push(both()); }
    return list.length === 1 ? list[0] : (t) => list.some((f) => f(t));
  }
  if (peek().kind === "end") return () => true;
  const test = either();
  if (peek().kind !== "end") fail("the end");
  return test;
}
const filterName = (name) => (/^[A-Za-z_][\w/.]*$/.test(name) && !["in", "and", "or", "not", "missing", "exists"].includes(name) ? name : "`" + name.replaceAll("`", "") + "`");
const filterText = (text) => (/^[A-Za-z_][\w]*$/.test(text) ? text : JSON.stringify(text));
/* The filter with the brushed clause about `name` replaced by `clause` (null: taken away). */
function replaceClause(filter, name, clause) {
  const own = filterName(name).replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const old = new RegExp(`(?:^|\\s+and\\s+)${own}\\s+(?:in\\s+-?[\\d.e+-]+?\\.\\.-?[\\d.eE+-]+|in\\s+\\[[^\\]]*\\]|missing)(?=\\s+and\\s|$)`);
  let rest = filter.trim().replace(old, "").replace(/^\s*and\s+/, "").trim();
  if (!clause) return rest;
  if (/\sor\s/.test(rest) && !/^\(.*\)$/.test(rest)) rest = `(${rest})`;
  return rest ? `${rest} and ${clause}` : clause;
}
const rangeClause = (name, low, high) => `${filterName(name)} in ${Number(low.toPrecision(5))}..${Number(high.toPrecision(5))}`;
