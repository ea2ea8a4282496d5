import createClient from "openapi-fetch";
import { Failure, isReason, REASON_HEADER } from "./failure";
import { linkHeader } from "./links";
import type { components, paths } from "./schema";

/** The service, by way of this app: its types are made of the service's own OpenAPI document. */
export const service = createClient<paths>({ baseUrl: "/api/service" });
service.use({
  onRequest({ request }) {
    for (const [name, value] of Object.entries(linkHeader())) request.headers.set(name, value);
  },
});

type Schemas = components["schemas"];
export type Backend = Schemas["BackendAnswer"];
export type Twin = Schemas["LoraAnswer"];
export type Version = Schemas["VersionAnswer"];
export type Job = Schemas["JobAnswer"];
export type Stored = Schemas["ProducerAnswer"];
export type Analysis = Schemas["AnalysisAnswer"];
export type Track = Schemas["GenerateLinkAnswer"];
export type Takes = Schemas["TakesAnswer"];
export type Figures = Schemas["Figures"];
export type LibraryTrack = Schemas["TrackAnswer"];
export type Producer = Schemas["ProducerRecordAnswer"];
export type Use = Schemas["TwinUsage"];
export type Place = Schemas["QueueAnswer"];
export type GenerateRequest = Schemas["GenerateRequest"];
export type TrainRequest = Schemas["TrainRequest"];

/** An error that the service answered, in its own sentence. */
export class ServiceError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** What was answered. Throws a ServiceError or a Failure; `useWords` puts both into words. */
export async function answered<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await call.catch((reason: unknown) => {
    if (reason instanceof DOMException) throw reason;
    throw new Failure("appAway");
  });
  if (!response.ok || data === undefined) throw refusal(error, response);
  return data;
}

/** The error of an answer that is none: in the service's own words, unless the app has its own for the reason. */
export function refusal(said: unknown, { status, headers }: { status: number; headers: { get: (name: string) => string | null } }): Error {
  const reason = headers.get(REASON_HEADER);
  if (isReason(reason)) return new Failure(reason, { seconds: headers.get("retry-after") ?? "" });
  const own = sentence(said);
  return own === null ? new Failure("unexpectedStatus", { status }) : new ServiceError(own, status);
}

/** The sentence of an `{"error"}`. */
export function sentence(error: unknown): string | null {
  if (typeof error === "object" && error !== null && "error" in error && typeof error.error === "string") {
    return error.error;
  }
  return null;
}

/** Headers hold bytes: the password's UTF-8. It is kept in the page's memory only. */
export function passwordHeader(password: string): Record<string, string> {
  return password ? { "x-train-password": String.fromCharCode(...new TextEncoder().encode(password)) } : {};
}

/** Where the browser finds what the service names by its path, or by its full address. */
export function here(path: string): string {
  return `/api/service${path.startsWith("/") ? path : new URL(path).pathname}`;
}

export const words = (error: unknown): string => (error instanceof Error ? error.message : String(error));
export const isAbort = (error: unknown): boolean => error instanceof DOMException && error.name === "AbortError";
