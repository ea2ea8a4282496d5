// @ts-check
/**
 * Where the app is: APP, in front of a real service; SIGN_IN, where users sign in; GUARDED, with PASSWORD; PRODUCERS, in front
 * of STAND_IN, a stand-in for the service (tests/web/producer/served.py). TRACK is a track of ten seconds in the library, and
 * BEAT a file of music.
 */
export const { FIREFOX = "", SCHEME = "light", APP = "", SIGN_IN = "", GUARDED = "", PASSWORD = "" } = process.env;
export const { PRODUCERS = "", STAND_IN = "", TRACK = "", BEAT = "" } = process.env;

/** The stand-in begins again. @param {"empty" | "running" | "trained"} state @param {string} held a path that is never answered */
export async function begin(state, held = "") {
  await fetch(`${STAND_IN}/stand-in/${state}?held=${held}`, { method: "PUT" });
}

/** The requests that the stand-in has had since, and those that were given up. @returns {Promise<{ seen: string[], broken: string[] }>} */
export async function told() {
  return (await fetch(`${STAND_IN}/stand-in`)).json();
}
