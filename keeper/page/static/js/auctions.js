// SPDX-License-Identifier: Apache-2.0
// Auctions that run, with their clocks, and those that are over.

import { h, panel, pill, replace, table } from "./dom.js";
import { duration, fromWad, number, percent, short, usd, when } from "./format.js";
import { get } from "./live.js";

export class Auctions {
  title = "Auctions";

  constructor() {
    this.running = h("div", {});
    this.past = h("div", {});
    this.terms = h("span", { class: "soft" });
    this.element = h("div", {}, h("h1", { class: "hidden" }, "Auctions"), panel("Running", this.terms, this.running), panel("Past", null, this.past));
  }

  async refresh() {
    const found = await get("/api/auctions");
    const s = found.settings;
    replace(this.terms, s && `discount ${number(s.start_bps / 100)} % to ${number(s.fast_bps / 100)} % in ${duration(s.fast_s)}, to ${number(s.slow_bps / 100)} % in ${duration(s.slow_s)} more`);
    replace(this.running, table({
      caption: `auctions that run at block ${number(found.block)}, amounts in USD`, rows: found.running, empty: "no auction runs",
      columns: [
        { head: "account", brief: true, cell: (row) => h("a", { href: `#/account/${row.account}`, "data-key": `account ${row.account}` }, row.account) },
        { head: "phase", cell: (row) => pill(row.phase, row.phase === "solvent" ? "info" : "bad") },
        { head: "discount", right: true, cell: (row) => (row.discount_bps === null ? "none" : `${row.estimated ? "≈ " : ""}${percent(row.discount_bps / 1e4, 2)}`) },
        { head: "clock", cell: clockBar },
        { head: "equity", right: true, cell: (row) => (row.unknown ? row.unknown : usd(fromWad(row.equity_mark))) },
        { head: "health", right: true, cell: (row) => (row.unknown ? "unknown" : h("span", { class: Number(row.mm_health) < 0 ? "negative" : null }, usd(fromWad(row.mm_health)))) },
        { head: "bids", right: true, cell: (row) => row.events.filter((e) => e.name === "BidMade" || e.name === "LegsTaken").length },
        { head: "recorded", wide: true, cell: (row) => when(row.seen_at) },
      ],
    }));
    replace(this.past, table({
      caption: "auctions that are over, the latest first, amounts in USD", rows: found.past, empty: "none yet",
      columns: [
        { head: "account", brief: true, cell: (row) => h("a", { href: `#/account/${row.account}`, "data-key": `past ${row.account} ${row.auction}` }, row.account) },
        { head: "auction", right: true, cell: (row) => row.auction },
        { head: "started", cell: (row) => moment(row.events.find((e) => e.name === "AuctionStarted")) },
        { head: "ended", cell: (row) => (row.ended ? moment(row.events.findLast((e) => e.name === "AuctionEnded")) : "its end is not in the index") },
        { head: "bids", cell: (row) => h("ul", { class: "bids" }, row.events.filter((e) => e.name === "BidMade" || e.name === "LegsTaken").map(bid)) },
        { head: "bad debt", right: true, cell: (row) => usd(row.events.reduce((sum, e) => sum + (e.lost_usd ?? 0), 0)) },
      ],
    }));
  }
}

function clockBar(row) {
  if (!row.length_s) return duration(row.elapsed_s);
  const meter = h("span", { class: "meter", role: "img", "aria-label": `${duration(row.elapsed_s)} of ${duration(row.length_s)}` }, h("span", {}));
  meter.style.setProperty("--share", Math.min(1, row.elapsed_s / row.length_s));
  return h("span", { class: "clockbar" }, meter, `${duration(row.elapsed_s)} of ${duration(row.length_s)}`);
}

function moment(event) {
  if (!event) return "";
  return h("span", {}, `block ${number(event.block)} `, event.by ? when(event.by, { ageOnly: true }) : null);
}

function bid(event) {
  const what = event.name === "LegsTaken"
    ? `account ${event.bidder} took legs, relief ${usd(event.relief_usd)}, reward ${usd(event.reward_usd)}`
    : `account ${event.bidder} took ${percent(event.fraction)} and ${event.price_usd >= 0 ? `paid ${usd(event.price_usd)}` : `was paid ${usd(-event.price_usd)}`}`;
  return h("li", {}, what, " ", short(event.tx_hash));
}
