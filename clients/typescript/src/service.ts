import type { ReadOptions, Transport } from "./transport.ts";
import type { Backend, Webhooks } from "./types.ts";

/** The service itself: its models, its health, its description. */
export class Service {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** The models, whether each can serve, and what a training of it takes. */
  async backends({ signal }: ReadOptions = {}): Promise<Backend[]> {
    return (await this.#transport.json<{ backends: Backend[] }>("GET", "/backends", { signal })).backends;
  }

  /** Your secret, which verifies webhooks, and the latest deliveries. */
  webhooks(): Promise<Webhooks> {
    return this.#transport.json("GET", "/webhooks");
  }

  /** Throws unless the service's process lives. */
  async live(): Promise<void> {
    await this.#transport.send("GET", "/livez");
  }

  /** Throws unless the service can make tracks now. */
  async ready(): Promise<void> {
    await this.#transport.send("GET", "/readyz");
  }

  /** The state of the service, as an HTML page. */
  async statusPage(): Promise<string> {
    return (await this.#transport.send("GET", "/status")).text();
  }

  /** The metrics, in Prometheus' format. */
  async metrics(): Promise<string> {
    return (await this.#transport.send("GET", "/metrics")).text();
  }

  /** The OpenAPI document. */
  openapi(): Promise<Record<string, unknown>> {
    return this.#transport.json("GET", "/docs.json");
  }
}
