// @ts-check
import { APP } from "../app.mjs";
import { press, tabTo } from "../keyboard.mjs";
import { reads, sound } from "../page.mjs";

/** @typedef {import("puppeteer-core").Page} Page */

/** Chooses an action of the first track's menu. @param {Page} page @param {string} action */
async function choose(page, action) {
  await press(page, "More about");
  await press(page, action);
}

/** Likes the first track, or no longer. @param {Page} page */
async function like(page) {
  await tabTo(page, "Like quokka");
  const wanted = await page.evaluate(() => String(document.activeElement?.getAttribute("aria-pressed") === "false"));
  await page.keyboard.press("Enter");
  await page.waitForSelector(`main li .like[aria-pressed=${wanted}]`);
}

export const library = {
  /** @param {Page} page @param {string} tag */
  "the library by keyboard": async (page, tag) => {
    await page.goto(`${APP}/library?text=quokka`);
    await reads(page, "quokka");
    await like(page);
    await press(page, "More about");
    await tabTo(page, "Rename");
    await sound(page, "the menu of a track");
    await page.keyboard.press("Enter");
    await page.locator("dialog input").fill(`quokka ${tag}`);
    await sound(page, "renaming");
    await page.keyboard.press("Enter");
    await reads(page, `quokka ${tag}`);
    await choose(page, "Copy link");
    await reads(page, "Link copied");
    await choose(page, "Delete");
    await reads(page, "will be deleted for good");
    await sound(page, "deleting");
    await press(page, "Cancel");
    await like(page);
  },

  /** @param {Page} page @param {string} tag */
  "a track is deleted": async (page, tag) => {
    const body = JSON.stringify({ prompt: `gone ${tag}`, duration_seconds: 1, response: "url" });
    await fetch(`${APP}/api/service/generate`, { method: "POST", headers: { "content-type": "application/json" }, body });
    await page.goto(`${APP}/library?text=gone ${tag}`);
    await reads(page, `gone ${tag}`);
    await choose(page, "Delete");
    await reads(page, "will be deleted for good");
    await press(page, "Delete");
    await reads(page, "No track matches.");
    await sound(page, "no track");
  },
};
