// @ts-check
import assert from "node:assert/strict";
import { APP } from "../app.mjs";
import { press, tabTo, write } from "../keyboard.mjs";
import { counts, field, hung, reads, sound } from "../page.mjs";

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

  /** @param {Page} page */
  "takes side by side from an example, the best first": async (page) => {
    await page.goto(APP);
    await press(page, "chill lofi beat");
    await page.waitForFunction(() => /** @type {HTMLTextAreaElement} */ (document.activeElement).value === "chill lofi beat, guitar, mellow drums");
    await write(page, "Length in seconds", "6");
    await write(page, "Takes", "3");
    await press(page, "Tempo, key, lyrics");
    await press(page, "[Chorus]");
    await page.keyboard.type("night drive");
    await press(page, "Strength, model, reference");
    await write(page, "Guidance", "2");
    await press(page, "Make 3 takes");
    await counts(page, "li.take", 3);
    const { tracks } = await (await fetch(`${APP}/api/service/tracks?text=chill lofi beat`)).json();
    const { bpm, key, takes, options } = tracks[0];
    assert.deepEqual([bpm, key, takes.length, options.lyrics, options.guidance], [80, "F major", 3, "[Chorus]\nnight drive", 2]);
    const [card, best] = await page.evaluate(() => {
      const box = document.querySelector("li.request")?.getBoundingClientRect();
      return [box && box.top < innerHeight && box.bottom > 0, document.querySelector("li.take")?.textContent?.includes("Best")];
    });
    assert.ok(card && best);
    await sound(page, "takes side by side");
    await press(page, "Play Take 1");
    await press(page, "A/B: compare Take 2");
    await page.waitForSelector("section.player button[aria-label^='A/B: B, switch to Take 1']");
    await sound(page, "two takes compared");
  },

  /** @param {Page} page @param {string} tag */
  "a request that is never answered": async (page, tag) => {
    const answer = await hung(page, "/generate/submit");
    await page.goto(APP);
    await write(page, "Prompt", `hung ${tag}`);
    await write(page, "Length in seconds", "2");
    await press(page, "Make a take");
    await reads(page, "The music service does not answer.");
    answer();
    await press(page, "Try again: Request 1");
    await counts(page, "li.take", 1);
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
