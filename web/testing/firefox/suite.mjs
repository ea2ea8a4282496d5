// @ts-check
/**
 * The main states and ways of the app in Firefox: `node --test suite.mjs`, with FIREFOX, SCHEME (light or dark), APP (the
 * app's address), SIGN_IN (that of one where users sign in), TRACK (a track of its library) and BEAT (a file of music).
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { field, launch, opened, reads, sound, tabTo, WIDTHS } from "./page.mjs";

const { FIREFOX = "", SCHEME = "light", APP = "", SIGN_IN = "", TRACK = "", BEAT = "" } = process.env;
const STATES = [
  { at: `${APP}/`, shows: "Make a track" },
  { at: `${APP}/library`, shows: "quokka" },
  { at: `${APP}/track/${TRACK}`, shows: "How it was made" },
  { at: `${APP}/producer`, shows: "Producer id" },
  { at: `${APP}/nothing`, shows: "There is no such page" },
  { at: `${SIGN_IN}/sign-in`, shows: "E-mail" },
];
/** @type {import("puppeteer-core").Browser} */
let browser;

before(async () => {
  browser = await launch(FIREFOX, SCHEME);
});
after(() => browser.close());

for (const width of WIDTHS) {
  // The first is the first page of a fresh browser.
  test(`the player by keyboard at ${width} px, ${SCHEME}`, async () => {
    const page = await opened(browser, width);
    await page.goto(`${APP}/track/${TRACK}`);
    await tabTo(page, "Play");
    await page.keyboard.press("Enter");
    await page.waitForSelector("section.player");
    // Where there is no sound device, it says so.
    await page.waitForFunction(() => {
      const bar = document.querySelector("section.player");
      return bar?.querySelector("[role=slider]")?.getAttribute("aria-valuenow") !== "0" || bar.querySelector("[role=alert]");
    });
    await sound(page, "the player");
    await tabTo(page, "Keyboard");
    await page.keyboard.press("Enter");
    await tabTo(page, "Use the keys");
    await sound(page, "the shortcuts");
    await page.keyboard.press("Escape");
    await page.browserContext().close();
  });

  test(`a button that is pressed before the page is ready at ${width} px, ${SCHEME}`, async () => {
    const page = await opened(browser, width);
    await page.goto(`${APP}/track/${TRACK}`, { waitUntil: "domcontentloaded" });
    await page.evaluate(() => document.querySelector("main button.round")?.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true })));
    await page.waitForSelector("section.player");
    await page.browserContext().close();
  });

  test(`states at ${width} px, ${SCHEME}`, async () => {
    const page = await opened(browser, width);
    for (const { at, shows } of STATES) {
      await page.goto(at);
      await reads(page, shows);
      const scheme = await page.evaluate(() => (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
      assert.equal(scheme, SCHEME);
      await sound(page, at);
    }
    await page.browserContext().close();
  });

  test(`a take by keyboard alone at ${width} px, ${SCHEME}`, async () => {
    const page = await opened(browser, width);
    await page.goto(APP);
    await reads(page, "Make a track");
    await tabTo(page, "Skip to");
    await tabTo(page, "Prompt");
    await page.keyboard.type("dark trap, 808");
    await tabTo(page, "Length in seconds");
    await page.keyboard.down("Control");
    await page.keyboard.press("a");
    await page.keyboard.up("Control");
    await page.keyboard.type("3");
    await tabTo(page, "Make a take");
    await page.keyboard.press("Enter");
    await reads(page, "Seed");
    await sound(page, "a take");
    await page.browserContext().close();
  });

  test(`a take is heard while it is made at ${width} px, ${SCHEME}`, async () => {
    const page = await opened(browser, width);
    await page.goto(APP);
    await (await field(page, "Prompt")).type(`heard ${SCHEME} ${width}`);
    const seconds = await field(page, "Length in seconds");
    await seconds.click({ count: 3 });
    await seconds.type("20");
    await page.locator("summary ::-p-text(Strength, model)").click();
    await (await field(page, "Model")).select("musicgen");
    await page.locator("button ::-p-text(Make a take)").click();
    await reads(page, "Listen while it is made");
    await page.locator(".waiting button.round").click();
    await page.waitForSelector("section.player");
    await sound(page, "a take that is heard");
    // The player goes on with the whole file, which has a page of its own, as soon as the track is made.
    await page.waitForSelector("section.player a[href^='/track/']");
    await page.waitForFunction(() => document.querySelector("section.player")?.textContent?.includes("Download"));
    await page.browserContext().close();
  });

  test(`the library at ${width} px, ${SCHEME}`, async () => {
    const page = await opened(browser, width);
    await page.goto(`${APP}/library?text=quokka`);
    await reads(page, "quokka");
    await page.locator("main li .like").click();
    await page.waitForFunction(() => document.querySelector("main li .like")?.getAttribute("aria-pressed") === "true");
    await page.locator("main li summary").click();
    await sound(page, "the menu of a track");
    await page.locator("main li .menu button ::-p-text(Rename)").click();
    await page.locator("dialog input").fill(`quokka ${SCHEME} ${width}`);
    await sound(page, "renaming");
    await page.keyboard.press("Enter");
    await reads(page, `quokka ${SCHEME} ${width}`);
    await page.locator("main li .like").click();
    await page.waitForFunction(() => document.querySelector("main li .like")?.getAttribute("aria-pressed") === "false");
    await page.browserContext().close();
  });

  test(`a twin at ${width} px, ${SCHEME}`, async () => {
    const page = await opened(browser, width);
    await page.goto(`${APP}/producer`);
    await (await field(page, "Producer id")).type(`firefox-${SCHEME}-${width}`);
    await (await field(page, "Drop your beats here")).uploadFile(BEAT);
    const tempo = await field(page, "Tempo in bpm");
    await page.waitForFunction((input) => /** @type {HTMLInputElement} */ (input).placeholder.includes("heard"), {}, tempo);
    await sound(page, "a beat");
    await (await field(page, "Name of the twin")).type("night");
    await page.locator("summary ::-p-text(How it is trained)").click();
    await (await field(page, "Steps")).type("2");
    await (await field(page, "This music is mine")).click();
    await page.locator("button ::-p-text(Start training)").click();
    await page.waitForFunction(() => /Running now|Done/.test(document.body.innerText));
    await sound(page, "a training");
    await reads(page, "Done");
    await sound(page, "a twin");
    await page.browserContext().close();
  });
}
