// Looks at the page wide and narrow, light and dark, and holds it against what it looked like before:
// node look.cjs ADDRESS STATE FOLDER SCREENS
"use strict";

const fs = require("fs");
const { open, withBrowser } = require("./open.cjs");

const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [address, state, folder, screens] = process.argv.slice(2);
const widths = { wide: { width: 1100, height: 1000 }, narrow: { width: 390, height: 844 } };

// A channel that differs by less is the work of another release of the browser.
const CHANNEL_TOLERANCE = 48;

/** Which part of a picture's dots differ from those of another; 1 where there is none of its size. */
async function difference(browser, one, other) {
  if (!fs.existsSync(other)) return 1;
  const page = await browser.newPage();
  const sources = [one, other].map((path) => "data:image/png;base64," + fs.readFileSync(path, "base64"));
  const part = await page.evaluate(async ([sources, tolerance]) => {
    const [mine, theirs] = await Promise.all(sources.map(async (source) => {
      const bitmap = await createImageBitmap(await (await fetch(source)).blob());
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      context.drawImage(bitmap, 0, 0);
      return context.getImageData(0, 0, bitmap.width, bitmap.height);
    }));
    if (mine.width !== theirs.width || mine.height !== theirs.height) return 1;
    let different = 0;
    for (let at = 0; at < mine.data.length; at += 4) {
      const far = [0, 1, 2].some((channel) => Math.abs(mine.data[at + channel] - theirs.data[at + channel]) > tolerance);
      if (far) different += 1;
    }
    return (different * 4) / mine.data.length;
  }, [sources, CHANNEL_TOLERANCE]);
  await page.close();
  return part;
}

/** How wide a line is in both of the page's fonts: with other fonts every picture is another. */
function fonts(page) {
  return page.evaluate(() => [".reason", "h1"].map((selector) => {
    const context = document.createElement("canvas").getContext("2d");
    context.font = `20px ${getComputedStyle(document.querySelector(selector)).fontFamily}`;
    return Math.round(context.measureText("Age as armor. Time as protection.").width * 10);
  }));
}

withBrowser(async (browser) => {
  const looks = [];
  let outline, measured;
  for (const [word, viewport] of Object.entries(widths)) {
    for (const colorScheme of ["light", "dark"]) {
      const { page, complaints } = await open(browser, address, { viewport, colorScheme, reducedMotion: "reduce" });
      // A running job is drawn once the first event came.
      if (state === "running") {
        await page.waitForFunction(() => document.querySelectorAll("#progress li").length === 3);
        await page.locator("#live").evaluate((live) => live.scrollIntoView({ block: "start" }));
      }
      if (state === "failing" && word === "wide") await page.setViewportSize({ width: 1100, height: 1500 });
      const picture = `${state}-${word}-${colorScheme}.png`;
      // Whoever holds a phone scrolls through all of it.
      await page.screenshot({ path: `${folder}/${picture}`, fullPage: word === "narrow" });
      const differs = await difference(browser, `${folder}/${picture}`, `${screens}/${picture}`);
      outline = await page.locator("body").ariaSnapshot();
      measured = await fonts(page);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      await page.evaluate(axe);
      const found = await page.evaluate(() => axe.run());
      const violations = found.violations.map((one) => ({
        rule: one.id,
        help: one.help,
        nodes: one.nodes.map((node) => `${node.html}: ${node.failureSummary}`),
      }));
      looks.push({ picture, differs, overflow: Math.max(0, overflow), rules: found.passes.length, violations, complaints });
      await page.close();
    }
  }
  return { looks, outline, fonts: measured };
});
