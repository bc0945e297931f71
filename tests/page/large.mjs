// A sweep of 50,000 trials with 120 points each: how long its page takes to be written and to open, and what it takes of
// memory while a person scrolls through all of it and filters. Times are of the processor, so that a busy machine does not
// fail the test; what the clock said stands beside them, with the load. Part of `make check-page`. As root,
// `chrt -r 1 node tests/page/large.mjs` lets it go before all else that runs, which is the nearest to an idle machine.
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createRequire } from "node:module";

const root = path.resolve(path.dirname(new URL(import.meta.url).pathname), "../..");
const { chromium } = createRequire(path.join(root, "build/page-tests/package.json"))("playwright-core");
const program = path.join(root, process.env.BUILD || "build/release", "nightsweep");
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "nightsweep-large-")), store = path.join(folder, "large.db"), file = path.join(folder, "large.html");
const load = () => `${os.loadavg()[0].toFixed(1)} on ${os.cpus().length} cores`;
let failed = 0;
function expect(is, what) { console.log((is ? "ok      " : "FAILED  ") + what); if (!is) failed++; }
const read = (name) => fs.readFileSync(path.join(root, name), "utf8");

const version = read("orchestrator/store.h").match(/STORE_VERSION = (\d+)/)[1];
execFileSync("sqlite3", [store], { input: `PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; PRAGMA application_id = ${0x4e535750}; PRAGMA user_version = ${version};\n` + read("schemas/store.sql") + read("tests/page/large.sql") });
const timed = spawnSync("bash", ["-c", 'TIMEFORMAT="%U %S %R"; time "$0" export large --store "$1" --output "$2" >/dev/null', program, store, file], { encoding: "utf8" });
const [user, system, real] = timed.stderr.trim().split("\n").pop().split(" ").map(Number);
expect(timed.status === 0 && user + system < 5, `export: ${(user + system).toFixed(1)} s of processor time, ${real} s by the clock (load ${load()}), ${(fs.statSync(file).size / 1e6).toFixed(1)} MB`);

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 } })).newPage();
page.setDefaultTimeout(120000);
const trouble = [];
page.on("console", (m) => { if (m.type() === "error") trouble.push(m.text()); });
page.on("pageerror", (e) => trouble.push(e.message));
const tools = await page.context().newCDPSession(page);
await tools.send("Performance.enable", { timeDomain: "threadTicks" });
const busy = async () => (await tools.send("Performance.getMetrics")).metrics.find((m) => m.name === "TaskDuration").value;
const frame = () => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0))));
// Memory of our browser's page processes that is theirs alone, which is what the browser's own task manager shows.
const children = (pid) => execFileSync("ps", ["-o", "pid=", "--ppid", String(pid)], { encoding: "utf8" }).trim().split(/\s+/).filter(Boolean);
const ownProcesses = (pid) => { try { return children(pid).flatMap((c) => [c, ...ownProcesses(c)]); } catch { return []; } };
const renderers = () => ownProcesses(process.pid).filter((pid) => { try { return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--type=renderer"); } catch { return false; } });
let peak = 0, watched = [];
const look = setInterval(() => { for (const pid of watched) try { peak = Math.max(peak, Number(fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8").match(/Private_Dirty:\s+(\d+)/)[1]) / 1024); } catch { /* it has ended */ } }, 40);

fs.writeFileSync(path.join(folder, "empty.html"), "<p>empty");
await page.goto("file://" + folder + "/empty.html");
watched = renderers();
const before = await busy(), begin = Date.now();
await page.goto("file://" + file);
await page.waitForSelector("h1:not(:empty)");
await frame();
const opening = await busy() - before, clock = (Date.now() - begin) / 1000;
// The browser's own clock: from the start of the navigation to the first frame with something on it, which has the finding.
const painted = (await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime)) / 1000;
watched = renderers();
expect(opening < 1, `opens with its finding on the screen: ${opening.toFixed(2)} s of processor time; on the screen after ${painted.toFixed(2)} s by the clock, settled after ${clock.toFixed(1)} s (load ${load()})`);
expect(/^full is best on validation\/accuracy/.test(await page.textContent(".finding")), "the finding: " + (await page.textContent(".finding .lead")));
await page.evaluate(async () => { for (let y = 0; y < document.body.scrollHeight; y += 400) { scrollTo(0, y); await new Promise((done) => setTimeout(done, 300)); } });
expect(await page.$$eval(".card:not([hidden]) canvas", (l) => l.filter((c) => !c.hidden).every((c) => { const small = new OffscreenCanvas(60, 60).getContext("2d"); small.drawImage(c, 0, 0, 60, 60); return small.getImageData(0, 0, 60, 60).data.some((v) => v); })), "every chart is drawn");
const unfiltered = await busy();
await page.fill("#filter", "method = lora and rank >= 8");
await page.waitForFunction(() => / of 50,000/.test(document.querySelector("#filter-note").textContent));
await frame();
expect(await busy() - unfiltered < 1, `filters in ${(await busy() - unfiltered).toFixed(2)} s of processor time: ${await page.textContent("#filter-note")}`);
await page.click("#parallel .tools button:has-text('Table')");
await page.waitForSelector("#parallel .twin .note");
expect(/of 50,000 rows/.test(await page.textContent("#parallel .twin .note")), "parallel coordinates keep every trial: " + (await page.textContent("#parallel .twin .note")));
await page.click("#trials tbody button");
await page.waitForSelector("dialog[open]");
await page.waitForTimeout(1000);
clearInterval(look);
expect(peak > 50 && peak < 300, `memory stays under 300 MB: at most ${peak.toFixed(0)} MB`);
expect(trouble.length === 0, "no error " + trouble.join("; "));
await browser.close();
fs.rmSync(folder, { recursive: true, force: true });
process.exit(failed ? 1 : 0);
