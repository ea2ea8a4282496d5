import { errorOf, ProducerTwin, type ApiError } from "producer-twin";
import { linkHeader } from "./links";
import { usePassword } from "./password";

/** The service, by way of this app. Nothing is sent again by itself: the pages say what went wrong, and ask again where it helps. */
export const api = new ProducerTwin({
  url: "/api/service",
  retry: { attempts: 1 },
  headers: () => ({ ...linkHeader(), ...passwordHeader(usePassword.getState().password) }),
});

/** Headers hold bytes: the password's UTF-8. It is kept in the page's memory only. */
function passwordHeader(password: string): Record<string, string> {
  return password ? { "x-train-password": String.fromCharCode(...new TextEncoder().encode(password)) } : {};
}

/** The error in an answer of this app's own routes. */
export async function refusal(answer: Response): Promise<ApiError> {
  return errorOf(answer.status, answer.statusText, await answer.text(), answer.headers);
}

/** Where the browser finds what the service names by its path, or by its full address. */
export function here(path: string): string {
  return `/api/service${path.startsWith("/") ? path : new URL(path).pathname}`;
}

export const isAbort = (error: unknown): boolean => error instanceof DOMException && error.name === "AbortError";
