// SPDX-License-Identifier: Apache-2.0
// The risk table: living pages with their smiles, and the epochs before them.

import { LineChart } from "./charts.js";
import { facts, h, panel, pill, replace, table } from "./dom.js";
import { brief, day, number, percent, short, signed, usd, when } from "./format.js";
import { get } from "./live.js";

export class Epochs {
  title = "Epochs";
  #charts = new Map();

  constructor() {
    this.pages = h("div", { class: "cards" });
    this.joint = h("div", {});
    this.history = h("div", {});
    this.element = h("div", {}, h("h1", { class: "hidden" }, "Epochs"), this.pages, panel("Joint scenarios", null, this.joint), panel("Published", null, this.history));
  }

  async refresh() {
    const found = await get("/api/epochs");
    if (found.unknown) throw new Error(found.unknown);
    for (const symbol of this.#charts.keys()) if (!found.pages.some((page) => page.symbol === symbol)) this.#drop(symbol);
    replace(this.pages, found.pages.map((page) => this.#page(page)));
    const joint = found.joint;
    replace(this.joint, joint.epoch === null ? h("p", { class: "soft" }, "none were published") : facts([
      ["epoch", joint.epoch], ["scenarios", joint.count], ["observed", when(joint.observed_at)], ["expires", when(joint.expires_at)], ["publishers", signers(joint.signers)],
    ]));
    replace(this.history, table({
      caption: "the latest publications first", rows: found.history, empty: "none in the index yet",
      columns: [
        { head: "what", cell: (row) => (row.what === "revoked" ? pill("revoked", "bad") : row.symbol ? `page of ${row.symbol}` : row.what) },
        { head: "epoch", right: true, cell: (row) => row.epoch },
        { head: "observed", cell: (row) => when(row.observed_at) },
        { head: "reference", right: true, cell: (row) => (row.reference_usd === null ? "" : usd(row.reference_usd)) },
        { head: "30-day vol", right: true, cell: (row) => (row.atm_vol_bps === null ? "" : percent(row.atm_vol_bps / 1e4)) },
        { head: "publishers", cell: (row) => (row.challenger ? h("span", {}, "challenged by ", short(row.challenger)) : signers(row.signers)) },
        { head: "block", right: true, wide: true, cell: (row) => number(row.block) },
        { head: "transaction", wide: true, cell: (row) => short(row.tx_hash) },
      ],
    }));
  }

  #page(page) {
    if (page.epoch === null) return panel(page.symbol, pill("no page", "bad"));
    const far = page.drift_steps !== null && Math.abs(page.drift_steps) > 3;
    const state = page.expired ? pill("expired", "bad") : far ? pill("distant", "warn") : pill("living", "ok");
    return panel(`${page.symbol}, epoch ${page.epoch}`, state,
      this.#smiles(page),
      facts([
        ["observed", when(page.observed_at)],
        ["expires", when(page.expires_at)],
        ["publishers", signers(page.signers)],
        ["reference", `${usd(page.reference_usd)} USD`],
        ["drift", page.drift_steps === null ? "unknown" : `${signed(page.drift_steps)} steps of ${number(page.step_percent, 3)} %`],
        ["30-day volatility", percent(page.atm_vol_bps / 1e4)],
        ["rows", `${page.rows} of ${page.rows_wanted}`],
        ["content", short(page.content_hash)],
      ]));
  }

  /** A chart is kept while its epoch lives. */
  #smiles(page) {
    if (!page.smiles) return h("p", { class: "soft" }, "the event of this page is not in the index, so its surface is not known");
    const kept = this.#charts.get(page.symbol);
    if (kept?.epoch === page.epoch) return kept.chart.element;
    this.#drop(page.symbol);
    const strikes = [...new Set(page.smiles.flatMap((smile) => smile.strikes))].sort((a, b) => a - b);
    const series = page.smiles.map((smile, k) => {
      const values = new Map(smile.strikes.map((strike, n) => [strike, smile.vols[n]]));
      return { label: day(smile.expiry), colour: `series-${k % 6}`, values: strikes.map((strike) => values.get(strike) ?? null) };
    });
    const chart = new LineChart({
      label: `Implied volatility of ${page.symbol} over strike, one line for each expiry`,
      x: { label: `strike of ${page.symbol}, USD`, values: strikes, format: brief, tip: usd },
      y: { label: "volatility", format: (value) => percent(value, 0), tip: (value) => percent(value, 1) },
      series, mark: { x: page.reference_usd, name: "reference" }, height: 220,
    });
    this.#charts.set(page.symbol, { epoch: page.epoch, chart });
    return chart.element;
  }

  #drop(symbol) {
    this.#charts.get(symbol)?.chart.close();
    this.#charts.delete(symbol);
  }

  close() {
    for (const symbol of [...this.#charts.keys()]) this.#drop(symbol);
  }
}

function signers(list) {
  if (!list) return h("span", { class: "soft" }, "unknown");
  return list.length ? list.map((one, k) => [k ? " " : "", short(one)]) : "none";
}
