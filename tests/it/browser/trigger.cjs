// Starts a backup from the page by keyboard alone and watches what appears: node trigger.cjs ADDRESS
"use strict";

const { open, withBrowser } = require("./open.cjs");

const [address] = process.argv.slice(2);
const PATIENCE_MS = 90000;

withBrowser(async (browser) => {
  const { page, complaints } = await open(browser, address, { viewport: { width: 1100, height: 1000 } });
  let reloads = 0;
  page.on("framenavigated", () => { reloads += 1; });
  const before = await page.textContent("h1");
  await page.evaluate(() => {
    window.stages = [];
    const note = () => {
      for (const stage of document.querySelectorAll("#progress .stage")) {
        if (!window.stages.includes(stage.textContent)) window.stages.push(stage.textContent);
      }
    };
    new MutationObserver(note).observe(document.body, { childList: true, subtree: true, characterData: true });
  });
  // Tab to the button, as somebody without a mouse does.
  for (let presses = 0; presses < 60; presses += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.activeElement.id === "trigger")) break;
  }
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("said").textContent.startsWith("Done"), null, { timeout: PATIENCE_MS });
  await page.waitForFunction(() => document.querySelector("h1").textContent.startsWith("Everything"), null, { timeout: PATIENCE_MS });
  return {
    before,
    after: await page.textContent("h1"),
    said: await page.textContent("#said"),
    stages: await page.evaluate(() => window.stages),
    jobs: await page.locator(".jobs > li").count(),
    reloads,
    complaints,
  };
});
