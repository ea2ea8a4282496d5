import type { FilePart } from "./transport.ts";

/** Is called with the bytes of the files that have been sent, and those in all. */
export type OnProgress = (sent: number, total: number) => void;

/**
 * Send a form, and tell how much of its files has gone.
 *
 * `fetch` does not tell that. A browser's XMLHttpRequest does; elsewhere the form is read through a stream that counts.
 */
export function sendForm(
  send: typeof fetch,
  url: string,
  options: RequestInit,
  headers: Headers,
  form: FormData,
  files: readonly FilePart[],
  onProgress: OnProgress,
): Promise<Response> {
  const total = files.reduce((sum, { file }) => sum + file.size, 0);
  if (typeof XMLHttpRequest !== "undefined") {
    return sendByXmlHttpRequest(url, options, headers, form, (share) => onProgress(Math.round(share * total), total));
  }
  const encoded = new Response(form);
  const type = encoded.headers.get("content-type");
  if (!encoded.body || !type) throw new TypeError("this runtime cannot encode a form");
  headers.set("content-type", type);
  let sent = 0;
  const counted = encoded.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        sent += chunk.byteLength;
        onProgress(Math.min(sent, total), total); // the form has some bytes beside the files
        controller.enqueue(chunk);
      },
    }),
  );
  const streamed: RequestInit & { duplex: "half" } = { ...options, body: counted, duplex: "half" };
  return send(url, streamed);
}

function sendByXmlHttpRequest(
  url: string,
  options: RequestInit,
  headers: Headers,
  form: FormData,
  onShare: (share: number) => void,
): Promise<Response> {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    const abort = (): void => request.abort();
    request.open(options.method ?? "POST", url);
    headers.forEach((value, name) => request.setRequestHeader(name, value));
    request.upload.onprogress = (event) => onShare(event.lengthComputable ? event.loaded / event.total : 0);
    request.onerror = () => failed(new TypeError("the connection broke"));
    request.onabort = () => failed(options.signal?.reason as Error);
    request.onload = () => {
      const answered = new Headers();
      for (const line of request.getAllResponseHeaders().trim().split("\r\n")) {
        const colon = line.indexOf(":");
        if (colon > 0) answered.append(line.slice(0, colon), line.slice(colon + 1).trim());
      }
      done(new Response(request.responseText, { status: request.status, headers: answered }));
    };
    if (options.signal?.aborted) return failed(options.signal.reason as Error);
    options.signal?.addEventListener("abort", abort);
    request.onloadend = () => options.signal?.removeEventListener("abort", abort);
    request.send(form);
  });
}
