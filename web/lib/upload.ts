import { passwordHeader, sentence } from "./client";

/** Sends a file as a form, and tells how much of it has gone. Throws an Error with the service's own sentence. */
export function upload(
  file: File,
  fields: { producer_id: string; job_id: string; filename: string },
  password: string,
  progress: (share: number) => void,
): Promise<string> {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", file);
  return new Promise((done, failed) => {
    // fetch does not tell how far an upload is.
    const request = new XMLHttpRequest();
    request.open("POST", "/api/service/uploads");
    for (const [name, value] of Object.entries(passwordHeader(password))) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => progress(event.lengthComputable ? event.loaded / event.total : 0);
    request.onerror = () => failed(new Error("the connection broke; try again"));
    request.onload = () => {
      let answer: unknown = null;
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        // Whatever it is, it is no answer of the service.
      }
      if (request.status === 200 && typeof answer === "object" && answer !== null && "path" in answer) {
        done(String(answer.path));
      } else {
        failed(new Error(sentence(answer) ?? `the upload was answered with ${request.status}`));
      }
    };
    request.send(form);
  });
}
