// Starts Debian's chromium and opens pages that note every complaint of the browser.
"use strict";

const { chromium } = require("playwright-core");

exports.withBrowser = async (work) => {
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
  try {
    process.stdout.write(JSON.stringify(await work(browser)) + "\n");
  } finally {
    await browser.close();
  }
};

exports.open = async (browser, address, options) => {
  const page = await browser.newPage(options);
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("requestfailed", (request) => {
    // The stream of events ends with the page.
    if (!request.url().endsWith("/events")) complaints.push(`${request.url()}: ${request.failure().errorText}`);
  });
  await page.goto(address, { waitUntil: "load" });
  return { page, complaints };
};
