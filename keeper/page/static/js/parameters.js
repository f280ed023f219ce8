// SPDX-License-Identifier: Apache-2.0
// Risk parameters: in force, their bounds, and every change lane by lane.

import { facts, h, panel, pill, replace, table } from "./dom.js";
import { fromWad, lane, number, short, usd, when } from "./format.js";
import { get } from "./live.js";

const KINDS = { pushed: "info", executed: "info", announced: "warn", vetoed: "bad" };
const VERDICTS = { sent: "ok", approved: "info", waiting: "warn", shadow: "info" };

export class Parameters {
  title = "Parameters";

  constructor() {
    this.status = h("div", {});
    this.words = h("div", { class: "masonry" });
    this.history = h("div", { class: "changes" });
    this.batches = h("div", { class: "changes" });
    this.element = h("div", {}, h("h1", { class: "hidden" }, "Parameters"), panel("State of the parameters", null, this.status), panel("Changes", h("span", { class: "soft" }, "old → new, the latest first"), this.history), panel("Batches that this keeper built", h("span", { class: "soft" }, "with what the impact check said"), this.batches), this.words);
  }

  async refresh() {
    const found = await get("/api/parameters");
    const s = found.status;
    replace(this.status, s.unknown ? h("p", { class: "notice bad" }, s.unknown) : facts([
      ["last push", s.nonce ? `number ${s.nonce}` : "none"], ["pushed", when(s.pushed_at)], ["observed", when(s.observed_at)], ["valid until", when(s.valid_until)],
    ]));
    replace(this.history, found.history.length ? found.history.map(change) : h("p", { class: "soft" }, "none in the index yet"));
    replace(this.batches, found.batches.length ? found.batches.map(batch) : h("p", { class: "soft" }, "none yet"));
    replace(this.words, (found.words ?? []).map((word) => panel(word.name, null, values(word))));
  }
}

function shown(value, unit) {
  return value === null ? "unknown" : `${number(value)}${unit ? ` ${unit}` : ""}`;
}

function change(item) {
  const diff = item.diff.length === 0 ? h("p", { class: "soft" }, "no lane changes: it renews what is there") : lanes(item.diff, `lanes that ${item.what} ${item.number} changes`);
  return h("article", {},
    h("h3", {}, pill(item.what, KINDS[item.what]), ` ${item.what === "pushed" ? "push" : "proposal"} ${item.number} `, h("span", { class: "soft" }, `block ${number(item.block)} `, item.by ? when(item.by, { ageOnly: true }) : null, " ", short(item.tx_hash))),
    item.eta ? h("p", {}, "may be executed from ", when(item.eta)) : null, diff);
}

function batch(item) {
  const impact = item.impact;
  const said = impact
    ? `${number(impact.newly_liquidatable.length)} accounts newly liquidatable, worth ${usd(fromWad(impact.equity_wad))} USD; ${number(impact.unknown.length)} unknown; ${number(impact.cured.length)} cured`
    : "no impact check is kept";
  return h("article", {},
    h("h3", {}, pill(item.verdict, VERDICTS[item.verdict] ?? ""), ` batch ${item.nonce} `, h("span", { class: "soft" }, when(item.built_at), " ", short(item.digest))),
    h("p", {}, said, item.said ? `. ${item.said}` : null),
    item.diff.length > 0 && lanes(item.diff, `lanes that batch ${item.nonce} would change`));
}

function lanes(diff, caption) {
  return table({
    caption, hideCaption: true, rows: diff,
    columns: [
      { head: "of", cell: (line) => line.about },
      { head: "lane", cell: (line) => lane(line.lane) },
      { head: "old", right: true, cell: (line) => shown(line.old, line.unit) },
      { head: "new", right: true, cell: (line) => h("strong", {}, shown(line.new, line.unit)) },
      { head: "direction", cell: (line) => (line.tighter === null ? "" : pill(line.tighter ? "tighter" : "looser", line.tighter ? "ok" : "warn")) },
    ],
  });
}

function values(word) {
  const ramped = word.lanes.some((item) => item.in_force !== item.value);
  return table({
    caption: `stored values of ${word.name} between their bounds`, hideCaption: true, rows: word.lanes,
    columns: [
      { head: "lane", cell: (item) => lane(item.name) },
      { head: "value", right: true, cell: (item) => h("strong", {}, shown(item.value, item.unit)) },
      ramped && { head: "in force", right: true, cell: (item) => shown(item.in_force, item.unit) },
      { head: "bounds", right: true, cell: (item) => (item.low === null ? "unknown" : `${number(item.low)} – ${number(item.high)}`) },
    ].filter(Boolean),
  });
}
