import { passwordHeader, refusal } from "./client";
import { Failure } from "./failure";

type Options = { password: string; signal: AbortSignal; progress: (share: number) => void };

/** Posts a form to a route of the service, and tells how much of it has gone. Throws as `answered` does. */
export function postForm(path: string, form: FormData, { password, signal, progress }: Options): Promise<unknown> {
  return new Promise((done, failed) => {
    // fetch does not tell how far an upload is.
    const request = new XMLHttpRequest();
    request.open("POST", `/api/service${path}`);
    for (const [name, value] of Object.entries(passwordHeader(password))) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => progress(event.lengthComputable ? event.loaded / event.total : 0);
    request.onerror = () => failed(new Failure("connectionBroke"));
    request.onabort = () => failed(new DOMException("the upload was removed", "AbortError"));
    request.onload = () => {
      const answer = parsed(request.responseText);
      if (request.status === 200 && answer !== null) done(answer);
      else failed(refusal(answer, responseOf(request)));
    };
    if (signal.aborted) return failed(new DOMException("the upload was removed", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** Stores an audio file. Returns its path, by which the service knows it. */
export async function upload(
  file: File,
  fields: { producer_id: string; job_id: string; filename: string },
  options: Options,
): Promise<string> {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", file);
  return ((await postForm("/uploads", form, options)) as { path: string }).path;
}

function parsed(text: string): object | null {
  try {
    const answer: unknown = JSON.parse(text);
    return typeof answer === "object" ? answer : null;
  } catch {
    return null;
  }
}

function responseOf(request: XMLHttpRequest): { status: number; headers: { get: (name: string) => string | null } } {
  return { status: request.status, headers: { get: (name) => request.getResponseHeader(name) } };
}
