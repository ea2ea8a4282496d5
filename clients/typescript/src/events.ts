/** A server-sent event. */
export interface ServerEvent {
  id: string | null;
  data: string;
}

/** Makes events of a stream of server-sent events, which comes in pieces of any length. */
export class EventParser {
  #rest = "";
  #id: string | null = null;
  #data: string[] = [];

  /** The events that the next piece completes. */
  feed(text: string): ServerEvent[] {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?=[^])/);
    this.#rest = lines.pop() ?? "";
    const events: ServerEvent[] = [];
    for (const line of lines) {
      const [name = "", ...parts] = line.split(":");
      const value = parts.join(":").replace(/^ /, "");
      if (name === "data") this.#data.push(value);
      else if (name === "id") this.#id = value;
      else if (line === "" && this.#data.length) {
        events.push({ id: this.#id, data: this.#data.join("\n") });
        this.#data = [];
      }
    }
    return events;
  }
}
