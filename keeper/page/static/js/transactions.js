// SPDX-License-Identifier: Apache-2.0
// The journal: every intent, its state, and each attempt to get it mined.

import { h, panel, pill, replace, table } from "./dom.js";
import { number, short, when } from "./format.js";
import { get } from "./live.js";

const PAGE = 50;
const KINDS = { intent: "", signed: "warn", sent: "warn", mined: "info", final: "ok", failed: "bad", replaced: "bad", cancelled: "" };

export class Transactions {
  title = "Transactions";

  constructor() {
    this.turn = 0;
    this.state = "";
    this.offset = 0;
    this.tiles = h("div", { class: "tiles" });
    this.rows = h("div", {});
    this.pager = h("div", { class: "pager" });
    this.element = h("div", {}, h("h1", { class: "hidden" }, "Transactions"), this.tiles, panel("Journal", h("span", { class: "soft" }, "the latest change first"), this.rows, this.pager));
  }

  async refresh() {
    const turn = ++this.turn; // an answer to an older question must not overwrite that to a newer one
    const found = await get(`/api/transactions?${new URLSearchParams({ state: this.state, offset: this.offset, limit: PAGE })}`);
    if (turn !== this.turn) return;
    const all = Object.values(found.counts).reduce((sum, count) => sum + count, 0);
    const tile = (state, name, count) => h("button", { type: "button", class: ["tile", count > 0 && KINDS[state]], "aria-pressed": this.state === state ? "true" : "false", "data-key": `tile ${state}`, onclick: () => this.#ask({ state, offset: 0 }) },
      h("span", { class: "count" }, number(count)), h("span", { class: "name" }, name));
    replace(this.tiles, tile("", "all", all), Object.entries(found.counts).map(([state, count]) => tile(state, state, count)));
    replace(this.rows, table({
      caption: `${number(found.matching)} intents`, rows: found.rows, empty: "none",
      columns: [
        { head: "what", cell: (row) => h("span", {}, row.kind.replaceAll("_", " "), " ", h("strong", {}, row.subject)) },
        { head: "state", cell: (row) => pill(row.state, KINDS[row.state]) },
        { head: "changed", cell: (row) => when(row.updated_at) },
        { head: "nonce", right: true, cell: (row) => row.nonce ?? "none" },
        { head: "block", right: true, cell: (row) => (row.block === null ? "none" : number(row.block)) },
        { head: "cost, ether", right: true, cell: (row) => cost(row.attempts) },
        { head: "attempts", cell: attempts },
        { head: "error", cell: (row) => row.error ?? "" },
      ],
    }));
    const last = Math.min(this.offset + PAGE, found.matching);
    const step = (name, offset, off) => h("button", { type: "button", disabled: off, "data-key": name, onclick: () => this.#ask({ offset }) }, name);
    replace(this.pager, found.matching > PAGE && [step("newer", Math.max(0, this.offset - PAGE), this.offset === 0), h("span", {}, `${number(this.offset + 1)}–${number(last)} of ${number(found.matching)}`), step("older", this.offset + PAGE, last >= found.matching)]);
  }

  #ask(changes) {
    Object.assign(this, changes);
    this.refresh().catch((error) => replace(this.rows, h("p", { class: "notice bad" }, error.message)));
  }
}

function attempts(row) {
  if (!row.attempts.length) return "none";
  const list = row.attempts.map((item) => h("li", {}, short(item.hash), ` nonce ${item.nonce}, at most ${number(item.max_fee_gwei, 3)} gwei${item.cancels ? ", cancels" : ""}, ${item.mined_at ? (item.succeeded ? "mined" : "reverted") : item.sent_at ? "sent" : "signed"} `, when(item.mined_at ?? item.sent_at ?? item.signed_at, { ageOnly: true })));
  return h("details", {},
    h("summary", { "data-key": `attempts ${row.id}` }, row.attempts.length), h("ul", { class: "bids" }, list));
}

function cost(attempts) {
  const spent = attempts.map((item) => item.cost_ether).filter((value) => value !== null);
  return spent.length ? spent.reduce((sum, value) => sum + value, 0).toFixed(6) : "none";
}
