// SPDX-License-Identifier: Apache-2.0
// The book: how far accounts are from liquidation, and the table of them.

import { h, panel, pill, replace, table } from "./dom.js";
import { brief, fromWad, number, percent, short, usd, when } from "./format.js";
import { get } from "./live.js";

const PAGE = 50;
export const STATE_KINDS = { unknown: "unknown", liquidatable: "bad", "in doubt": "warn", "in auction": "info", "below initial": "warn", healthy: "ok" };
const kept = { sort: "mm_health", descending: false, search: "", state: "", offset: 0 };

export class Accounts {
  title = "Accounts";

  constructor() {
    this.turn = 0;
    this.asked = kept;
    this.tiles = h("div", { class: "tiles" });
    this.chart = h("div", {});
    this.rows = h("div", {});
    this.pager = h("div", { class: "pager" });
    this.search = h("input", {
      type: "search", id: "search", placeholder: "number or owner 0x…", autocomplete: "off", spellcheck: "false", value: this.asked.search,
      oninput: () => this.#later(),
    });
    this.element = h("div", {},
      h("h1", { class: "hidden" }, "Accounts"),
      this.tiles,
      panel("Distance from liquidation", h("span", { class: "soft" }, "accounts by equity over maintenance margin, after haircuts"), this.chart),
      panel("Accounts", h("label", { class: "search" }, h("span", {}, "Find account"), this.search), this.rows, this.pager));
  }

  async refresh() {
    const turn = ++this.turn; // an answer to an older question must not overwrite that to a newer one
    const { sort, descending, search, state, offset } = this.asked;
    const query = new URLSearchParams({ sort, order: descending ? "descending" : "ascending", search, state, offset, limit: PAGE });
    const [status, histogram, found] = await Promise.all([get("/api/status"), get("/api/histogram"), get(`/api/accounts?${query}`)]);
    if (turn !== this.turn) return;
    this.#tiles(status.view);
    replace(this.chart, bars(histogram));
    this.#table(found);
  }

  #ask(changes) {
    Object.assign(this.asked, { offset: 0 }, changes);
    this.refresh().catch((error) => replace(this.rows, h("p", { class: "notice bad" }, error.message)));
  }

  #later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#ask({ search: this.search.value }), 200);
  }

  #tiles(view) {
    const chosen = this.asked.state;
    const tile = (state, name, count, kind) =>
      h("button", { type: "button", class: ["tile", count > 0 && kind], "aria-pressed": chosen === state ? "true" : "false", "data-key": `tile ${state}`, onclick: () => this.#ask({ state: chosen === state ? "" : state }) },
        h("span", { class: "count" }, number(count)), h("span", { class: "name" }, name));
    replace(this.tiles,
      tile("", "all accounts", view.accounts, ""),
      Object.entries(view.states).map(([state, count]) => tile(state, state, count, STATE_KINDS[state])));
  }

  #table(found) {
    const columns = [
      { head: "account", sort: "account", brief: true, cell: (row) => h("a", { href: `#/account/${row.account}`, "data-key": `account ${row.account}` }, row.account) },
      { head: "state", sort: "state", cell: (row) => pill(row.state, STATE_KINDS[row.state], row.unknown) },
      { head: "health", right: true, sort: "mm_health", hint: "maintenance equity less maintenance margin, USD", cell: (row) => amount(row, "mm_health", true) },
      { head: "cover", right: true, sort: "cover", hint: "maintenance equity over maintenance margin; below 100 % a liquidation may start", cell: (row) => cover(row) },
      { head: "equity", right: true, sort: "equity", cell: (row) => amount(row, "equity_mark") },
      { head: "maintenance", right: true, sort: "mm", cell: (row) => amount(row, "mm") },
      { head: "initial", right: true, sort: "im", cell: (row) => amount(row, "im") },
      { head: "initial health", right: true, wide: true, sort: "im_health", cell: (row) => amount(row, "im_health", true) },
      { head: "doubt", right: true, wide: true, sort: "doubt", hint: "what old data leave open, USD", cell: (row) => amount(row, "doubt") },
      { head: "flags", wide: true, cell: (row) => row.unknown ? h("span", {}, row.unknown, " ", when(row.since, { ageOnly: true })) : row.flag_texts.join("; ") },
      { head: "owner", wide: true, cell: (row) => short(row.owner) },
    ];
    const { sort, descending } = this.asked;
    const caption = `${number(found.matching)} of ${number(found.total)} accounts at block ${number(found.block)}, amounts in USD`;
    replace(this.rows, table({
      caption, columns, rows: found.rows, empty: "no account matches",
      sorted: { key: sort, descending },
      onsort: (key) => this.#ask({ sort: key, descending: key === sort && !descending }),
      key: (row) => row.account,
      rowClass: (row) => (row.state === "unknown" ? "is-unknown" : null),
    }));
    const last = Math.min(found.offset + PAGE, found.matching);
    const step = (name, offset, off) => h("button", { type: "button", disabled: off, "data-key": name, onclick: () => this.#ask({ offset }) }, name);
    replace(this.pager, found.matching > PAGE && [
      step("first", 0, found.offset === 0),
      step("previous", Math.max(0, found.offset - PAGE), found.offset === 0),
      h("span", {}, `${number(found.offset + 1)}–${number(last)} of ${number(found.matching)}`),
      step("next", found.offset + PAGE, last >= found.matching),
    ]);
  }

  close() {
    clearTimeout(this.timer);
  }
}

function amount(row, name, judged = false) {
  if (row.unknown) return h("span", { class: "soft" }, "unknown");
  const value = fromWad(row[name]);
  return h("span", { class: judged && value < 0 ? "negative" : null }, usd(value));
}

function cover(row) {
  if (row.unknown) return h("span", { class: "soft" }, "unknown");
  const mm = fromWad(row.mm);
  if (mm <= 0) return h("span", { class: "soft" }, "no need");
  const share = fromWad(row.equity_mm) / mm;
  return h("span", { class: share < 1 ? "negative" : null }, share >= 100 ? `> ${number(99)}×` : percent(share, 1));
}

/** The histogram: a bar for each range of cover, those below the line of liquidation apart in colour. */
function bars(found) {
  const most = Math.max(1, found.no_requirement, found.unknown, ...found.bins.map((bin) => bin.accounts));
  const bar = (name, count, kind, title) => {
    const column = h("div", { class: ["bin", kind], title }, h("span", { class: "count" }, count ? brief(count) : ""), h("span", { class: "fill" }), h("span", { class: "name" }, name));
    column.style.setProperty("--share", count / most);
    return column;
  };
  const range = (bin) => (bin.low === null ? "below 0 %" : bin.high === null ? `above ${percent(bin.low, 0)}` : `${percent(bin.low, 0)} to ${percent(bin.high, 0)}`);
  const label = (bin) => (bin.low === null ? "<0" : Math.round(100 * bin.low));
  const kind = (bin) => (bin.high !== null && bin.high <= 1 ? "bad" : bin.high !== null && bin.high <= 1.1 ? "warn" : "ok");
  const said = found.bins.filter((bin) => bin.accounts).map((bin) => `${range(bin)}: ${bin.accounts}`).join("; ");
  return h("figure", { class: "histogram" },
    h("div", { class: "bars", role: "img", "aria-label": `accounts by cover: ${said || "none"}; without requirement ${found.no_requirement}; unknown ${found.unknown}` },
      bar("unknown", found.unknown, "unknown apart", `${number(found.unknown)} accounts unknown`),
      found.bins.map((bin) => bar(label(bin), bin.accounts, [kind(bin), bin.low === 1 && "line"].filter(Boolean).join(" "), `${range(bin)}: ${number(bin.accounts)} accounts, equity ${brief(bin.equity_usd)} USD`)),
      bar("none", found.no_requirement, "plain apart", `${number(found.no_requirement)} accounts without a requirement`)),
    h("figcaption", {}, "cover in %, each bar from its figure to the next; below 100 a liquidation may start"));
}

