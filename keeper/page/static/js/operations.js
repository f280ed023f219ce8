// SPDX-License-Identifier: Apache-2.0
// The keeper itself: health, alerts, jobs, endpoints, its last turns.

import { h, panel, pill, replace, table } from "./dom.js";
import { duration, number, when } from "./format.js";
import { get } from "./live.js";

const RESULTS = { ok: "ok", failed: "bad", error: "bad", halted: "bad" };
const EVENTS = { executed: "ok", error: "bad", missed: "warn", overlap: "warn" };

export class Operations {
  title = "Operations";

  constructor() {
    for (const name of ["alerts", "health", "jobs", "endpoints", "runs"]) this[name] = h("div", {});
    this.element = h("div", {}, h("h1", { class: "hidden" }, "Operations"),
      panel("Alerts", null, this.alerts),
      h("div", { class: "columns" }, panel("Health", null, this.health), panel("RPC endpoints", null, this.endpoints)),
      panel("Jobs", null, this.jobs), panel("Last turns", null, this.runs));
  }

  async refresh() {
    const [status, found] = await Promise.all([get("/api/status"), get("/api/operations")]);
    const counts = Object.entries(found.alerts.counts).sort((a, b) => b[1] - a[1]);
    replace(this.alerts,
      found.alerts.now.length ? h("ul", { class: "alerts" }, found.alerts.now.map((item) => h("li", {}, pill(item.name, "bad"), " ", item.text))) : h("p", {}, pill("none now", "ok")),
      found.alerts.told.length > 0 && table({
        caption: "alerts of late, the latest first", rows: found.alerts.told,
        columns: [
          { head: "alert", cell: (row) => pill(row.name, row.recovered_at || row.event ? "" : row.severity === "critical" ? "bad" : "warn") },
          { head: "state", cell: (row) => (row.event ? "happened" : row.recovered_at ? h("span", {}, "over ", when(row.recovered_at, { ageOnly: true })) : "lasts") },
          { head: "first", cell: (row) => when(row.first_at) },
          { head: "last", cell: (row) => when(row.last_at) },
          { head: "text", cell: (row) => row.text },
        ],
      }),
      counts.length > 0 && h("p", { class: "soft" }, "raised since the start: ", counts.map(([name, count]) => `${name} ${number(count)}`).join(", ")));
    replace(this.health, table({
      caption: "ages against their limits", hideCaption: true, rows: status.health.checks,
      columns: [
        { head: "check", cell: (row) => row.name.replaceAll("_", " ") },
        { head: "state", cell: (row) => pill(row.ok ? "ok" : "failed", row.ok ? "ok" : "bad", row.text) },
        { head: "age", right: true, cell: (row) => (row.age_s === null ? "never" : duration(row.age_s)) },
        { head: "limit", right: true, cell: (row) => (row.limit_s === null ? "" : duration(row.limit_s)) },
      ],
    }));
    replace(this.endpoints, table({
      caption: "RPC endpoints by host", hideCaption: true, rows: found.endpoints,
      columns: [
        { head: "host", cell: (row) => row.host },
        { head: "use", cell: (row) => row.use },
        { head: "state", cell: (row) => (row.trouble ? h("span", {}, pill("in trouble", "bad"), " ", row.trouble) : pill("ok", "ok")) },
        { head: "head", right: true, cell: (row) => (row.head === null ? "none seen" : number(row.head)) },
        { head: "failures", right: true, hint: "in a row", cell: (row) => number(row.failures) },
      ],
    }));
    replace(this.jobs, table({
      caption: "scheduled jobs, counted since the start", hideCaption: true, rows: found.jobs,
      columns: [
        { head: "job", cell: (row) => row.name },
        { head: "every", right: true, cell: (row) => duration(row.interval_s) },
        { head: "last run", cell: (row) => h("span", {}, when(row.last_at), " ", row.last_event && pill(row.last_event, EVENTS[row.last_event])) },
        { head: "next run", cell: (row) => (row.next_at === null ? "none planned" : when(row.next_at)) },
        ...["executed", "error", "missed", "overlap"].map((name) => ({ head: name, right: true, cell: (row) => number(row.counts[name]) })),
      ],
    }));
    replace(this.runs, table({
      caption: "the latest turns of the loop", hideCaption: true, rows: found.runs, empty: "none yet",
      columns: [
        { head: "turn", cell: (row) => row.id },
        { head: "started", cell: (row) => when(row.started_at) },
        { head: "block", right: true, cell: (row) => (row.block === null ? "none" : number(row.block)) },
        { head: "result", cell: (row) => pill(row.result ?? (row === found.runs[0] ? "under way" : "unfinished"), RESULTS[row.result] ?? (row === found.runs[0] ? "" : "warn"), row.error) },
        { head: "took", right: true, cell: (row) => (row.duration_s === null || row.duration_s === undefined ? "" : `${number(row.duration_s, 3)} s`) },
        { head: "actions", cell: (row) => row.error ?? (row.actions.length ? h("details", {}, h("summary", { "data-key": `run ${row.id}` }, row.actions.length), h("ul", { class: "bids" }, row.actions.map((text) => h("li", {}, text)))) : "none") },
      ],
    }));
  }
}
