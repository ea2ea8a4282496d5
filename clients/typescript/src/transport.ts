import { ProducerTwinError, Unreachable, errorOf } from "./errors.ts";
import { RetryPolicy, isUnderWay, type Retry } from "./retry.ts";
import { sendForm, type OnProgress } from "./forms.ts";

/** Where the service is, and how the client identifies itself. */
export interface Settings {
  /** Of the service; `PRODUCER_TWIN_URL`, or http://127.0.0.1:3000, if left out. A page may give a path of its own host. */
  url?: string;
  /** An API key, or the token of a signed-in user; `PRODUCER_TWIN_API_KEY` if left out. */
  apiKey?: string;
  /** Of routes that write; `PRODUCER_TWIN_PASSWORD` if left out; most services have none. */
  password?: string;
  /** The secrets of twins that their owners share by link. */
  twinLinks?: readonly string[];
  retry?: Retry;
  /** Headers that are added to every request, such as those that a web app's own proxy wants; also to where it is redirected. */
  headers?: () => Readonly<Record<string, string>>;
  /** In place of the global `fetch`, such as one with a proxy. Of what it throws, a TypeError is a lost connection. */
  fetch?: typeof fetch;
}

/** What every method takes that only reads. */
export interface ReadOptions {
  signal?: AbortSignal | undefined;
}

/** A file of a form. */
export interface FilePart {
  field: string;
  file: Blob;
  name: string;
}

export interface Request {
  query?: Readonly<Record<string, string | null | undefined>>;
  json?: Readonly<Record<string, unknown>>;
  /** The text fields of a form, and its files. */
  form?: Readonly<Record<string, string | null | undefined>>;
  files?: readonly FilePart[];
  onProgress?: OnProgress | undefined;
  headers?: Readonly<Record<string, string>>;
  /** The twins' links are sent: the route may answer for twins of others. */
  withLinks?: boolean;
  /** The password is sent with a GET, too; the answer must not be a redirect then. */
  withPassword?: boolean;
  /** A redirect is returned as the answer; see `isRedirect`. */
  returnRedirect?: boolean;
  /** Whether the request is sent again when it may have reached the service already; true if left out. */
  repeatable?: boolean;
  signal?: AbortSignal | undefined;
}

const DEFAULT_URL = "http://127.0.0.1:3000";
type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** Sends requests: authentication, retries and errors. */
export class Transport {
  readonly url: string;
  readonly #headers: Headers;
  readonly #password: string | undefined;
  readonly #links: readonly string[];
  readonly #retry: RetryPolicy;
  readonly #added: () => Readonly<Record<string, string>>;
  readonly #fetch: typeof fetch | undefined;

  constructor(settings: Settings = {}) {
    this.url = (settings.url ?? variable("PRODUCER_TWIN_URL") ?? DEFAULT_URL).replace(/\/+$/, "");
    this.#headers = new Headers();
    const key = settings.apiKey ?? variable("PRODUCER_TWIN_API_KEY");
    if (key) this.#headers.set("authorization", `Bearer ${secret("the API key", key)}`);
    const password = settings.password ?? variable("PRODUCER_TWIN_PASSWORD");
    this.#password = password && bytesAsText(secret("the password", password));
    this.#links = settings.twinLinks ?? [];
    this.#retry = new RetryPolicy(settings.retry);
    this.#added = settings.headers ?? (() => ({}));
    this.#fetch = settings.fetch;
  }

  /** The answer as JSON. Throws ApiError, Unreachable. */
  async json<T>(method: Method, path: string, request: Request = {}): Promise<T> {
    const answer = await this.send(method, path, request);
    try {
      return (await answer.json()) as T;
    } catch (error) {
      if (request.signal?.aborted) throw error;
      throw lost(path, error);
    }
  }

  /** The answer, which is none of an error. Null fields and parameters are left out. Throws ApiError, Unreachable. */
  async send(method: Method, path: string, request: Request = {}): Promise<Response> {
    const repeatable = request.repeatable ?? true;
    for (let attempt = 1; ; ) {
      let pause: number | null;
      try {
        const answer = await this.#sendOnce(method, path, request);
        if (answer.ok || (request.returnRedirect && isRedirect(answer))) return answer;
        const error = errorOf(answer.status, answer.statusText, await answer.text(), answer.headers);
        pause = this.#retry.afterAnswer(attempt, error, repeatable);
        if (pause === null) throw error;
        if (!isUnderWay(error)) attempt++;
      } catch (error) {
        if (!(error instanceof TypeError) || request.signal?.aborted) throw error;
        pause = this.#retry.afterLostConnection(attempt, repeatable && !isTimeout(error));
        if (pause === null) throw lost(path, error);
        attempt++;
      }
      await sleep(pause, request.signal);
    }
  }

  #sendOnce(method: Method, path: string, request: Request): Promise<Response> {
    const headers = new Headers(this.#headers);
    for (const [name, value] of Object.entries({ ...this.#added(), ...request.headers })) headers.set(name, value);
    // A GET may be redirected to a bucket, which must see neither.
    const mayRedirect = method === "GET" && !request.withPassword;
    if (this.#password && !mayRedirect) headers.set("x-train-password", this.#password);
    if (this.#links.length && request.withLinks) headers.set("x-twin-link", this.#links.join(","));
    const url = this.url + path + query(request.query);
    const redirect = request.returnRedirect ? "manual" : mayRedirect ? "follow" : "error";
    const options: RequestInit = { method, headers, redirect };
    if (request.signal) options.signal = request.signal;
    const send = this.#fetch ?? fetch;
    if (request.json) {
      headers.set("content-type", "application/json");
      options.body = JSON.stringify(present(request.json));
    } else if (request.form) {
      const form = new FormData();
      for (const [name, value] of Object.entries(present(request.form))) form.append(name, String(value));
      for (const { field, file, name } of request.files ?? []) form.append(field, file, name);
      if (request.onProgress) return sendForm(send, url, options, headers, form, request.files ?? [], request.onProgress);
      options.body = form;
    }
    return send(url, options);
  }
}

/** Whether the answer is a redirect. Browsers show neither its status nor where it leads. */
export function isRedirect(answer: Response): boolean {
  return answer.type === "opaqueredirect" || (answer.status >= 300 && answer.status < 400);
}

/** The path with each `{parameter}` replaced by its encoded value. */
export function pathOf(template: string, parameters: Readonly<Record<string, string>>): string {
  return template.replace(/{(\w+)}/g, (_, name: string) => encode(parameters[name] ?? ""));
}

export function encode(value: string): string {
  return encodeURIComponent(value).replaceAll("%3A", ":").replaceAll("%40", "@");
}

/** Wait. Throws the signal's reason if it is aborted meanwhile. */
export function sleep(seconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((done, failed) => {
    const timer = setTimeout(done, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      failed(signal.reason as Error);
    });
  });
}

/** Whether Node gave up waiting for the answer, for which it would wait as long again. */
function isTimeout(error: unknown): boolean {
  const cause = error instanceof Error ? (error.cause as { code?: string } | undefined) : undefined;
  return cause?.code === "UND_ERR_HEADERS_TIMEOUT";
}

export function lost(path: string, error: unknown): Unreachable {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return new Unreachable(`${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause: error });
}

function query(parameters: Request["query"] = {}): string {
  const sent = new URLSearchParams(present(parameters) as Record<string, string>).toString();
  return sent && `?${sent}`;
}

function present(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined));
}

/** A variable of the environment, where there is one. */
function variable(name: string): string | undefined {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  return process?.env?.[name];
}

function secret(name: string, value: string): string {
  const text = value.trim(); // a file that holds a key ends with a line break
  if (/[\x00-\x1f\x7f]/.test(text)) throw new ProducerTwinError(`${name} has a control character, such as a line break`);
  return text;
}

/** Headers hold bytes: the text's UTF-8, a character each. */
function bytesAsText(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}
