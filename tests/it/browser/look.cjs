// Looks at the page wide and narrow, light and dark: node look.cjs ADDRESS STATE FOLDER
"use strict";

const fs = require("fs");
const { open, withBrowser } = require("./open.cjs");

const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [address, state, folder] = process.argv.slice(2);
const widths = { wide: { width: 1100, height: 1000 }, narrow: { width: 390, height: 844 } };

withBrowser(async (browser) => {
  const looks = [];
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
      await page.screenshot({ path: `${folder}/${picture}` });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      await page.evaluate(axe);
      const found = await page.evaluate(() => axe.run());
      const violations = found.violations.map((one) => ({
        rule: one.id,
        help: one.help,
        nodes: one.nodes.map((node) => `${node.html}: ${node.failureSummary}`),
      }));
      looks.push({ picture, overflow: Math.max(0, overflow), rules: found.passes.length, violations, complaints });
      await page.close();
    }
  }
  return { looks };
});
