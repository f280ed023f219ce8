// SPDX-License-Identifier: Apache-2.0
// The frame: header, sections, theme, and the one place that knows whether what is shown is fresh.

import { h, pill, replace } from "./dom.js";
import { duration, moment, number, setClock, clock, tick, usd } from "./format.js";
import { Live, get } from "./live.js";
import { Account } from "./account.js";
import { Accounts } from "./accounts.js";
import { Auctions } from "./auctions.js";
import { Epochs } from "./epochs.js";
import { Operations } from "./operations.js";
import { Parameters } from "./parameters.js";
import { Transactions } from "./transactions.js";

const SECTIONS = [
  ["", "Accounts", Accounts],
  ["auctions", "Auctions", Auctions],
  ["epochs", "Epochs", Epochs],
  ["parameters", "Parameters", Parameters],
  ["transactions", "Transactions", Transactions],
  ["operations", "Operations", Operations],
];
const THEMES = { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" };

const main = document.getElementById("main");
let section = null;
let busy = false;
let again = false;
let status = null;
let trouble = null;

function route() {
  const [name, argument] = location.hash.replace(/^#\/?/, "").split("/");
  section?.close?.();
  section = name === "account" ? new Account(Number(argument)) : new (SECTIONS.find(([path]) => path === name) ?? SECTIONS[0])[2]();
  trouble = null;
  tabs(name);
  replace(main, section.element);
  document.title = `${section.title} – Ballast keeper`;
  refresh();
}

function tabs(current) {
  const active = current === "account" ? "" : current;
  replace(document.getElementById("tabs"), SECTIONS.map(([path, name]) =>
    h("a", { href: `#/${path}`, "data-key": `tab ${path}`, "aria-current": path === active ? "page" : null }, name)));
  document.querySelector("#tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
}

/** Ask for header and section; while an answer is awaited, further news wait for it. */
async function refresh() {
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  const asked = section;
  try {
    status = await get("/api/status");
    setClock(status.now);
    header();
    await asked.refresh();
    trouble = null;
  } catch (error) {
    if (asked === section) trouble = error.name === "TimeoutError" ? "the keeper did not answer in time" : error.message;
  }
  busy = false;
  notices();
  if (again || asked !== section) {
    again = false;
    refresh();
  }
}

function header() {
  const view = status.view;
  const health = status.health.ok ? pill("healthy", "ok") : pill(`${status.health.failed.length} failed`, "bad", status.health.failed.join("\n"));
  const halted = Object.entries(status.halted);
  const fact = (term, ...value) => h("div", {}, h("dt", {}, term), h("dd", {}, value));
  replace(document.getElementById("facts"),
    fact("chain", `${status.network} `, h("span", { class: "soft" }, status.chain_id)),
    fact("block", view ? number(view.block) : "none yet"),
    fact("head", view ? h("span", { class: "age-of", "data-at": view.block_at }, `${duration(clock() - view.block_at)} ago`) : "–"),
    fact("last turn", view ? h("span", { class: "age-of", "data-at": view.at }, `${duration(clock() - view.at)} ago`) : "–"),
    fact("mode", pill(status.mode, status.mode === "execute" ? "info" : ""), status.shadow ? [" ", pill("shadow", "warn", "what would be published is recorded and not sent")] : null, status.role === "alone" ? null : [" ", pill(status.role, status.role === "leader" ? "info" : "")]),
    fact("health", h("a", { href: "#/operations", "data-key": "health" }, health)),
    halted.length > 0 && fact("halted", halted.map(([part, why]) => pill(part, "bad", why))));
  const prices = view?.prices?.map((item) => `${item.symbol} ${usd(item.usd)}${item.state === "fresh" ? "" : ` (${item.state})`}`).join(" · ");
  replace(document.getElementById("foot"), h("span", {}, `Ballast keeper ${status.version}, read-only`), prices ? h("span", {}, prices) : null, h("span", {}, "times in UTC, amounts in USD"));
}

/** Say loudly what is not as it should be; data that may be old are dimmed. */
function notices() {
  const said = [];
  const heard = live.heard === null ? "no data yet" : `last data ${moment(clock() - (Date.now() - live.heard) / 1000)} UTC, ${duration((Date.now() - live.heard) / 1000)} ago`;
  const lost = live.state === "lost";
  if (lost) said.push(h("p", { class: "notice bad" }, h("strong", {}, "Connection lost"), `: ${heard}. Trying again.`));
  const view = status?.view;
  const slow = view && clock() - view.at > Math.max(10, 3 * status.interval_s);
  if (!lost && slow) {
    said.push(h("p", { class: "notice warn" }, h("strong", {}, "No new turn"), `: the keeper's last turn ended ${duration(clock() - view.at)} ago, at ${moment(view.at)} UTC; what follows is of block ${number(view.block)}.`));
  }
  if (!lost && status && !view) said.push(h("p", { class: "notice warn" }, status.role === "standby" ? "This keeper is a standby: it assesses nothing until it leads." : "The first turn has not ended yet."));
  if (!lost && trouble && view) said.push(h("p", { class: "notice bad" }, h("strong", {}, "Not up to date"), `: ${trouble}`));
  for (const [part, why] of Object.entries(status?.halted ?? {})) {
    said.push(h("p", { class: "notice bad" }, h("strong", {}, `${part} is halted`), `: ${why}. `, h("code", {}, `ballast keeper resume ${part}`), " lets it run again."));
  }
  const shown = said.map((item) => item.textContent).join();
  const box = document.getElementById("notices");
  if (box.textContent !== shown) replace(box, said);
  document.body.classList.toggle("stale", lost || Boolean(slow) || Boolean(trouble));
}

function theme() {
  const stored = localStorage.getItem("theme") ?? "auto";
  if (stored === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = stored;
  document.getElementById("theme").textContent = THEMES[stored];
  window.dispatchEvent(new Event("themechange"));
}

document.getElementById("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  localStorage.setItem("theme", names[(names.indexOf(localStorage.getItem("theme") ?? "auto") + 1) % names.length]);
  theme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme);
theme();

const live = new Live(() => refresh(), () => notices());
window.addEventListener("hashchange", route);
route();
setInterval(() => {
  tick();
  for (const item of document.querySelectorAll(".age-of")) item.textContent = `${duration(clock() - Number(item.dataset.at))} ago`;
  notices();
}, 1000);
