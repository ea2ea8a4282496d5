// @ts-check
import assert from "node:assert/strict";
import { BEAT, begin, PRODUCERS, told } from "../app.mjs";
import { press, write } from "../keyboard.mjs";
import { counts, field, reads, sound } from "../page.mjs";

/** @typedef {import("puppeteer-core").Page} Page */

const UPLOAD = "POST /uploads";

/** @param {Page} page @param {"empty" | "running" | "trained"} state @param {string} held */
async function open(page, state, held = "") {
  await begin(state, held);
  await page.goto(`${PRODUCERS}/producer`);
  await (await field(page, "Producer id")).type("ada");
}

/** @param {Page} page @param {string[]} files */
async function choose(page, ...files) {
  const input = await field(page, "Drop your beats here");
  await input.uploadFile(...files);
}

/** How many files the stand-in has had. */
const uploaded = async () => (await told()).seen.filter((request) => request === UPLOAD).length;

export const uploads = {
  /** @param {Page} page */
  "files of one name, and one beside the box": async (page) => {
    await open(page, "empty");
    await choose(page, BEAT);
    await choose(page, BEAT);
    const isTaken = await page.evaluate(() => {
      const dropped = new DataTransfer();
      dropped.items.add(new File([new Uint8Array([1, 2, 3])], "beside.wav", { type: "audio/wav" }));
      return !document.querySelector("h1")?.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
    });
    assert.ok(isTaken);
    for (const name of ["night.wav", "night (2).wav", "beside.wav"]) await page.waitForSelector(`li.beat[aria-label="${name}"] select`);
    assert.equal(await uploaded(), 3);
    await sound(page, "three beats");
  },

  /** @param {Page} page */
  "a start without files, and another producer id": async (page) => {
    await open(page, "empty");
    await press(page, "Start training");
    await page.waitForSelector("input[type=file][aria-invalid=true]:focus");
    await sound(page, "a start without files");
    await choose(page, BEAT);
    await reads(page, "140 bpm heard");
    await write(page, "Producer id", "adam", { back: true });
    for (let tries = 0; (await uploaded()) < 2 && tries < 100; tries++) await new Promise((on) => setTimeout(on, 50));
    assert.equal(await uploaded(), 2);
    await counts(page, "li.beat", 1);
    await reads(page, "140 bpm heard");
  },

  /** @param {Page} page */
  "leaving and removing during an upload": async (page) => {
    await open(page, "empty", "/uploads");
    await choose(page, BEAT);
    await reads(page, "Uploading");
    await sound(page, "an upload");
    /** @type {string[]} */
    const asked = [];
    page.on("dialog", (dialog) => {
      asked.push(dialog.type());
      void dialog.dismiss();
    });
    await press(page, "Artists", { back: true });
    await assert.rejects(page.reload(), /rejected/);
    assert.deepEqual(asked, ["confirm", "beforeunload"]);
    assert.equal(await page.evaluate(() => location.pathname), "/producer");
    await press(page, "Remove night.wav");
    await counts(page, "li.beat", 0);
    for (let tries = 0; (await told()).broken.length === 0 && tries < 100; tries++) await new Promise((on) => setTimeout(on, 50));
    assert.deepEqual((await told()).broken, ["/uploads"]);
    await press(page, "Artists", { back: true });
    await reads(page, "Make a track");
    assert.equal(asked.length, 2);
  },
};
