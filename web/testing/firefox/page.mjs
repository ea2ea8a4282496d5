// @ts-check
/** Firefox by WebDriver BiDi, and what the tests ask of a page. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import puppeteer from "puppeteer-core";

/** @typedef {import("puppeteer-core").Page} Page */

export const WIDTHS = [375, 1280];
const HEIGHT = 800;
const PATIENCE_MS = 180_000; // of a training on a busy machine
const MAX_TABS = 120;
const SCHEMES = { dark: 0, light: 1 };
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** @param {string} executable @param {string} scheme */
export function launch(executable, scheme) {
  return puppeteer.launch({
    browser: "firefox",
    executablePath: executable,
    headless: true,
    extraPrefsFirefox: {
      "intl.accept_languages": "en",
      "layout.css.prefers-color-scheme.content-override": SCHEMES[/** @type {"dark" | "light"} */ (scheme)],
      "media.autoplay.default": 0,
      "accessibility.tabfocus": 7,
    },
  });
}

/** @param {import("puppeteer-core").Browser} browser @param {number} width */
export async function opened(browser, width) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.setViewport({ width, height: HEIGHT });
  return page;
}

/** axe finds nothing, nothing is wider than the window, and the styles are there. @param {Page} page @param {string} state */
export async function sound(page, state) {
  await page.evaluate(axe);
  const [violations, overflow, isStyled] = await page.evaluate(async () => {
    // @ts-expect-error axe was put into the page
    const found = await globalThis.axe.run();
    const { scrollWidth, clientWidth } = document.documentElement;
    return [
      found.violations.map((/** @type {{ id: string, nodes: { html: string }[] }} */ it) => [it.id, it.nodes.map(({ html }) => html)]),
      scrollWidth - clientWidth,
      getComputedStyle(document.body).marginTop === "0px",
    ];
  });
  assert.deepEqual(violations, [], `axe, at ${state}`);
  assert.ok(isStyled, `${state} has no styles`);
  assert.ok(overflow <= 0, `${state} is ${overflow} pixels wider than the window`);
}

/** Waits until a text is on the page. @param {Page} page @param {string} text */
export async function reads(page, text) {
  await page.waitForFunction((wanted) => document.body.innerText.includes(wanted), {}, text);
}

/** The field whose label begins so. @param {Page} page @param {string} label */
export async function field(page, label) {
  const found = await page.waitForFunction(
    (wanted) => [...document.querySelectorAll("label")].find((each) => each.textContent?.trim().startsWith(wanted))?.control,
    {},
    label,
  );
  return /** @type {import("puppeteer-core").ElementHandle<HTMLInputElement>} */ (found.asElement());
}

/** Presses Tab until what has this name has the focus. @param {Page} page @param {string} name */
export async function tabTo(page, name) {
  for (let count = 0; count < MAX_TABS; count++) {
    await page.keyboard.press("Tab");
    const found = await page.evaluate((wanted) => {
      const focused = document.activeElement;
      const labels = focused instanceof HTMLInputElement || focused instanceof HTMLTextAreaElement ? [...(focused.labels ?? [])] : [];
      const names = [focused?.getAttribute("aria-label"), focused?.textContent, ...labels.map(({ textContent }) => textContent)];
      return names.some((each) => each?.trim().startsWith(wanted));
    }, name);
    if (found) return;
  }
  assert.fail(`Tab does not reach ${name}`);
}
