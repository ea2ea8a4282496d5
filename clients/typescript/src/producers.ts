import { pathOf, type ReadOptions, type Transport } from "./transport.ts";
import type {
  Dataset,
  ProducerChanges,
  ProducerDeleted,
  ProducerRecord,
  ProducerStorage,
  Producers as ProducerList,
  Usage,
} from "./types.ts";

/** Producers: what they have stored, their dataset, and their deletion. */
export class Producers {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Your producers, with their owner and who may generate with their twins, where the service has sign-in. */
  list({ signal }: ReadOptions = {}): Promise<ProducerList> {
    return this.#transport.json("GET", "/producers", { signal });
  }

  /** Claim a producer's id that is free, and change what is given, where the service has sign-in. */
  set(producerId: string, changes: ProducerChanges = {}): Promise<ProducerRecord> {
    const json = { ...changes };
    return this.#transport.json("PUT", pathOf("/producers/{producer_id}", { producer_id: producerId }), { json });
  }

  /** How often the producer's twins were used, by month, where the service has sign-in. */
  usage(producerId: string, { signal }: ReadOptions = {}): Promise<Usage> {
    return this.#transport.json("GET", pathOf("/producers/{producer_id}/usage", { producer_id: producerId }), { signal });
  }

  /** The storage that a producer uses, and the limit. */
  storage(producerId: string, { signal }: ReadOptions = {}): Promise<ProducerStorage> {
    return this.#transport.json("GET", pathOf("/producers/{producer_id}", { producer_id: producerId }), { signal });
  }

  /** Delete everything that is stored for a producer. */
  delete(producerId: string): Promise<ProducerDeleted> {
    const path = pathOf("/producers/{producer_id}", { producer_id: producerId });
    return this.#transport.json("DELETE", path, { repeatable: false });
  }

  /** The record of the producer's newest dataset. */
  dataset(producerId: string): Promise<Dataset> {
    return this.#transport.json("GET", pathOf("/datasets/{producer_id}", { producer_id: producerId }));
  }
}
