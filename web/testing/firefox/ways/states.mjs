// @ts-check
import assert from "node:assert/strict";
import { APP, GUARDED, PASSWORD, SCHEME, SIGN_IN, TRACK } from "../app.mjs";
import { press, write } from "../keyboard.mjs";
import { field, forgets, hung, opened, reads, sound } from "../page.mjs";

/** @typedef {import("puppeteer-core").Page} Page */

const PAGES = [
  { at: `${APP}/`, shows: "Make a track", current: "Artists" },
  { at: `${APP}/library`, shows: "quokka", current: "Library" },
  { at: `${APP}/track/${TRACK}`, shows: "How it was made", current: undefined },
  { at: `${APP}/producer`, shows: "Producer id", current: "Producers" },
  { at: `${APP}/nothing`, shows: "There is no such page", current: undefined },
  { at: `${SIGN_IN}/sign-in`, shows: "E-mail", current: undefined },
];
const LISTS = [
  { at: `${APP}/`, route: "loras", field: null },
  { at: `${APP}/library`, route: "tracks", field: null },
  { at: `${APP}/producer`, route: "jobs", field: "Producer id" },
];

export const states = {
  /** @param {Page} page */
  pages: async (page) => {
    for (const { at, shows, current } of PAGES) {
      await page.goto(at);
      await reads(page, shows);
      const [scheme, marked] = await page.evaluate(() => [
        matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light",
        document.querySelector("nav [aria-current=page]")?.textContent,
      ]);
      assert.deepEqual([scheme, marked], [SCHEME, current]);
      await sound(page, at);
    }
  },

  /** @param {Page} page */
  "another language": async (page) => {
    await page.goto(`${APP}/producer`);
    await page.select("header select", "de");
    await page.waitForSelector("html[lang=de]");
    await sound(page, "German");
  },

  /** @param {Page} page */
  "lists come when the service is back": async (page) => {
    let isAway = true;
    const context = page.browserContext();
    const width = page.viewport()?.width ?? 0;
    await Promise.all(
      LISTS.map(async ({ at, route, field: label }) => {
        const other = await opened(context, width);
        await other.setRequestInterception(true);
        other.on("request", (request) => {
          const isMeant = new URL(request.url()).pathname.endsWith(`/api/service/${route}`);
          void (isAway && isMeant ? request.abort() : request.continue());
        });
        await other.goto(at);
        if (label) await (await field(other, label)).type("ada");
        await reads(other, "does not answer");
      }),
    );
    isAway = false;
    for (const other of (await context.pages()).slice(1)) {
      await forgets(other, "does not answer");
      await sound(other, "a list that came late");
    }
  },

  /** @param {Page} page */
  "a service that hangs": async (page) => {
    const answer = await hung(page, "/api/service/tracks");
    await page.goto(`${APP}/library`);
    await reads(page, "does not answer");
    answer();
    await forgets(page, "does not answer");
    await reads(page, "quokka");
  },

  /** @param {Page} page */
  "the library asks for the password": async (page) => {
    await page.goto(`${GUARDED}/library`);
    await reads(page, "This app asks for its password");
    await write(page, "Password", "wrong");
    await press(page, "Continue");
    await reads(page, "This password is wrong.");
    await sound(page, "a wrong password");
    await write(page, "Password", PASSWORD); // it has the focus
    await press(page, "Continue");
    await reads(page, "quokka");
  },
};
