// @ts-check
import { APP, BEAT } from "../app.mjs";
import { press, write } from "../keyboard.mjs";
import { counts, field, reads, sound } from "../page.mjs";

/** @typedef {import("puppeteer-core").Page} Page */

export const twins = {
  /** @param {Page} page @param {string} tag */
  "a twin, and takes with and without it": async (page, tag) => {
    const producer = `firefox-${tag.replace(" ", "-")}`;
    await page.goto(`${APP}/producer`);
    await write(page, "Producer id", producer);
    await (await field(page, "Drop your beats here")).uploadFile(BEAT);
    const tempo = await field(page, "Tempo in bpm");
    await page.waitForFunction((input) => /** @type {HTMLInputElement} */ (input).placeholder.includes("heard"), {}, tempo);
    await sound(page, "a beat");
    await write(page, "Name of the twin", "night");
    await press(page, "How it is trained");
    await write(page, "Steps", "2");
    await press(page, "This music is mine", { key: " " });
    await press(page, "Start training");
    await page.waitForFunction(() => /Running now|Done/.test(document.body.innerText));
    await sound(page, "a training");
    await reads(page, "Done");
    await reads(page, "In use");
    await sound(page, "a twin");
    await write(page, "Name of the twin", "night", { back: true });
    await reads(page, `This makes a new version of ${producer}:night.`);

    await press(page, "Artists", { back: true });
    await reads(page, "Make a track");
    await page.waitForSelector(`option[value="${producer}:night"]`);
    await (await field(page, "Twin")).select(`${producer}:night`);
    await write(page, "Prompt", `pair ${tag}`);
    await write(page, "Length in seconds", "2");
    await press(page, "With and without the twin");
    await counts(page, "li.take", 2);
    await press(page, "Compare with and without");
    await page.waitForSelector("section.player button[aria-label^='A/B: B, switch to Without']");
    await sound(page, "takes with and without the twin");
  },
};
