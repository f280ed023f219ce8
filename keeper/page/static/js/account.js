// SPDX-License-Identifier: Apache-2.0
// One account: what it holds, what it needs and why, and what moves of price and volatility would do to it.

import { LineChart } from "./charts.js";
import { facts, h, panel, pill, replace, table } from "./dom.js";
import { brief, day, fromWad, named, number, percent, short, signed, usd, when } from "./format.js";
import { get } from "./live.js";
import { STATE_KINDS } from "./accounts.js";
import { Surface } from "./surface.js";

const VOLATILITY = ["volatility down", "volatility unchanged", "volatility up"];

export class Account {
  constructor(number_) {
    this.number = number_;
    this.title = `Account ${number_}`;
    this.head = h("div", {});
    this.value = h("div", { class: "value" });
    this.rest = h("div", {});
    this.advice = h("div", {});
    this.chooser = h("div", { class: "chooser" });
    this.element = h("div", {}, this.head,
      panel("Value over price and volatility", this.chooser, this.value), this.rest,
      panel("What would lower the margin", null, this.advice));
    replace(this.advice, this.#askButton());
  }

  async refresh() {
    const found = await get(`/api/accounts/${this.number}`);
    this.#heading(found);
    if (found.unknown) {
      replace(this.value, h("p", { class: "notice bad" }, `This account cannot be judged: ${found.unknown}.`));
      replace(this.rest);
      return;
    }
    this.#details(found);
    const known = found.underlyings.map((item) => item.id);
    if (!known.includes(this.underlying)) this.underlying = this.#riskiest(found);
    this.#choose(found.underlyings);
    await this.#surface();
  }

  /** The underlying with the greatest scan is shown first. */
  #riskiest(found) {
    const scans = found.assessment.scans.map(Number);
    return found.underlyings[scans.indexOf(Math.max(...scans))]?.id;
  }

  #choose(underlyings) {
    replace(this.chooser, underlyings.length > 1 && underlyings.map((item) =>
      h("button", { type: "button", "aria-pressed": item.id === this.underlying ? "true" : "false", "data-key": `underlying ${item.id}`, onclick: () => { this.underlying = item.id; this.#choose(underlyings); this.#surface(); } }, item.symbol)));
  }

  #heading(found) {
    const result = found.assessment;
    const mm = result && fromWad(result.mm);
    const health = (value) => h("span", { class: value < 0 ? "negative" : null }, usd(value));
    replace(this.head,
      h("div", { class: "heading" },
        h("h1", {}, `Account ${found.account} `, pill(found.state, STATE_KINDS[found.state])),
        h("p", { class: "soft" }, "owner ", found.owner ? short(found.owner) : "unknown", ` · block ${number(found.block)}`,
          found.auction ? ` · auction ${found.auction.epoch}, ${found.auction.phase} phase` : "")),
      found.status && h("p", { class: "lead" }, found.status),
      result && facts([
        ["equity", usd(fromWad(result.equity_mark))],
        ["maintenance margin", usd(mm)],
        ["maintenance health", health(fromWad(result.mm_health))],
        ["cover", mm > 0 ? percent(fromWad(result.equity_mm) / mm) : "no need"],
        ["initial margin", usd(fromWad(result.im))],
        ["initial health", health(fromWad(result.im_health))],
        ["cash", usd(fromWad(found.cash))],
        fromWad(result.doubt) > 0 && ["in doubt", usd(fromWad(result.doubt))],
      ], "figures"));
  }

  async #surface() {
    if (this.underlying === undefined) {
      replace(this.value, h("p", { class: "soft" }, "This account holds nothing whose price could move."));
      return;
    }
    const wanted = this.underlying;
    const found = await get(`/api/accounts/${this.number}/surface?underlying=${wanted}`);
    if (wanted !== this.underlying) return; // another was chosen meanwhile
    const turned = this.plot?.turned;
    this.#closePlots();
    this.lines = lines(found);
    this.plot = new Surface(found);
    if (turned) this.plot.turned = turned;
    replace(this.value,
      h("p", {}, crossing(found)),
      h("div", { class: "plots" }, this.lines.element, this.plot.element),
      h("details", {}, h("summary", { "data-key": "scan" }, `the 27 scan points of ${found.symbol}: what margin looks at`), scan(found)));
  }

  #details(found) {
    const legs = table({
      caption: "Legs, marks and values in USD", hideCaption: true, empty: "no positions", rows: found.legs,
      columns: [
        { head: "position", cell: (leg) => `${leg.symbol} ${leg.strike_usd === null ? "" : `${number(leg.strike_usd)} `}${leg.kind}` },
        { head: "units", right: true, cell: (leg) => h("span", { class: leg.units < 0 ? "negative" : null }, signed(leg.units, 6)) },
        { head: "expiry", cell: (leg) => (leg.expiry ? h("span", {}, day(leg.expiry), " ", when(leg.expiry, { ageOnly: true })) : "none") },
        { head: "mark", right: true, cell: (leg) => usd(leg.mark_usd) },
        { head: "value", right: true, cell: (leg) => usd(leg.value_usd) },
      ],
    });
    const collateral = table({
      caption: "Collateral in USD", hideCaption: true, empty: "no collateral but cash", rows: found.collateral,
      columns: [
        { head: "asset", cell: (line) => line.name.replace(/^collateral /, "") },
        { head: "value", right: true, cell: (line) => usd(fromWad(line.value_wad)) },
        { head: "counts, initial", right: true, cell: (line) => usd(fromWad(line.counted_im_wad)) },
        { head: "counts, maintenance", right: true, cell: (line) => usd(fromWad(line.counted_mm_wad)) },
      ],
    });
    const parts = table({
      caption: `profit under the moves that decide: ${found.binding}`, empty: "nothing is at risk", rows: found.contributions,
      columns: [
        { head: "position", cell: (part) => named(part.name) },
        { head: "profit", right: true, cell: (part) => h("span", { class: fromWad(part.profit_wad) < 0 ? "negative" : null }, usd(fromWad(part.profit_wad))) },
      ],
    });
    const told = [...found.worst, ...found.data, ...found.flags].map((text) => h("li", {}, named(text)));
    replace(this.rest,
      h("div", { class: "columns" }, panel("Legs", null, legs), panel("Collateral", null, collateral)),
      panel("Why the margin is what it is", null, h("div", { class: "columns" }, parts, h("ul", { class: "reasons" }, told))));
  }

  #askButton() {
    return h("p", {}, h("button", { type: "button", "data-key": "advice", onclick: () => this.#advise() }, "Search trades and collateral"),
      h("span", { class: "soft" }, " tries every listed instrument against this account; takes a moment"));
  }

  async #advise() {
    replace(this.advice, h("p", { class: "soft" }, "searching…"));
    try {
      const found = await get(`/api/accounts/${this.number}/advice`);
      const list = (title, items, empty) => h("div", {}, h("h3", {}, title), h("ul", { class: "reasons" }, (items.length ? items : [empty]).map((text) => h("li", {}, named(text)))));
      replace(this.advice, h("p", { class: "soft" }, `found for block ${number(found.block)}`), h("div", { class: "columns" },
        list("Trades that free the most initial margin", found.trades, "none frees any"),
        h("div", {}, list("Collateral that can leave, cheapest first", found.withdrawals, "nothing is held"), list("Swaps of collateral, best first", found.swaps, "no collateral but cash is held"))), this.#askButton());
    } catch (error) {
      replace(this.advice, h("p", { class: "notice bad" }, error.message), this.#askButton());
    }
  }

  #closePlots() {
    this.lines?.close();
    this.plot?.close();
  }

  close() {
    this.#closePlots();
  }
}

function crossing(found) {
  const moves = found.crossings.map((price) => `${usd(price)} (${signed(100 * (price / found.price_now - 1), 2)} %)`);
  const now = `${found.symbol} is at ${usd(found.price_now)} USD. `;
  return moves.length
    ? `${now}With all else unchanged, equity meets the maintenance line at ${moves.join(" and ")}.`
    : `${now}Equity does not meet the maintenance line within the scan range of ±${number(found.scan.range_bps / 100)} %.`;
}

function lines(found) {
  const colours = ["vol-down", "vol-same", "vol-up"];
  const equity = found.equity.map((values, v) => ({ label: `equity, ${VOLATILITY[v]}`, colour: colours[v], width: v === 1 ? 2.5 : 1.5, values }));
  const middle = found.prices.findIndex((price) => price >= found.price_now);
  return new LineChart({
    label: `Equity of account ${found.account} over the price of ${found.symbol}`,
    x: { label: `price of ${found.symbol}, USD`, values: found.prices, format: brief, tip: (value) => `${usd(value)} (${signed(100 * (value / found.price_now - 1), 1)} %)` },
    y: { label: "USD", format: brief, tip: (value) => usd(value, 0) },
    series: [...equity,
      { label: "needed for maintenance, with haircuts", colour: "need-mm", dash: [6, 4], values: found.need_mm },
      { label: "needed for initial, with haircuts", colour: "need-im", dash: [2, 4], values: found.need_im }],
    mark: { x: found.price_now, y: found.equity[1][middle], name: "today" },
    height: 330,
  });
}

/** Profits at the 27 points as a table; the worst is marked. */
function scan(found) {
  const { profit_usd: profits, range_bps: range, worst } = found.scan;
  const widest = Math.max(...profits.flat().map(Math.abs), 1e-9);
  const moves = profits[0].map((_, n) => `${signed(((n - 4) * range) / 400, 1)} %`);
  const cell = (value, at) => {
    const made = h("td", { class: ["number", "heat", value < 0 ? "loss" : "gain", at === worst && "worst"], title: usd(value) }, brief(value));
    made.style.setProperty("--heat", Math.sqrt(Math.abs(value) / widest));
    return made;
  };
  return h("div", { class: "scroll" }, h("table", { class: "scan" },
    h("caption", {}, "profit in USD by move of price and volatility; the worst is outlined"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "volatility"), moves.map((move) => h("th", { scope: "col", class: "number" }, move)))),
    h("tbody", {}, profits.map((line, v) => h("tr", {}, h("th", { scope: "row" }, VOLATILITY[v].replace("volatility ", "")), line.map((value, n) => cell(value, 9 * v + n)))))));
}
