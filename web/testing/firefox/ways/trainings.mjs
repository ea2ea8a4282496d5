// @ts-check
import assert from "node:assert/strict";
import { begin, PRODUCERS, told } from "../app.mjs";
import { press, tabTo } from "../keyboard.mjs";
import { counts, field, forgets, reads, sound } from "../page.mjs";

/** @typedef {import("puppeteer-core").Page} Page */

/** @param {Page} page @param {"running" | "trained"} state */
async function open(page, state) {
  await begin(state);
  await page.goto(`${PRODUCERS}/producer`);
  await (await field(page, "Producer id")).type("ada");
}

export const trainings = {
  /** @param {Page} page */
  "a partial version comes without a reload": async (page) => {
    await open(page, "running");
    await reads(page, "Step 20 of 40");
    await page.waitForFunction(() => document.querySelector("h2")?.textContent === "Running now");
    await counts(page, ".versions li", 1);
    await sound(page, "a training under way");
    await press(page, "Cancel");
    await reads(page, "partial: stopped at step 20 of 40");
    await counts(page, ".versions li", 2);
  },

  /** @param {Page} page */
  "a training goes on after it was cancelled": async (page) => {
    await open(page, "running");
    await reads(page, "Step 20 of 40");
    await press(page, "Cancel");
    await reads(page, "Cancelled");
    await sound(page, "a training that was cancelled");
    await press(page, "Resume");
    await page.waitForFunction(() => document.querySelector("h2")?.textContent === "Running now");
    await reads(page, "Step 20 of 40");
    assert.ok((await told()).seen.includes("POST /jobs/two/resume"));
    await sound(page, "a training that goes on");
  },

  /** @param {Page} page */
  "a report, and its training deleted": async (page) => {
    await open(page, "trained");
    await reads(page, "In use");
    await press(page, "▸ night");
    await reads(page, "On songs it never heard: +2%");
    await page.waitForSelector("figure polyline");
    await sound(page, "a report");
    await press(page, "Delete the training night");
    await reads(page, "Delete the training night?");
    await sound(page, "a question");
    await press(page, "Go back");
    await press(page, "Delete the training night", { back: true });
    await press(page, "Delete");
    await counts(page, "li.job", 0);
  },

  /** @param {Page} page */
  "a version is heard, then used; a twin is trained again and deleted": async (page) => {
    await open(page, "trained");
    await reads(page, "In use");
    await press(page, "Listen to version 22222222");
    await page.waitForSelector("audio[aria-label='Audition of version 22222222']");
    await press(page, "Use this one: version 22222222");
    await reads(page, "It is partial: its training stopped at step 20 of 40.");
    await sound(page, "a version to be used");
    await page.keyboard.press("Escape");
    await press(page, "Use this one: version 22222222", { back: true });
    await press(page, "Use this one");
    await page.waitForFunction(() => document.querySelector(".versions li")?.textContent?.includes("In use"));
    await page.waitForSelector("a[download][aria-label='Export version 22222222']");
    await press(page, "Train again: ada:night");
    await press(page, "Train again");
    await reads(page, "Waiting for its turn, number 1");
    await press(page, "Delete ada:night");
    await reads(page, "Its 2 versions are deleted for good.");
    await press(page, "Delete");
    await forgets(page, "ada:night");
  },

  /** @param {Page} page */
  "an adapter is imported": async (page) => {
    await open(page, "trained");
    await reads(page, "3.5 MB of 10 MB used.");
    await press(page, "Import a twin");
    await tabTo(page, "Files");
    await press(page, "Import");
    await page.waitForSelector("details[open] input[type=file][aria-invalid=true]");
    await sound(page, "an import without a file");
  },
};
