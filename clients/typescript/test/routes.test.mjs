// The client has a method for every route of the OpenAPI document, and sends its parameters and fields.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ProducerTwin } from "../dist/index.js";

const document = JSON.parse(readFileSync(new URL("../../../web/openapi.json", import.meta.url), "utf8"));
const TWIN = "ada:night";
const PATH = "/data/outputs/twins/ada/a b.wav";
const TRACK = "twins:ada:x";
const SONG = new File(["RIFF"], "beat.wav");
const VERSION = "0f1e2d3c4b5a6978";
// The client sets these itself.
const OWN = new Set(["response", "producer_id", "upload_paths", "prompt"]);

const schemaOf = (name) => document.components.schemas[name];
const options = (name) =>
  Object.fromEntries(Object.keys(schemaOf(name).properties).filter((field) => !OWN.has(field)).map((field) => [field, "x"]));

const CALLS = [
  (client) => client.uploads.upload("ada", SONG, { job_id: "takes" }),
  (client) => client.uploads.upload("ada", SONG, { onProgress: () => undefined }),
  (client) => client.uploads.store("ada", SONG),
  (client) => client.uploads.link("ada", 10),
  (client) => client.uploads.analysis("/data/uploads/ada/takes/beat.wav"),
  (client) => client.training.train("ada", [PATH], options("TrainRequest")),
  (client) => client.training.submit("ada", [PATH], options("TrainRequest")),
  (client) => client.training.status("5f0c1e1e"),
  (client) => client.training.result("5f0c1e1e"),
  (client) => client.jobs.list({ producer_id: "ada", state: "done" }),
  (client) => client.jobs.get("takes"),
  (client) => client.jobs.delete("takes"),
  (client) => client.jobs.cancel("takes"),
  (client) => client.jobs.resume("takes"),
  (client) => client.jobs.wait("takes"),
  (client) => client.jobs.result("takes"),
  (client) => client.jobs.report("takes"),
  (client) => client.jobs.reportPage("takes"),
  (client) => client.jobs.preview("takes", "step 8.mp3"),
  (client) => client.generate("trap", options("GenerateRequest"), { requestId: "mine" }),
  (client) => client.generate("trap", options("GenerateRequest"), { source: SONG, reference: SONG, requestId: "mine" }),
  (client) => client.tracks.submit("trap", options("SubmitRequest")),
  (client) => client.tracks.submit("trap", options("SubmitRequest"), { source: SONG, reference: SONG }),
  async (client) => {
    for await (const track of client.tracks.events(TRACK)) assert.equal(track.state, "done");
  },
  (client) => client.tracks.queue("mine"),
  (client) => client.tracks.generateTakes("trap", 2),
  (client) => client.tracks.list({ lora_id: TWIN, producer_id: "ada", text: "trap", parent: TRACK, liked: true }),
  (client) => client.tracks.list({}, { cursor: "x.json", limit: 10 }),
  (client) => client.tracks.get(TRACK),
  (client) => client.tracks.change(TRACK, { title: "Night drive", liked: true }),
  (client) => client.tracks.delete(TRACK),
  (client) => client.tracks.listen(TRACK),
  (client) => client.tracks.peaks(TRACK),
  (client) => client.tracks.blob(PATH, { format: "mp3" }),
  (client) => client.twins.list({ producer_id: "ada" }),
  (client) => client.twins.get(TWIN),
  (client) => client.twins.delete(TWIN),
  (client) => client.twins.versions(TWIN),
  (client) => client.twins.rollBack(TWIN, VERSION),
  (client) => client.twins.retrain(TWIN, options("RetrainRequest")),
  (client) => client.twins.importAdapter("ada", "night", SONG, { config: SONG, backend: "ace_step" }),
  (client) => client.twins.blob(TWIN, { version: VERSION }),
  (client) => client.producers.list(),
  (client) => client.producers.set("ada", { owner: "u1", display_name: "Ada", twins: { night: "link" } }),
  (client) => client.producers.usage("ada"),
  (client) => client.producers.storage("ada"),
  (client) => client.producers.delete("ada"),
  (client) => client.producers.dataset("ada"),
  (client) => client.service.backends(),
  (client) => client.service.webhooks(),
  (client) => client.service.live(),
  (client) => client.service.ready(),
  (client) => client.service.statusPage(),
  (client) => client.service.metrics(),
];

const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => {
    const pattern = path.replace(/[.]/g, "\\.").replace(/{(\w+)}/g, (_, name) => (name === "path" ? ".+" : "[^/]+"));
    return { name: `${method.toUpperCase()} ${path}`, method: method.toUpperCase(), pattern: new RegExp(`^${pattern}$`), operation };
  }),
);

/** The route of a request; of two that fit, the one without parameters. */
function routeOf(method, path) {
  const fits = routes.filter((route) => route.method === method && route.pattern.test(path));
  return fits.find((route) => !route.name.includes("{")) ?? fits[0];
}

function fieldsOf({ operation }) {
  const names = (operation.parameters ?? []).filter((each) => each.in !== "path").map(({ name }) => name);
  for (const { schema } of Object.values(operation.requestBody?.content ?? {})) {
    for (const part of schema.allOf ?? [schema]) {
      names.push(...Object.keys((part.$ref ? schemaOf(part.$ref.split("/").at(-1)) : part).properties));
    }
  }
  return new Set(names);
}

test("every route is called, with every parameter and field", async () => {
  const sent = new Map(routes.map(({ name }) => [name, new Set()]));
  const answering = async (url, request) => {
    const { pathname, searchParams } = new URL(url);
    const route = routeOf(request.method, decodeURI(pathname));
    assert.ok(route, `there is no ${request.method} ${pathname}`);
    const fields = sent.get(route.name);
    for (const name of searchParams.keys()) fields.add(name);
    for (const name of ["x-request-id", "x-twin-link", "Idempotency-Key"]) if (request.headers.has(name)) fields.add(name);
    const body = new Response(request.body, { headers: request.headers.get("content-type") ? request.headers : undefined });
    if (request.headers.get("content-type") === "application/json") Object.keys(await body.json()).forEach((name) => fields.add(name));
    else if (request.body) for (const name of (await body.formData()).keys()) fields.add(name);
    if (route.name.endsWith("/events")) return new Response(`id: 1\ndata: {"state": "done"}\n\n`);
    const example = route.operation.responses["200"].content["application/json"]?.example;
    return new Response(example ? JSON.stringify(example) : "the content of a file");
  };
  const client = new ProducerTwin({ url: "http://service.example", twinLinks: ["secret"], fetch: answering });
  for (const call of CALLS) await call(client);
  for (const route of routes) {
    const fields = sent.get(route.name);
    const known = fieldsOf(route);
    const missing = [...known].filter((name) => !fields.has(name));
    const unknown = [...fields].filter((name) => !known.has(name));
    assert.deepEqual({ route: route.name, missing, unknown }, { route: route.name, missing: [], unknown: [] });
  }
});
