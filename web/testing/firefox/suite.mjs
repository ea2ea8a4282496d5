// @ts-check
/** The app in Firefox: `node --test suite.mjs`, with the variables of app.mjs, in one theme. */
import { after, before, test } from "node:test";
import { FIREFOX, SCHEME } from "./app.mjs";
import { launch, opened, WIDTHS } from "./page.mjs";
import { editing } from "./ways/editing.mjs";
import { forms } from "./ways/forms.mjs";
import { library } from "./ways/library.mjs";
import { making } from "./ways/making.mjs";
import { player } from "./ways/player.mjs";
import { states } from "./ways/states.mjs";
import { trainings } from "./ways/trainings.mjs";
import { twins } from "./ways/twins.mjs";
import { uploads } from "./ways/uploads.mjs";

// The player's first way is the first page of a fresh browser.
const STATES = { ...player, ...states };
const WAYS = { ...STATES, ...making, ...library, ...editing, ...forms, ...uploads, ...trainings, ...twins };
const [NARROW] = WIDTHS;

/** @type {import("puppeteer-core").Browser} */
let browser;

before(async () => {
  browser = await launch(FIREFOX, SCHEME);
});
after(() => browser.close());

for (const width of WIDTHS) {
  // All ways once in each theme and once at each width; the states in both themes at both widths.
  const ways = (SCHEME === "light") === (width === NARROW) ? WAYS : STATES;
  for (const [name, way] of Object.entries(ways)) {
    test(`${name} at ${width} px, ${SCHEME}`, async () => {
      const context = await browser.createBrowserContext();
      await way(await opened(context, width), `${SCHEME} ${width}`);
      await context.close();
    });
  }
}
