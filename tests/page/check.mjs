// The page in a real browser: `make check-page`. Opens pages of made-up stores in headless Chromium and looks at what a
// person would: that it says the right thing, that filter, brush, link and keys work, that it is readable dark, narrow
// and printed, that hostile names do nothing, that it asks nobody, and that axe-core finds nothing to blame.
import { execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createRequire } from "node:module";

const root = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), "../..");
const modules = path.join(root, "build/page-tests/");
const require = createRequire(path.join(modules, "package.json"));
const { chromium } = require("playwright-core");
const axeSource = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const program = path.join(root, process.env.BUILD || "build/release", "nightsweep");
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "nightsweep-page-"));
const only = process.argv[2];

function makePage(name, ...options) {
  const store = path.join(folder, name + ".db"), page = path.join(folder, name + ".html");
  execFileSync("python3", [path.join(root, "tests/support/make_store.py"), store, ...options]);
  execFileSync(program, ["export", "methods", "--store", store, "--output", page]);
  return { store, url: "file://" + page, file: page };
}
const plain = makePage("plain", "--more-checks"), hostile = makePage("hostile", "--hostile", "--configurations", "100", "--seeds", "1", "--state", "OPEN", "--objectives", "2", "--more-checks"),
  small = makePage("small", "--configurations", "1", "--seeds", "1", "--no-checks", "--seed", "3"), none = makePage("none", "--configurations", "0", "--seeds", "1", "--no-checks");

const failing = makePage("failing", "--configurations", "6", "--seeds", "1");
execFileSync("sqlite3", [failing.store, "UPDATE trial SET state = 'FAILED', reason = 'out_of_memory', message = '3.1 GiB are needed, 2.0 GiB are allowed', value = NULL"]);
execFileSync(program, ["export", "methods", "--store", failing.store, "--output", failing.file]);
const sql = (store, question) => execFileSync("sqlite3", ["-json", store, question], { encoding: "utf8" }).trim();
const rowsOf = (store, question) => JSON.parse(sql(store, question) || "[]");

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
let passed = 0, failed = 0;
function expect(is, what) { if (!is) throw new Error(what); }

async function open(url, options) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, acceptDownloads: true, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(120000); // a busy machine is no failure
  page.trouble = [];
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) page.trouble.push(m.type() + ": " + m.text()); });
  page.on("pageerror", (e) => page.trouble.push("uncaught: " + e.message));
  page.on("dialog", (d) => { page.trouble.push("dialog: " + d.message()); d.dismiss(); });
  page.on("request", (r) => { if (!r.url().startsWith("file://") && !r.url().startsWith("blob:") && !r.url().startsWith(options?.allowed || "file://")) page.trouble.push("request: " + r.url()); });
  await page.goto(url);
  await page.waitForSelector("h1");
  await page.waitForTimeout(150);
  return page;
}
async function test(name, url, options, steps) {
  if (only && !name.includes(only)) return;
  let page;
  try {
    page = await open(url, options);
    await steps(page);
    expect(page.trouble.length === 0, page.trouble.join("\n"));
    passed++;
    console.log("ok      " + name);
  } catch (error) {
    failed++;
    console.log("FAILED  " + name + "\n        " + String(error.message).split("\n").slice(0, 12).join("\n        "));
  }
  await page?.context().close();
}
async function blameless(page, what) {
  await page.evaluate(axeSource);
  const result = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  expect(result.violations.length === 0, what + ": " + result.violations.map((v) => `${v.id} (${v.nodes.length}): ${v.nodes[0].html.slice(0, 160)} ${v.nodes[0].failureSummary.slice(0, 200)}`).join("\n"));
}
const setFilter = async (page, text) => { await page.fill("#filter", text); await page.waitForTimeout(350); };
const noted = (page) => page.textContent("#filter-note");
const drag = async (page, id, from, to) => {
  const box = await (await page.$(`#${id} canvas`)).boundingBox();
  await page.mouse.move(box.x + from[0] * box.width, box.y + from[1] * box.height);
  await page.mouse.down();
  await page.mouse.move(box.x + to[0] * box.width, box.y + to[1] * box.height, { steps: 4 });
  await page.mouse.up();
  await page.waitForTimeout(200);
};
const show = async (page, id) => { await page.evaluate((i) => document.getElementById(i).scrollIntoView({ block: "center" }), id); await page.waitForTimeout(250); };

await test("says the finding above the fold, as the store has it", plain.url, {}, async (page) => {
  const summary = JSON.parse(await page.textContent("#data")).sweeps[0].summary, best = summary.methods[0];
  const said = await page.textContent(".finding");
  expect(said.includes(`${best.method} is best on validation/accuracy: ${best.score.mean.toFixed(4)} [${best.score.low.toFixed(4)}, ${best.score.high.toFixed(4)}]`), said);
  expect(/Not distinguishable from it|Clearly ahead/.test(said), said);
  const rows = await page.$$eval("#lines tbody tr", (list) => list.map((tr) => tr.textContent));
  expect(rows.length === summary.methods.length, `${rows.length} rows`);
  summary.methods.forEach((m, i) => expect(rows[i].startsWith(m.method) && rows[i].includes(`${m.score.mean.toFixed(4)} [${m.score.low.toFixed(4)}, ${m.score.high.toFixed(4)}]`), `row ${i}: ${rows[i]}`));
  const bottom = await page.$eval("#lines table", (t) => t.getBoundingClientRect().bottom);
  expect(bottom <= 900, `the table of methods ends at ${bottom}`);
  for (const id of ["best", "pareto"]) expect(await page.$eval(`#${id} canvas`, (c) => { const box = c.getBoundingClientRect(); return box.bottom <= 900 && c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v); }), id);
});
await test("is one file below 250 KB plus data, without an address", plain.url, {}, async () => {
  const html = fs.readFileSync(plain.file, "utf8"), data = html.indexOf('id="data">'), rest = html.slice(0, data) + html.slice(html.indexOf("</script>", data));
  expect(rest.length < 250000, `${rest.length} bytes`);
  expect(!/(href|src)\s*=\s*["']?\s*https?:/i.test(html) && !/https?:\/\//.test(rest) && !/unsafe-|eval/.test(html.slice(0, 1500)), "an address or a loose policy");
});
await test("filters, and says what is wrong with a filter", plain.url, {}, async (page) => {
  const all = Number((await noted(page)).split(" ")[0]);
  await setFilter(page, "method = lora and rank >= 4");
  expect(/^\d+ of \d+ trials$/.test(await noted(page)), await noted(page));
  expect(page.url().includes("filter=method"), page.url());
  expect((await page.$$eval("#lines tbody tr", (l) => l.length)) === 1, "only lora is left");
  await setFilter(page, "rank missing and not state = FAILED");
  expect(Number((await noted(page)).split(" ")[0]) > 0, await noted(page));
  await setFilter(page, "learning_rate in 1e-4..1e-3 or state in [FAILED, PRUNED]");
  expect(Number((await noted(page)).split(" ")[0]) > 0, await noted(page));
  for (const wrong of ["rank >=", "nobody = 1", "((", "rank in 1..", "method = lora)", "'"]) {
    await setFilter(page, wrong);
    expect(/character/.test(await noted(page)), `'${wrong}': ${await noted(page)}`);
  }
  await page.click("text=Clear");
  await page.waitForTimeout(200);
  expect(Number((await noted(page)).split(" ")[0]) === all, "all are back");
});
await test("brushes scatter plots and axes into the filter, and everything follows", plain.url, {}, async (page) => {
  await show(page, "slice");
  await drag(page, "slice", [0.4, 0.2], [0.7, 0.6]);
  const filter = await page.inputValue("#filter");
  expect(/learning_rate in .*\.\..* and value in/.test(filter), filter);
  expect(/ of /.test(await noted(page)), await noted(page));
  await page.click("text=Clear");
  await show(page, "parallel");
  const box = await (await page.$("#parallel canvas")).boundingBox();
  const last = 1 - 60 / box.width;
  await drag(page, "parallel", [last, 0.15], [last, 0.4]);
  expect(/value in /.test(await page.inputValue("#filter")), await page.inputValue("#filter"));
  await drag(page, "parallel", [last, 0.15], [last, 0.3]);
  expect((await page.inputValue("#filter")).match(/value in/g).length === 1, "a second brush replaces the first");
  const rows = await page.$$eval("#trials tbody tr", (l) => l.length);
  expect(rows === Math.min(50, Number((await noted(page)).split(" ")[0])), `${rows} rows`);
});
await test("opens from a link with everything as it was", plain.url + "#filter=method+%3D+lora&trial=7&theme=dark&curves.metric=train%2Floss&compare=7%2C8", {}, async (page) => {
  expect((await page.inputValue("#filter")) === "method = lora", "filter");
  expect(await page.$eval("dialog", (d) => d.open && d.textContent.includes("Trial 7")), "the trial is open");
  expect((await page.getAttribute("html", "data-theme")) === "dark", "theme");
  expect((await page.$eval("#curves select", (s) => s.value)) === "train/loss", "metric");
  expect((await page.$$eval("#compare thead th", (l) => l.length)) === 2, "side by side");
});
await test("works with keys alone", plain.url, {}, async (page) => {
  await page.keyboard.press("/");
  expect((await page.evaluate(() => document.activeElement.id)) === "filter", "/ goes to the filter");
  await show(page, "slice");
  await page.focus("#slice canvas");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  expect(/Trial \d+/.test(await page.textContent("#slice .tip")), "arrows walk through the points");
  await page.keyboard.press("Enter");
  await page.waitForTimeout(200);
  expect(await page.$eval("dialog", (d) => d.open), "Enter opens the trial");
  await page.keyboard.press("Escape");
  await page.waitForTimeout(200);
  expect(!(await page.$eval("dialog", (d) => d.open)) && !page.url().includes("trial="), "Escape closes it");
  await page.focus('#trials th button[data-sort="seed"]');
  await page.keyboard.press("Enter");
  await page.waitForTimeout(200);
  expect((await page.evaluate(() => document.activeElement.dataset.sort)) === "seed", "sorting keeps the focus");
});
await test("shows every chart as table, CSV and SVG", plain.url, {}, async (page) => {
  const cards = await page.$$eval(".card:has(canvas):not([hidden])", (l) => l.map((c) => c.id));
  expect(cards.length === 14, `${cards.length} charts`);
  for (const id of cards) {
    await show(page, id);
    await page.click(`#${id} .tools button:has-text("Table")`);
    await page.waitForTimeout(120);
    expect((await page.$$eval(`#${id} .twin tbody tr`, (l) => l.length)) > 0, `${id}: no rows`);
    for (const kind of ["CSV", "SVG"]) {
      const [download] = await Promise.all([page.waitForEvent("download"), page.click(`#${id} .tools button:has-text("${kind}")`)]);
      const text = fs.readFileSync(await download.path(), "utf8");
      if (kind === "CSV") expect(text.split("\r\n").length > 2, `${id}: ${text.slice(0, 80)}`);
      else expect(await page.evaluate((t) => { const d = new DOMParser().parseFromString(t, "image/svg+xml"); return !d.querySelector("parsererror") && d.querySelectorAll("path,circle,rect,polygon").length > 3; }, text), `${id}: ${text.slice(0, 200)}`);
    }
  }
  await blameless(page, "with tables open");
});
await test("tells of bias, safety and forgetting before and after", plain.url, {}, async (page) => {
  const best = JSON.parse(await page.textContent("#data")).sweeps[0].summary.methods[0];
  const ask = (metric) => execFileSync("sqlite3", [plain.store, `SELECT AVG(b.before), AVG(b.after) FROM bias_check b JOIN trial t ON t.id = b.trial_id JOIN configuration c ON c.id = t.configuration_id WHERE c.number = ${best.configuration} AND b.metric = '${metric}'`], { encoding: "utf8" }).trim().split("|").map(Number);
  const percent = (x) => (100 * x).toFixed(2);
  const heads = await page.$$eval("#lines th", (l) => l.map((th) => th.textContent)), first = await page.textContent("#lines tbody tr");
  for (const [head, metric] of [["flip rate before → after", "flip_rate"], ["forgetting accuracy before → after", "accuracy"]]) {
    const [before, after] = ask(metric);
    expect(heads.includes(head), heads.join());
    expect(first.includes(`${percent(before)} → ${percent(after)} %`), `${metric}: ${before} ${after} is not in ${first}`);
  }
  const [, lost] = ask("accuracy");
  expect((await page.textContent(".finding")).includes(`Forgetting: accuracy ${percent(lost)} %`), await page.textContent(".finding"));
  await show(page, "safety");
  await page.click("#safety .tools button:has-text('Table')");
  await page.waitForTimeout(150);
  const rows = await page.$$eval("#safety .twin tbody tr", (l) => l.map((tr) => [...tr.children].map((td) => td.textContent)));
  expect(rows.length === 9 && new Set(rows.map((r) => r[0] + r[1])).size === 9, JSON.stringify(rows));
  for (const [trained, tested, before, after] of rows) {
    const [b, a] = ask(`unsafe_rate[${trained}][${tested}]`);
    expect(before === b.toFixed(4) && after === a.toFixed(4), `${trained}, ${tested}: ${before} → ${after}, the store has ${b} → ${a}`);
  }
  await page.selectOption("#safety select >> nth=1", "full");
  await page.waitForTimeout(150);
  expect((await page.textContent("#safety .twin tbody")) !== rows.flat().join(""), "another method has other numbers");
  await page.selectOption("#checks select >> nth=0", "1:forgetting|accuracy");
  await page.click("#checks .tools button:has-text('Table')");
  await page.waitForTimeout(150);
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#checks .tools button:has-text('SVG')")]);
  const changes = await page.$$eval("#checks .twin tbody tr", (l) => l.map((tr) => [...tr.children].slice(2, 7).map((td) => Number(td.textContent.replace("−", "-")))));
  expect(changes.every(([b, a, d, low, high]) => Math.abs(a - b - d) < 2e-4 && low < d && d < high), "every change has its interval: " + JSON.stringify(changes));
  expect(fs.readFileSync(await download.path(), "utf8").match(/stroke-width="1.2"/g).length >= changes.length, "an interval a method is drawn");
  expect(/More is better/.test(await page.textContent("#checks figcaption")), await page.textContent("#checks figcaption"));
  expect((await page.$$eval("#checks .twin tbody tr", (l) => l.length)) === (await page.$$eval("#lines tbody tr", (l) => l.length)), "a row a method");
});
const twinOf = async (page, id) => {
  await show(page, id);
  if (await page.getAttribute(`#${id} .tools button`, "aria-expanded") !== "true") await page.click(`#${id} .tools button:has-text("Table")`);
  await page.waitForTimeout(150);
  return page.$eval(`#${id} .twin table`, (t) => ({ heads: [...t.querySelectorAll("th")].map((h) => h.textContent), rows: [...t.querySelectorAll("tbody tr")].map((r) => [...r.children].map((c) => c.textContent)) }));
};
await test("every view follows the filter", plain.url, {}, async (page) => {
  await setFilter(page, "method in [lora, full]");
  for (const id of await page.$$eval(".card:has(canvas):not([hidden])", (l) => l.map((c) => c.id))) {
    if (id === "timeline" || id === "importance") continue; // the first pales what is filtered out, the second has no methods
    const { heads, rows } = await twinOf(page, id), at = heads.indexOf("method"), shown = heads.indexOf("shown");
    const methods = new Set(rows.filter((r) => shown < 0 || r[shown] === "yes").map((r) => r[at]));
    if (at >= 0) expect(rows.length > 0 && [...methods].every((m) => m === "lora" || m === "full"), `${id}: ${[...methods]}`);
  }
  const listed = await page.$$eval("#trials tbody tr .name", (l) => l.map((n) => n.textContent));
  expect(listed.length > 0 && listed.every((m) => m === "lora" || m === "full"), "the trials: " + listed);
  expect(!/adapter|bitfit/.test(await page.textContent(".finding")), await page.textContent(".finding"));
});
await test("the address brings everything back", plain.url, {}, async (page) => {
  await setFilter(page, "state = COMPLETE and not method = bitfit");
  await page.click('#trials th button[data-sort="test"]');
  await page.waitForTimeout(150);
  await page.click("#trials .pager >> text=Next");
  await page.waitForTimeout(150);
  await page.selectOption("#size select", "rank");
  await page.selectOption("#pareto select >> nth=2", "flip_rate.after");
  await twinOf(page, "size");
  await page.click("text=Dark");
  for (const n of [1, 5]) { await (await page.$$("#trials tbody input"))[n].click(); await page.waitForTimeout(120); }
  const look = (p) => p.evaluate(() => [document.documentElement.dataset.theme, document.querySelector("#filter").value, [...document.querySelectorAll("select")].map((s) => s.value), ...["#trials", "#compare", "#size .twin", "#lines", ".finding", "#filter-note"].map((q) => document.querySelector(q).textContent)]);
  const here = await look(page), other = await open(page.url());
  expect(JSON.stringify(await look(other)) === JSON.stringify(here), "the page of the link differs");
  expect(other.trouble.length === 0, other.trouble.join());
  await other.context().close();
});
await test("a trial tells configuration, attempts, log and files", plain.url, {}, async (page) => {
  const read = async (number) => { await page.evaluate((n) => { location.hash = "trial=" + n; }, number); await page.waitForTimeout(200); return page.textContent("dialog"); };
  const [bad] = rowsOf(plain.store, "SELECT t.number, t.message, a.log_tail FROM trial t JOIN attempt a ON a.trial_id = t.id WHERE t.reason = 'diverged' LIMIT 1");
  const failedText = await read(bad.number);
  expect(failedText.includes("failed: diverged") && failedText.includes(bad.message) && failedText.includes(bad.log_tail.split("\n")[0]), failedText);
  const [good] = rowsOf(plain.store, "SELECT t.number, c.settings, f.path, f.sha256, (SELECT COUNT(*) FROM attempt a WHERE a.trial_id = t.id) AS attempts FROM trial t JOIN configuration c ON c.id = t.configuration_id JOIN artifact f ON f.trial_id = t.id WHERE t.state = 'COMPLETE' AND attempts = 2 LIMIT 1");
  const text = await read(good.number);
  for (const [key, value] of Object.entries(JSON.parse(good.settings))) expect(text.includes(key.replaceAll("_", " ")) && (typeof value !== "string" || text.includes(value)), `${key} is missing`);
  expect(text.includes(good.path) && text.includes(good.sha256) && /interrupted/.test(text) && /true ↓ predicted →/.test(text), text);
  const [stopped] = rowsOf(plain.store, "SELECT t.number, d.reason FROM trial t JOIN decision d ON d.trial_id = t.id WHERE d.action = 'prune' LIMIT 1");
  expect((await read(stopped.number)).includes(stopped.reason), "why it was stopped");
});
await test("tells how to reproduce", plain.url, {}, async (page) => {
  const text = await page.textContent("#reproduce"), [sweep] = rowsOf(plain.store, "SELECT definition, definition_sha256 FROM sweep"), [environment] = rowsOf(plain.store, "SELECT program_version, git_commit, blas_version, model_sha256, data_sha256 FROM environment");
  for (const part of [sweep.definition, sweep.definition_sha256, "nightsweep run methods.json", ...Object.values(environment)]) expect(text.includes(part), `'${part}' is missing`);
});
await test("three objectives, rank on a log axis, contour, importance with interval and n", plain.url, {}, async (page) => {
  const drawn = async (id) => { const [download] = await Promise.all([page.waitForEvent("download"), page.click(`#${id} .tools button:has-text("SVG")`)]); return fs.readFileSync(await download.path(), "utf8"); };
  await page.selectOption("#pareto select >> nth=2", "flip_rate.after");
  await page.waitForTimeout(150);
  const two = 5, three = (await twinOf(page, "pareto")).heads.length - two;
  expect(three === 2 && /all three/.test(await page.textContent("#pareto figcaption")), await page.textContent("#pareto figcaption"));
  await show(page, "size");
  expect((await drawn("size")).includes("trained parameters (log)"), "size has a log axis");
  await page.selectOption("#size select", "rank");
  await page.waitForTimeout(150);
  expect((await drawn("size")).includes("rank (log)"), "rank has a log axis");
  await page.selectOption("#slice select >> nth=1", "rank");
  await page.waitForTimeout(200);
  expect((await drawn("slice")).split("<rect").length > 100, "the contour has a ground");
  const { heads, rows } = await twinOf(page, "importance"), [n] = rowsOf(plain.store, "SELECT COUNT(DISTINCT c.id) AS n FROM configuration c JOIN trial t ON t.configuration_id = c.id JOIN parameter_value p ON p.trial_id = t.id WHERE p.name = 'rank' AND t.state = 'COMPLETE'");
  expect(heads.join() === "parameter,share,low,high,configurations" && rows.find((r) => r[0] === "rank")[4] === String(n.n), `${heads}: ${rows.join("; ")}`);
});
await test("compares trials side by side", plain.url, {}, async (page) => {
  const boxes = await page.$$("#trials tbody input");
  for (const n of [4, 9, 14]) { await (await page.$$("#trials tbody input"))[n].click(); await page.waitForTimeout(120); }
  expect(boxes.length === 50, "fifty rows");
  expect((await page.$$eval("#compare thead th", (l) => l.length)) === 3, "three columns");
  expect((await page.$$eval("#compare tr.differs", (l) => l.length)) > 2, "differences are marked");
});
await test("light: axe-core finds nothing", plain.url, { colorScheme: "light" }, async (page) => blameless(page, "light"));
await test("dark: axe-core finds nothing", plain.url, { colorScheme: "dark" }, async (page) => {
  expect((await page.getAttribute("html", "data-theme")) === "dark", "the system's choice is followed");
  await blameless(page, "dark");
});
await test("a trial: axe-core finds nothing", plain.url + "#trial=4", {}, async (page) => blameless(page, "dialog"));
for (const [name, which] of [["plain", plain], ["hostile", hostile]]) {
  await test(`${name}, 360 wide: nothing sticks out, axe-core finds nothing`, which.url, { viewport: { width: 360, height: 740 } }, async (page) => {
    const width = await page.evaluate(() => document.scrollingElement.scrollWidth);
    expect(width <= 360, `${width} wide`);
    await blameless(page, "narrow");
  });
}
await test("prints", plain.url, { colorScheme: "dark" }, async (page) => {
  await page.emulateMedia({ media: "print", colorScheme: "dark" });
  await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
  const [theme, ink] = await page.evaluate(() => [document.documentElement.dataset.theme, [...document.querySelectorAll("canvas")].filter((c) => !c.hidden).every((c) => c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v))]);
  expect(theme === "light" && ink, `printed ${theme}, charts drawn: ${ink}`);
  expect((await page.pdf()).length > 50000, "a PDF with charts");
  await page.evaluate(() => dispatchEvent(new Event("afterprint")));
  expect((await page.getAttribute("html", "data-theme")) === "dark", "dark again");
});
await test("100 hostile names have no effect", hostile.url, {}, async (page) => {
  for (const id of await page.$$eval(".card:has(canvas):not([hidden])", (l) => l.map((c) => c.id))) { await show(page, id); await page.click(`#${id} .tools button:has-text("Table")`); }
  const numbers = await page.$$eval("#trials tbody button", (l) => l.map((b) => b.textContent));
  for (const n of numbers.slice(0, 40)) { await page.evaluate((k) => { location.hash = "trial=" + k; }, n); await page.waitForTimeout(40); }
  await page.evaluate(() => { location.hash = ""; });
  await page.waitForTimeout(200);
  for (const sly of ["template = '</script><script>window.hacked=1</script>'", "`__proto__` = 1", "constructor = 1", "template ~ \"<\"", "<img src=x onerror=window.hacked=1>", "\u202e", "a".repeat(10000)]) await setFilter(page, sly);
  await setFilter(page, "");
  expect((await page.evaluate(() => [window.hacked, Object.prototype.hacked, ({}).polluted].every((v) => v === undefined))), "a name ran");
  expect((await page.$$eval("script, img, svg, iframe, object, embed, link, base", (l) => l.length)) === 2, "a name became an element");
  const drops = await page.evaluate(() => document.querySelectorAll("[onerror],[onload],[onclick]").length);
  expect(drops === 0, "a name became a handler");
  await page.evaluate(() => { for (const x of [..."<>&\"'"]) location.hash = "filter=" + encodeURIComponent(x) + "&trial=" + x + "&sweep=" + x + "&constructor.x=1&theme=" + x; });
  await page.waitForTimeout(200);
});
await test("hostile: axe-core finds nothing", hostile.url, {}, async (page) => blameless(page, "hostile"));
await test("nothing but failures", failing.url, {}, async (page) => {
  expect(/No finished trial/.test(await page.textContent(".finding")) && /failed: \d+ out of memory/.test(await page.textContent(".chips")), await page.textContent(".chips"));
  for (const id of await page.$$eval(".card:has(canvas):not([hidden])", (l) => l.map((c) => c.id))) {
    await show(page, id);
    expect(await page.$eval(`#${id}`, (c) => c.hidden || !c.querySelector("canvas").hidden || c.querySelector(".empty").textContent.length > 10), `${id} says nothing`);
  }
  await blameless(page, "failures");
});
if (!only || "colours".includes(only)) {
  // Machado, Oliveira and Fernandes 2009, severity 1; distance in CIE Lab. Shapes tell methods apart beside it.
  const source = fs.readFileSync(path.join(root, "dashboard/js/10-basics.js"), "utf8").match(/palettes = (\{[\s\S]*?\n\});/)[1], palettes = Function("return " + source)();
  const kinds = { protan: [0.152, 1.053, -0.205, 0.115, 0.786, 0.099, -0.004, -0.048, 1.052], deutan: [0.367, 0.861, -0.228, 0.280, 0.673, 0.047, -0.012, 0.043, 0.969], tritan: [1.256, -0.077, -0.179, -0.078, 0.931, 0.148, 0.005, 0.691, 0.304], none: [1, 0, 0, 0, 1, 0, 0, 0, 1] };
  const linear = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  const lab = ([r, g, b]) => { const f = (t) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116), x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505), y = f(0.2126 * r + 0.7152 * g + 0.0722 * b), z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089); return [116 * y - 16, 500 * (x - y), 200 * (y - z)]; };
  let nearest = [1e9];
  for (const [name, list] of Object.entries(palettes)) for (const [kind, m] of Object.entries(kinds)) {
    const seen = list.slice(0, 6).map((hex) => { const c = linear(hex); return lab([0, 1, 2].map((i) => Math.min(Math.max(m[3 * i] * c[0] + m[3 * i + 1] * c[1] + m[3 * i + 2] * c[2], 0), 1))); });
    for (let i = 0; i < seen.length; i++) for (let k = 0; k < i; k++) { const d = Math.hypot(...seen[i].map((v, j) => v - seen[k][j])); if (d < nearest[0]) nearest = [d, name, kind, list[i], list[k]]; }
  }
  if (nearest[0] >= 15) { passed++; console.log(`ok      colours of six methods stay apart for every kind of vision: at least ${nearest[0].toFixed(0)} in Lab`); } else { failed++; console.log("FAILED  colours too near: " + nearest); }
}
await test("a sweep of one trial", small.url, {}, async (page) => expect(/one seed/.test(await page.textContent(".finding")), await page.textContent(".finding")));
await test("views that a sweep has nothing for are left out", small.url, {}, async (page) => {
  const sides = await page.$$eval(".grid .card:not([hidden])", (l) => l.map((c) => [c.id, c.classList.contains("wide")]));
  for (const id of ["checks", "matrix", "safety"]) expect(!sides.some(([s]) => s === id) && !(await page.isVisible(`.jumps button[data-to=${id}]`)), `${id} is shown`);
  expect(sides.some(([id, wide]) => id === "curves" && wide) && sides.some(([id]) => id === "parallel"), JSON.stringify(sides));
});
await test("a sweep without a trial", none.url, {}, async (page) => { expect(/No finished trial/.test(await page.textContent(".finding")), await page.textContent(".finding")); await blameless(page, "empty"); });

if (!only || "live".includes(only)) {
  execFileSync("sqlite3", [plain.store, "PRAGMA journal_mode = WAL"]);
  const server = spawn(program, ["serve", "--store", plain.store]);
  const url = await new Promise((done) => server.stdout.once("data", (d) => done(String(d).trim())));
  await test("live: follows the store, asks its own server alone", url, { allowed: new URL(url).origin }, async (page) => {
    await page.waitForFunction(() => document.querySelector(".live").textContent === "live");
    await setFilter(page, "method = lora");
    execFileSync("sqlite3", [plain.store, "UPDATE trial SET state = 'FAILED', reason = 'crashed', value = NULL WHERE number = (SELECT MIN(t.number) FROM trial t JOIN configuration c ON c.id = t.configuration_id WHERE t.state = 'COMPLETE' AND c.settings LIKE '%lora%')"]);
    const changed = Date.now();
    await page.waitForFunction(() => /crashed/.test(document.querySelector(".chips").textContent), null, { timeout: 10000 });
    console.log(`        followed after ${Date.now() - changed} ms`);
    expect((await page.inputValue("#filter")) === "method = lora", "the filter stays");
    await blameless(page, "live");
  });
  server.kill();
}

await browser.close();
fs.rmSync(folder, { recursive: true, force: true });
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
