// @ts-check
/** The page by the keyboard alone. */
import assert from "node:assert/strict";

/** @typedef {import("puppeteer-core").Page} Page */

const MAX_TABS = 120;

/** Presses Tab until what has this name has the focus, if it has not; with `back` backwards. Beyond the last one lies the browser, after which headless Firefox presses no button by Enter. @param {Page} page @param {string} name */
export async function tabTo(page, name, { back = false } = {}) {
  if (back) await page.keyboard.down("Shift");
  try {
    for (let count = 0; count < MAX_TABS; count++) {
      if (await page.evaluate(isFocused, name)) return;
      await page.keyboard.press("Tab");
    }
  } finally {
    if (back) await page.keyboard.up("Shift");
  }
  assert.fail(`Tab does not reach ${name}`);
}

/** @param {string} wanted */
function isFocused(wanted) {
  const focused = /** @type {HTMLInputElement | null} */ (document.activeElement);
  const labels = [...(focused?.labels ?? [])].map(({ textContent }) => textContent);
  return [focused?.getAttribute("aria-label"), focused?.textContent, ...labels].some((each) => each?.trim().startsWith(wanted));
}

/** Goes to what has this name, and presses it. @param {Page} page @param {string} name @param {{ back?: boolean, key?: "Enter" | " " }} how */
export async function press(page, name, { back = false, key = "Enter" } = {}) {
  await tabTo(page, name, { back });
  await page.keyboard.press(key);
}

/** Goes to a field, and types over what it has. @param {Page} page @param {string} label @param {string} text @param {{ back?: boolean }} how */
export async function write(page, label, text, { back = false } = {}) {
  await tabTo(page, label, { back });
  await page.keyboard.down("Control");
  await page.keyboard.press("a");
  await page.keyboard.up("Control");
  if (text === "") await page.keyboard.press("Delete");
  else await page.keyboard.type(text);
}
