/* What the page shows is this state and the data; the state lives in the address, so that a link brings it back. */
const page = { data: null, sweep: null, cards: [], state: null, error: null };
const startState = () => ({ sweep: "", filter: "", trial: "", compare: "", sort: "", theme: "", rows: "", options: Object.create(null) });
function readState() {
  const state = startState();
  for (const [key, value] of new URLSearchParams(location.hash.slice(1))) {
    if (key.includes(".")) state.options[key] = value;
    else if (Object.hasOwn(state, key) && key !== "options") state[key] = value;
  }
  return state;
}
function writeState() {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(page.state)) if (key !== "options" && value) query.set(key, value);
  for (const [key, value] of Object.entries(page.state.options)) query.set(key, value);
  const text = query.toString();
  const next = "#" + text;
  if (location.hash !== next && (text || location.hash)) history.replaceState(null, "", next);
}
function setState(patch) {
  Object.assign(page.state, patch);
  writeState();
  schedule();
}
function setOption(key, value) {
  page.state.options[key] = value;
  writeState();
  schedule();
}
const option = (key, otherwise) => (key in page.state.options ? page.state.options[key] : otherwise);
let scheduled = false;
function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => { scheduled = false; update(); });
}
function brush(field, low, high) {
  setState({ filter: replaceClause(page.state.filter, field, rangeClause(field, low, high)) });
}
const compared = () => page.state.compare.split(",").filter(Boolean).map(Number);
function toggleCompared(number) {
  const list = compared();
  setState({ compare: (list.includes(number) ? list.filter((n) => n !== number) : [...list, number]).join(",") });
}

// Theme ---------------------------------------------------------------------------------------------------------------
function themeName() {
  if (page.printing) return "light";
  if (page.state.theme) return page.state.theme === "dark" ? "dark" : "light";
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}
function theme() {
  const name = themeName(), style = getComputedStyle(document.documentElement);
  const read = (key) => style.getPropertyValue("--" + key).trim();
  return { name, palette: palettes[name], ground: read("ground"), panel: read("panel"), ink: read("ink"), soft: read("soft"), line: read("line"), axis: read("axis"),
    accent: read("accent"), good: read("good"), bad: read("bad"), dim: read("dim") };
}
const colour = (t, method) => t.palette[page.sweep.places.get(method) % t.palette.length];
