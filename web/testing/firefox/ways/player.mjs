// @ts-check
import assert from "node:assert/strict";
import { APP, TRACK } from "../app.mjs";
import { press, tabTo } from "../keyboard.mjs";
import { reads, sound } from "../page.mjs";

/** @typedef {import("puppeteer-core").Page} Page */

export const player = {
  /** @param {Page} page */
  "the player by keyboard": async (page) => {
    const fetched = [];
    page.on("request", (request) => request.url().includes("/data/outputs/") && fetched.push(request.url()));
    await page.goto(`${APP}/track/${TRACK}`);
    await press(page, "Play");
    await page.waitForSelector("section.player");
    // Where there is no sound device, it says so.
    await page.waitForFunction(() => {
      const bar = document.querySelector("section.player");
      return bar?.querySelector("[role=slider]")?.getAttribute("aria-valuenow") !== "0" || bar.querySelector("[role=alert]");
    });
    assert.ok(fetched.length > 0 && fetched.every((url) => url.endsWith("?format=opus")), fetched.join());
    await sound(page, "the player");
    await tabTo(page, "Position");
    await page.keyboard.press("End");
    await page.waitForSelector("section.player [aria-valuetext='0:10 of 0:10']");
    await page.keyboard.press("ArrowLeft");
    await page.waitForSelector("section.player [aria-valuetext='0:05 of 0:10']");
    await page.keyboard.press("l");
    await page.waitForSelector("section.player button[aria-pressed=true]");
    await press(page, "Download", { back: true });
    await reads(page, "FLAC");
    await sound(page, "the formats");
    await page.keyboard.press("Escape");
    await press(page, "Keyboard");
    await tabTo(page, "Use the keys");
    await sound(page, "the shortcuts");
    await page.keyboard.press("Escape");
  },

  /** @param {Page} page */
  "a button that is pressed before the page is ready": async (page) => {
    await page.goto(`${APP}/track/${TRACK}`, { waitUntil: "domcontentloaded" });
    await page.evaluate(() => document.querySelector("main button.round")?.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true })));
    await page.waitForSelector("section.player");
  },
};
