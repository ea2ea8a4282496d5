// @ts-check
import assert from "node:assert/strict";
import { APP } from "../app.mjs";
import { press, write } from "../keyboard.mjs";
import { forgets, reads, sound } from "../page.mjs";

/** @typedef {import("puppeteer-core").Page} Page */

/** What is said of the focused field. @param {Page} page */
const described = (page) =>
  page.evaluate(() => document.getElementById(document.activeElement?.getAttribute("aria-describedby")?.split(" ").at(-1) ?? "")?.textContent);

export const forms = {
  /** @param {Page} page */
  "an invalid field in closed details": async (page) => {
    await page.goto(APP);
    await write(page, "Prompt", "dark trap");
    await press(page, "Tempo, key, lyrics");
    await write(page, "Tempo in bpm", "5");
    await press(page, "Tempo, key, lyrics", { back: true });
    await press(page, "Make a take");
    await page.waitForSelector("details[open] input[name=bpm][aria-invalid=true]:focus");
    assert.match((await described(page)) ?? "", /30/);
    await sound(page, "an invalid field");
    await page.keyboard.type("0");
    await page.waitForSelector("input[name=bpm]:not([aria-invalid=true])");
  },

  /** @param {Page} page */
  "a bad producer id": async (page) => {
    await page.goto(`${APP}/producer`);
    await write(page, "Producer id", "ada lovelace");
    await reads(page, "This is not a valid producer id.");
    await page.waitForSelector("input[aria-invalid=true]:focus");
    await reads(page, "New twin");
    await sound(page, "a bad producer id");
    await write(page, "Name of the twin", "night drive");
    await reads(page, "This cannot be the name of a twin.");
    await write(page, "Producer id", "ada", { back: true });
    await forgets(page, "This is not a valid producer id.");
  },

  /** @param {Page} page */
  "a take that failed": async (page) => {
    await page.goto(APP);
    await write(page, "Prompt", "dark trap");
    await write(page, "Length in seconds", "4000");
    await page.$eval("form", (form) => void (form.noValidate = true));
    await press(page, "Make a take");
    await reads(page, "4000 s are over");
    await page.waitForSelector("input[name=duration_seconds][aria-invalid=true]");
    await sound(page, "a take that failed");
    await Promise.all([page.waitForRequest((request) => request.url().endsWith("/generate/submit")), press(page, "Try again: Request 1")]);
    await reads(page, "4000 s are over");
    await press(page, "Remove from the list: Request 1");
    await forgets(page, "4000 s are over");
  },
};
