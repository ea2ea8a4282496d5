// @ts-check
/** The app in Firefox: `node --test suite.mjs`, with the variables of app.mjs, in one theme, at both widths. */
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
const WAYS = { ...player, ...states, ...making, ...library, ...editing, ...forms, ...uploads, ...trainings, ...twins };

/** @type {import("puppeteer-core").Browser} */
let browser;

before(async () => {
  browser = await launch(FIREFOX, SCHEME);
});
after(() => browser.close());

for (const width of WIDTHS) {
  for (const [name, way] of Object.entries(WAYS)) {
    test(`${name} at ${width} px, ${SCHEME}`, async () => {
      const context = await browser.createBrowserContext();
      await way(await opened(context, width), `${SCHEME} ${width}`);
      await context.close();
    });
  }
}
