// SPDX-License-Identifier: Apache-2.0
// The connection to the keeper: says when there is something new, and when it has been silent for too long.

import { setClock } from "./format.js";

const SILENT_MS = 8000;
const TIMEOUT_MS = 15000;

/** Answer of the keeper's API, or an error with a sentence. */
export async function get(path, signal) {
  const limits = [AbortSignal.timeout(TIMEOUT_MS), signal].filter(Boolean);
  const answer = await fetch(path, { signal: AbortSignal.any(limits), cache: "no-store" });
  const body = await answer.json().catch(() => ({ error: `the keeper answered ${answer.status}` }));
  if (!answer.ok) throw new Error(body.error ?? `the keeper answered ${answer.status}`);
  return body;
}

/** Follows the stream; `state` is connecting, live or lost, `heard` the time (ms) of the last sign of life. */
export class Live {
  state = "connecting";
  heard = null;
  number = null;
  #source = null;
  #onview;
  #onstate;

  constructor(onview, onstate) {
    this.#onview = onview;
    this.#onstate = onstate;
    this.#open();
    setInterval(() => this.#watch(), 1000);
    window.addEventListener("online", () => this.#open());
  }

  #open() {
    this.#source?.close();
    this.#source = new EventSource("/api/stream");
    this.#source.onmessage = (event) => this.#message(JSON.parse(event.data));
    this.#source.onerror = () => this.#set("lost");
    this.opened = Date.now();
  }

  #message(said) {
    setClock(said.now);
    this.heard = Date.now();
    const fresh = this.state !== "live" || said.number !== this.number;
    this.number = said.number ?? null;
    this.#set("live");
    if (fresh) this.#onview(said);
  }

  /** A browser may give a stream up, or keep a dead one: so we look ourselves. */
  #watch() {
    const silent = Date.now() - Math.max(this.heard ?? 0, this.opened) > SILENT_MS;
    if (silent || this.#source.readyState === EventSource.CLOSED) {
      this.#set("lost");
      this.#open();
    }
  }

  #set(state) {
    if (this.state === state) return;
    this.state = state;
    this.#onstate(state);
  }
}
