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

/** @param {import("puppeteer-core").BrowserContext} context @param {number} width */
export async function opened(context, width) {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.setViewport({ width, height: HEIGHT });
  await page.evaluateOnNewDocument(() => {
    const found = (/** @type {any} */ (globalThis).found = /** @type {string[]} */ ([]));
    addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => found.push(`${violatedDirective}: ${blockedURI}`));
    addEventListener("error", ({ message }) => found.push(message));
  });
  return page;
}

/** Has requests to paths that end so never answered, for which the page waits a fifth as long; returns what ends that. @param {Page} page @param {string} path */
export async function hung(page, path) {
  let isHung = true;
  await page.evaluateOnNewDocument(() => {
    const { timeout } = AbortSignal;
    AbortSignal.timeout = (milliseconds) => timeout.call(AbortSignal, milliseconds / 5);
  });
  await page.setRequestInterception(true);
  page.on("request", (request) => {
    if (!isHung || !new URL(request.url()).pathname.endsWith(path)) void request.continue();
  });
  return () => void (isHung = false);
}

/** The page broke neither its policy nor its scripts; axe finds nothing, nothing is wider than the window, and the styles are there. @param {Page} page @param {string} state */
export async function sound(page, state) {
  await page.evaluate(axe);
  const [violations, overflow, isStyled, faults] = await page.evaluate(async () => {
    // @ts-expect-error axe was put into the page
    const found = await globalThis.axe.run();
    const { scrollWidth, clientWidth } = document.documentElement;
    return [
      found.violations.map((/** @type {{ id: string, nodes: { html: string }[] }} */ it) => [it.id, it.nodes.map(({ html }) => html)]),
      scrollWidth - clientWidth,
      getComputedStyle(document.body).marginTop === "0px",
      /** @type {any} */ (globalThis).found,
    ];
  });
  assert.deepEqual(violations, [], `axe, at ${state}`);
  assert.deepEqual(faults, [], `errors, at ${state}`);
  assert.ok(isStyled, `${state} has no styles`);
  assert.ok(overflow <= 0, `${state} is ${overflow} pixels wider than the window`);
}

/** Waits until a text is on the page. @param {Page} page @param {string} text */
export async function reads(page, text) {
  await page.waitForFunction((wanted) => document.body.innerText.includes(wanted), {}, text);
}

/** Waits until a text is no longer on the page. @param {Page} page @param {string} text */
export async function forgets(page, text) {
  await page.waitForFunction((wanted) => !document.body.innerText.includes(wanted), {}, text);
}

/** Waits until so many elements are there. @param {Page} page @param {string} selector @param {number} count */
export async function counts(page, selector, count) {
  await page.waitForFunction((wanted, number) => document.querySelectorAll(wanted).length === number, {}, selector, count);
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
