// Errors, retries, secrets, events and the progress of uploads, against a server of this process.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, beforeEach, mock, test } from "node:test";
import { ApiError, JobFailed, ProducerTwin, ProducerTwinError, Unreachable } from "../dist/index.js";

let server, url;
/** What the server answers, one after the other: a function of the request and its answer. */
let answers = [];
let requests = [];

before(async () => {
  server = createServer(async (request, answer) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    requests.push({ method: request.method, url: request.url, headers: request.headers, body: Buffer.concat(parts).toString() });
    answers.length > 1 ? answers.shift()(answer) : answers[0](answer);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  url = `http://127.0.0.1:${server.address().port}`;
});
after(() => server.close());
beforeEach(() => {
  requests = [];
});

const json = (status, document, headers = {}) => (answer) =>
  answer.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(document));
const broken = (answer) => answer.destroy();
const client = (settings = {}) => new ProducerTwin({ url, retry: { attempts: 3, baseSeconds: 0.01 }, ...settings });

test("an error has the service's sentence", async () => {
  answers = [json(404, { error: "lora_id: there is no twin ada:absent" }, { "x-request-id": "r1" })];
  await assert.rejects(client().twins.get("ada:absent"), (error) => {
    assert.ok(error instanceof ApiError && error instanceof ProducerTwinError);
    assert.deepEqual([error.status, error.sentence, error.requestId], [404, "lora_id: there is no twin ada:absent", "r1"]);
    return true;
  });
});

test("it waits as long as the service asks, and not longer than allowed", async () => {
  answers = [json(503, { error: "busy" }, { "retry-after": "0" }), json(429, { error: "slow" }), json(200, { loras: [] })];
  assert.deepEqual(await client().twins.list(), []);
  assert.equal(requests.length, 3);
  answers = [json(503, { error: "busy" }, { "retry-after": "3600" })];
  await assert.rejects(client().twins.list(), { status: 503, retryAfter: 3600 });
  assert.equal(requests.length, 4);
});

test("what must not be done twice is not sent again", async () => {
  answers = [broken];
  await assert.rejects(client().twins.delete("ada:night"), Unreachable);
  assert.equal(requests.length, 1);
  await assert.rejects(client().twins.list(), Unreachable);
  assert.equal(requests.length, 4);
});

test("what makes something is sent again with the same key", async () => {
  const made = json(200, { track_id: "twins:ada:x", state: "queued" });
  const upstream = (answer) => answer.writeHead(504, { "content-type": "text/plain" }).end("upstream timed out");
  const underWay = json(409, { error: "it is not answered yet" }, { "retry-after": "0" });
  const keys = () => requests.map(({ headers }) => headers["idempotency-key"]);
  answers = [broken, upstream, ...Array(9).fill(underWay), made];
  assert.equal((await client().tracks.submit("trap")).state, "queued");
  assert.equal(requests.length, 12);
  assert.ok(keys()[0] && new Set(keys()).size === 1);
  await client().tracks.submit("trap", {}, { idempotencyKey: "mine" });
  await client().tracks.submit("trap");
  const [own, other] = keys().slice(-2);
  assert.ok(own === "mine" && other && other !== keys()[0]);
  answers = [underWay];
  await assert.rejects(client({ retry: { attempts: 1 } }).tracks.submit("trap"), { status: 409, byService: true });
});

test("an answer that the service gave up is not asked for again", async () => {
  answers = [json(504, { error: "the track was not done in time" })];
  await assert.rejects(client().generate("trap"), { status: 504 });
  assert.equal(requests.length, 1);
});

test("a page without TLS has ids, too", async (context) => {
  context.mock.getter(globalThis, "crypto", () => ({ getRandomValues: (bytes) => bytes.fill(171) }));
  answers = [json(200, { track_id: "twins:ada:x", state: "queued" })];
  await client().tracks.submit("trap");
  assert.match(requests[0].headers["idempotency-key"], /^(ab){4}-(ab){2}-(ab){2}-(ab){2}-(ab){6}$/);
});

test("a training that is sent again has the same id", async () => {
  answers = [broken, json(200, { job_id: "x", task_id: "y" })];
  await client().training.submit("ada", ["/data/uploads/ada/takes/beat.wav"]);
  const [first, second] = requests.map(({ body }) => JSON.parse(body).job_id);
  assert.ok(first && first === second);
});

test("secrets go to the service only", async () => {
  const other = createServer((request, answer) => {
    requests.push({ headers: request.headers });
    answer.end("RIFF");
  });
  await new Promise((listening) => other.listen(0, "127.0.0.1", listening));
  answers = [(answer) => answer.writeHead(307, { location: `http://localhost:${other.address().port}/bucket` }).end()];
  const secrets = { apiKey: "pt_key\n", password: "öpen", twinLinks: ["link"] };
  const studio = client({ ...secrets, retry: { attempts: 1 } });
  assert.equal(await (await studio.tracks.blob("/data/outputs/base/x.wav")).text(), "RIFF");
  assert.equal(requests[0].headers.authorization, "Bearer pt_key");
  for (const name of ["authorization", "x-train-password", "x-twin-link"]) assert.ok(!(name in requests[1].headers), name);
  await assert.rejects(studio.generate("trap"), Unreachable);
  assert.equal(requests.length, 3);
  assert.equal(Buffer.from(requests[2].headers["x-train-password"], "latin1").toString(), "öpen");
  other.close();
  assert.throws(() => client({ apiKey: "a\nb" }), /control character/);
});

test("a password is sent with what lists what others made, and to no other address", async () => {
  answers = [json(200, { tracks: [], next_cursor: null }), (answer) => answer.writeHead(302, { location: "/elsewhere" }).end()];
  const studio = client({ password: "pw", retry: { attempts: 1 } });
  assert.deepEqual((await studio.tracks.list()).tracks, []);
  assert.equal(requests[0].headers["x-train-password"], "pw");
  await assert.rejects(studio.uploads.analysis("/data/uploads/ada/takes/beat.wav"), Unreachable);
  assert.equal(requests.length, 2);
});

test("a training that takes long is waited for at the job's result", async () => {
  const later = (answer) => answer.writeHead(303, { location: "http://other.example/jobs/takes/result" }).end();
  answers = [...Array(30).fill(later), json(200, { lora_id: "ada:night" })];
  assert.equal((await client().training.train("ada", ["/data/uploads/ada/x.wav"], { job_id: "takes" })).lora_id, "ada:night");
  assert.deepEqual(requests.slice(0, 2).map(({ method, url }) => `${method} ${url}`), ["POST /train", "GET /jobs/takes/result"]);
  assert.equal(requests.length, 31);
});

test("a job is followed until it has ended, over a lost connection", async () => {
  const event = (id, record) => `id: ${id}\r\ndata: ${JSON.stringify(record)}\r\n\r\n`;
  answers = [
    (answer) => {
      answer.writeHead(200, { "content-type": "text/event-stream" });
      answer.write(`: nothing\n\n${event(1, { state: "queued" })}`);
      const [start, end] = [event(2, { state: "training", step: 4 }).slice(0, 20), event(2, { state: "training", step: 4 }).slice(20)];
      answer.write(start);
      setTimeout(() => answer.write(end, () => setTimeout(() => answer.destroy(), 20)), 20);
    },
    (answer) => answer.end(event(2, { state: "training" }) + event(3, { state: "failed", job_id: "takes", error: "no music" })),
  ];
  const states = [];
  await assert.rejects(
    client().jobs.wait("takes", ({ state }) => states.push(state)),
    (error) => error instanceof JobFailed && error.message === "job takes failed: no music",
  );
  assert.deepEqual(states, ["queued", "training", "failed"]);
  assert.equal(requests[1].headers["last-event-id"], "2");
});

test("a track that is submitted again has the same key, and waits for the answer to the first request", async () => {
  const first = json(409, { error: "idempotency-key: the first request with this key is not answered yet" }, { "retry-after": "0" });
  answers = [broken, first, json(200, { track_id: "base:x", state: "queued" })];
  assert.equal((await client().tracks.submit("trap", { takes: 2 })).track_id, "base:x");
  const [one, ...others] = requests.map(({ headers, body }) => [headers["idempotency-key"], body]);
  assert.ok(one[0] && others.length === 2);
  for (const other of others) assert.deepEqual(other, one);
  answers = [json(409, { error: "lora_id: of another backend" })];
  await assert.rejects(client().tracks.submit("trap", {}, { idempotencyKey: "mine" }), { status: 409 });
  assert.equal(requests.length, 4);
  assert.equal(requests[3].headers["idempotency-key"], "mine");
});

test("a stream that falls silent is opened anew", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    answers = [
      (answer) => answer.writeHead(200, { "content-type": "text/event-stream" }).write(`id: 1\ndata: {"state": "making"}\n\n`),
      (answer) => answer.end(`id: 2\ndata: {"state": "done"}\n\n`),
    ];
    const states = [];
    const followed = (async () => {
      for await (const { state } of client().tracks.events("base:x")) states.push(state);
    })();
    while (states.length === 0) await new Promise(setImmediate);
    mock.timers.tick(39_000);
    await new Promise(setImmediate);
    assert.equal(requests.length, 1);
    while (requests.length === 1) {
      mock.timers.tick(2000);
      await new Promise(setImmediate);
    }
    await followed;
    assert.deepEqual(states, ["making", "done"]);
  } finally {
    mock.timers.reset();
  }
});

test("the number of reconnections can be limited", async () => {
  answers = [(answer) => answer.writeHead(200, { "content-type": "text/event-stream" }).write(": nothing\n\n", () => answer.destroy())];
  const events = client().tracks.events("base:x", { reconnects: 0 });
  await assert.rejects(events.next(), Unreachable);
  assert.equal(requests.length, 1);
  answers = [(answer) => answer.end()];
  await assert.rejects(client().tracks.events("base:x", { reconnects: 0 }).next(), Unreachable);
  assert.equal(requests.length, 2);
});

test("headers are asked for at each request, and what a fetch of one's own throws passes through", async () => {
  answers = [json(200, { loras: [] }), json(418, "tea"), (answer) => answer.writeHead(200).end("<html>")];
  let count = 0;
  const studio = client({ headers: () => ({ "x-count": String(++count) }) });
  await studio.twins.list();
  await assert.rejects(studio.jobs.get("x"), (error) => error.byService === false && error.headers.get("content-type") === "application/json");
  assert.deepEqual(requests.map(({ headers }) => headers["x-count"]), ["1", "2"]);
  await assert.rejects(studio.jobs.get("x"), Unreachable);
  class Own extends Error {}
  const refusing = client({ fetch: () => Promise.reject(new Own("no")) });
  await assert.rejects(refusing.jobs.get("x"), Own);
});

test("the progress of an upload is told, and a retry begins anew", async () => {
  answers = [json(503, { error: "busy" }, { "retry-after": "0" }), json(200, { path: "/data/uploads/ada/x/beat.wav" })];
  const song = new File([new Uint8Array(300_000)], "beat, [1].wav");
  const seen = [];
  const stored = await client().uploads.upload("ada", song, { onProgress: (sent, total) => seen.push([sent, total]) });
  assert.equal(stored.path, "/data/uploads/ada/x/beat.wav");
  assert.deepEqual(seen.at(-1), [300_000, 300_000]);
  assert.equal(requests.length, 2);
  for (const { body } of requests) {
    assert.ok(body.length > 300_000 && body.includes('name="producer_id"') && body.includes("beat, [1].wav"));
  }
});

test("a request can be aborted", async () => {
  answers = [() => undefined];
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 50);
  await assert.rejects(client().generate("trap", {}, { signal: abort.signal }), { name: "AbortError" });
});
