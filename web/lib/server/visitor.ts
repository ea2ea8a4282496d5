import type { AsyncLocalStorage } from "node:async_hooks";
import { Problem } from "./problem";

const STORE = Symbol.for("producer-twin.visitor");

/** The address of whoever sends the request that is answered here, as server.mjs saw it. Throws Problem (500). */
export function visitor(): string {
  const store = (globalThis as { [STORE]?: AsyncLocalStorage<string> })[STORE];
  const address = store?.getStore();
  if (!address) throw new Problem(500, "this app was not started by `npm start` or `npm run dev`, which check who asks");
  return address;
}
