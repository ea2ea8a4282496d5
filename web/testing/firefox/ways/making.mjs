// @ts-check
import { APP } from "../app.mjs";
import { press, tabTo, write } from "../keyboard.mjs";
import { counts, field, reads, sound } from "../page.mjs";

/** @typedef {import("puppeteer-core").Page} Page */

const UNDER_WAY_SECONDS = "500"; // a track that is under way for a while

export const making = {
  /** @param {Page} page */
  "a take by keyboard, which outlives pages": async (page) => {
    await page.goto(APP);
    await reads(page, "chill lofi beat");
    await tabTo(page, "Skip to");
    await write(page, "Prompt", "dark trap, 808");
    await write(page, "Length in seconds", "3");
    await press(page, "Make a take");
    await reads(page, "Seed");
    await page.waitForFunction(() => [...document.querySelectorAll("[role=status]")].some(({ textContent }) => textContent === "A take is ready: dark trap, 808"));
    await sound(page, "a take");
    await press(page, "Library", { back: true });
    await reads(page, "Every track that was made");
    await press(page, "Artists", { back: true });
    await counts(page, "li.take", 1);
    await page.reload();
    await counts(page, "li.take", 1);
    await page.waitForFunction(() => document.querySelector("textarea")?.value === "dark trap, 808");
  },

  /** @param {Page} page */
  "a request under way outlives a reload, and is cancelled": async (page) => {
    await page.goto(APP);
    await write(page, "Prompt", "dark trap");
    await write(page, "Length in seconds", UNDER_WAY_SECONDS);
    await press(page, "Make a take");
    await reads(page, "Being made");
    await page.reload();
    await reads(page, "Being made");
    await sound(page, "a request under way");
    await press(page, "Cancel Request 1");
    await counts(page, "li.request", 0);
  },

  /** @param {Page} page @param {string} tag */
  "a take is heard while it is made": async (page, tag) => {
    await page.goto(APP);
    await write(page, "Prompt", `heard ${tag}`);
    await write(page, "Length in seconds", "20");
    await press(page, "Strength, model");
    await (await field(page, "Model")).select("musicgen");
    await press(page, "Make a take");
    await reads(page, "Listen while it is made");
    await page.locator(".waiting button.round").click();
    await page.waitForSelector("section.player");
    await sound(page, "a take that is heard");
    // The player goes on with the whole file, which has a page of its own, as soon as the track is made.
    await page.waitForSelector("section.player a[href^='/track/']");
    await page.waitForFunction(() => document.querySelector("section.player")?.textContent?.includes("Download"));
  },
};
