// @ts-check
import assert from "node:assert/strict";
import { APP, TRACK } from "../app.mjs";
import { press, tabTo, write } from "../keyboard.mjs";
import { reads, sound } from "../page.mjs";

/** @typedef {import("puppeteer-core").Page} Page */

/** Waits for another edit of this kind, and opens the newest in the player against its original. @param {Page} page @param {string} kind @param {string} prompt */
async function compared(page, kind, prompt) {
  await page.waitForFunction(
    (wanted, words) => [...document.querySelectorAll("ul[aria-label=Edits] li")].some(({ textContent: text }) => text?.includes(wanted) && text.includes(words)),
    {},
    kind,
    prompt,
  );
  await press(page, `A/B: compare with ${prompt}`);
  await page.waitForSelector("section.player button[aria-label^='A/B: B']");
}

/** Begins with the form, and chooses what to change by the arrow keys. @param {Page} page @param {number} downs */
async function choose(page, downs) {
  await page.goto(`${APP}/track/${TRACK}`);
  await page.waitForSelector("form[aria-label=Edit]");
  await tabTo(page, "A part");
  for (let count = 0; count < downs; count++) await page.keyboard.press("ArrowDown");
}

export const editing = {
  /** @param {Page} page @param {string} tag */
  "a part made anew by keyboard": async (page, tag) => {
    await choose(page, 0);
    await press(page, "Replace this part");
    await page.waitForSelector("form[aria-label=Edit] input[name=start][aria-invalid=true]:focus");
    await sound(page, "an edit that lacks a part");
    await page.keyboard.type("2");
    await write(page, "To second", "4");
    await write(page, "Prompt", `fill ${tag}`);
    await write(page, "Seed", "42");
    await press(page, "Replace this part");
    await compared(page, "Repainted part", `fill ${tag}`);
    await sound(page, "an edit beside its original");
    await press(page, "A/B: B");
    await page.waitForSelector("section.player button[aria-label^='A/B: A']");
  },

  /** @param {Page} page @param {string} tag */
  "a part that is dragged across the waveform": async (page, tag) => {
    await choose(page, 0);
    await page.waitForSelector("section.player .wave div");
    const box = await (await page.waitForSelector("section.player [role=slider]"))?.boundingBox();
    assert.ok(box);
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    await page.mouse.move(x - box.width / 10, y);
    await page.mouse.down();
    await page.mouse.move(x, y, { steps: 4 });
    await page.mouse.move(x + box.width / 10, y, { steps: 4 });
    await page.mouse.up();
    await reads(page, "Selected: 0:04 to 0:06");
    const [start, end] = await page.$$eval("input[name=start], input[name=end]", (fields) => fields.map(({ value }) => Number(value)));
    assert.ok(Math.abs((start ?? 0) - 4) < 0.3 && Math.abs((end ?? 0) - 6) < 0.3, `${start} to ${end}`);
    await sound(page, "a selected part");
    await write(page, "Prompt", `drop ${tag}`, { back: true });
    await press(page, "Replace this part");
    await compared(page, "Repainted part", `drop ${tag}`);
  },

  /** @param {Page} page @param {string} tag */
  "a longer track by keyboard": async (page, tag) => {
    await choose(page, 1);
    await write(page, "Seconds before", "2");
    await write(page, "Prompt", `intro ${tag}`);
    await press(page, "Make it longer");
    await compared(page, "Extended", `intro ${tag}`);
  },

  /** @param {Page} page @param {string} tag */
  "a cover by keyboard": async (page, tag) => {
    await choose(page, 2);
    await tabTo(page, "Follow the original");
    await page.keyboard.press("ArrowRight");
    await reads(page, "Follow the original for 75 %");
    await sound(page, "a cover");
    await write(page, "Prompt", `cover ${tag}`);
    await press(page, "Make a cover");
    await compared(page, "Cover", `cover ${tag}`);
    await page.goto(`${APP}/library?text=cover ${tag}`);
    await press(page, `cover ${tag}`);
    await reads(page, "Made from");
  },
};
