// The pictures in docs/images, taken of the page that `make demo` leaves: light and dark, large and small.
//   make page-images       (after make demo and make check-page)
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import zlib from "node:zlib";

const root = path.resolve(path.dirname(new URL(import.meta.url).pathname), "../..");
const { chromium } = createRequire(path.join(root, "build/page-tests/package.json"))("playwright-core");
const file = path.resolve(process.argv[2] || "runs/demo.html"), folder = path.join(root, "docs/images");
const large = { width: 1440, height: 900 }, small = { width: 360, height: 780 };
// Pictures of at most 255 colours; others become the nearest. A third of the size, and nobody sees it.
async function pixels(page, png) {
  const text = await page.evaluate(async (base64) => {
    const image = await createImageBitmap(new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], { type: "image/png" })), c = new OffscreenCanvas(image.width, image.height).getContext("2d");
    c.drawImage(image, 0, 0);
    const data = c.getImageData(0, 0, image.width, image.height).data, parts = [];
    for (let i = 0; i < data.length; i += 30000) parts.push(String.fromCharCode(...data.subarray(i, i + 30000)));
    return btoa(parts.join(""));
  }, png.toString("base64"));
  return Buffer.from(text, "base64");
}
function indexed(data, { width, height }) {
  const counts = new Map(), colour = (i) => (data[i] << 16) | (data[i + 1] << 8) | data[i + 2];
  for (let i = 0; i < data.length; i += 4) counts.set(colour(i), (counts.get(colour(i)) || 0) + 1);
  // One of colours that are nearly the same, so that a small coloured mark is not crowded out by greys.
  const alike = new Map(), near = (c) => c & 0xf8f8f8;
  for (const [c, n] of [...counts].sort((p, q) => q[1] - p[1])) if (!alike.has(near(c))) alike.set(near(c), [c, n]); else alike.get(near(c))[1] += n;
  const kept = [...alike.values()].sort((p, q) => q[1] - p[1]).slice(0, 255).map(([c]) => c), places = new Map(kept.map((c, k) => [c, k]));
  const far = (a, b) => ((a >> 16) - (b >> 16)) ** 2 + (((a >> 8) & 255) - ((b >> 8) & 255)) ** 2 + ((a & 255) - (b & 255)) ** 2;
  for (const c of counts.keys()) if (!places.has(c)) places.set(c, kept.reduce((best, q, k) => (far(c, q) < far(c, kept[best]) ? k : best), 0));
  const lines = Buffer.alloc(height * (width + 1)); // each line begins with its filter, 0
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) lines[y * (width + 1) + 1 + x] = places.get(colour(4 * (y * width + x)));
  const chunk = (type, body) => { const whole = Buffer.concat([Buffer.from(type), body]), out = Buffer.alloc(8); out.writeUInt32BE(body.length, 0); out.writeUInt32BE(zlib.crc32 ? zlib.crc32(whole) : crc32(whole), 4); return Buffer.concat([out.subarray(0, 4), whole, out.subarray(4)]); };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head[8] = 8;
  head[9] = 3;
  return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), chunk("IHDR", head), chunk("PLTE", Buffer.from(kept.flatMap((c) => [c >> 16, (c >> 8) & 255, c & 255]))), chunk("IDAT", zlib.deflateSync(lines, { level: 9 })), chunk("IEND", Buffer.alloc(0))]);
}
function crc32(bytes) {
  let crc = ~0;
  for (const b of bytes) { crc ^= b; for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0); }
  return ~crc >>> 0;
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
const pictures = [
  ["page", large, "light", ""], ["page-dark", large, "dark", ""], ["page-narrow", small, "light", ""], ["page-narrow-dark", small, "dark", ""],
  ["page-views", { width: 1440, height: 1180 }, "light", "methods"], ["page-views-dark", { width: 1440, height: 890 }, "dark", "parallel"],
];
for (const [name, viewport, colorScheme, at] of pictures) {
  const page = await (await browser.newContext({ viewport, colorScheme })).newPage();
  await page.goto("file://" + file);
  await page.waitForSelector("h1:not(:empty)");
  if (at) await page.evaluate((id) => document.getElementById(id).scrollIntoView(), at);
  await page.waitForTimeout(600);
  const target = path.join(folder, name + ".png");
  fs.writeFileSync(target, indexed(await pixels(page, await page.screenshot()), viewport));
  console.log(`${target}: ${(fs.statSync(target).size / 1000).toFixed(0)} KB`);
}
await browser.close();
