// @ts-check
import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { APP, BEAT } from "../app.mjs";
import { press, tabTo, write } from "../keyboard.mjs";
import { counts, field, reads, sound } from "../page.mjs";

/** @typedef {import("puppeteer-core").Page} Page */

export const twins = {
  /** @param {Page} page @param {string} tag */
  "a twin, takes with and without it, and a blend with an imported one": async (page, tag) => {
    const producer = `firefox-${tag.replace(" ", "-")}`;
    await page.goto(`${APP}/producer`);
    await write(page, "Producer id", producer);
    await (await field(page, "Drop your beats here")).uploadFile(BEAT);
    await reads(page, "bpm heard");
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

    const exported = await fetch(await page.$eval("a[download]", ({ href }) => href));
    const file = join(dirname(BEAT), `${producer}.safetensors`);
    await writeFile(file, Buffer.from(await exported.arrayBuffer()));
    await press(page, "Import a twin");
    await (await field(page, "Files")).uploadFile(file);
    await write(page, "Name", "dusk");
    await press(page, "Import");
    await reads(page, `${producer}:dusk is imported.`);
    await sound(page, "an imported twin");

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

    await (await field(page, "Blend with")).select(`${producer}:dusk`);
    await tabTo(page, `${producer}:dusk 50 %`, { back: true });
    await page.keyboard.press("ArrowLeft");
    await reads(page, `${producer}:dusk 47 %`);
    await sound(page, "a blend");
    await write(page, "Prompt", `blend ${tag}`, { back: true });
    await press(page, "Make a take");
    await reads(page, `${producer}:night 53 %, ${producer}:dusk 47 %`);
    await counts(page, "li.take", 3);
  },
};
