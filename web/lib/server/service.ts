import { ApiError, ProducerTwin } from "producer-twin";
import { serviceRoot } from "./addresses";
import { Problem } from "./problem";
import { send } from "./upstream";

/** The service as this request's visitor may use it; null where only its three routes are known. Its methods throw ApiError and Problem. */
export function service(): ProducerTwin | null {
  const root = serviceRoot();
  // `send` identifies the visitor; the client's own variables are for scripts.
  return root === null ? null : new ProducerTwin({ url: root, apiKey: "", password: "", retry: { attempts: 1 }, fetch: asVisitor });
}

const asVisitor = ((url: string, init: Parameters<typeof send>[1]) => send(url, init)) as unknown as typeof fetch;

/** The error of a method of `service`, as this app answers it. */
export function problemOf(error: unknown): unknown {
  return error instanceof ApiError ? new Problem(error.status, error.sentence) : error;
}
