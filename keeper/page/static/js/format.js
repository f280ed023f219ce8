// SPDX-License-Identifier: Apache-2.0
// Numbers, times and names as people read them. Times are UTC; ages follow the keeper's clock, not the reader's.

import { h } from "./dom.js";

const WAD = 1e18;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
let offset = 0; // of the keeper's clock from this one, s

/** Learn the keeper's clock. */
export function setClock(now) {
  offset = now - Date.now() / 1000;
}

/** Unix time (s) by the keeper's clock. */
export function clock() {
  return Date.now() / 1000 + offset;
}

/** USD out of a wad, which may be text. */
export function fromWad(value) {
  return Number(value) / WAD;
}

/** USD with separators; cents where they are worth showing. */
export function usd(value, digits = null) {
  if (value === null || value === undefined || Number.isNaN(value)) return "unknown";
  const places = digits ?? (Math.abs(value) < 1e9 ? 2 : 0);
  const text = Math.abs(value).toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
  return (value < 0 && Number(text.replaceAll(",", "")) !== 0 ? "−" : "") + text;
}

/** A short amount for axes and tiles: 1.2k, 3.4M. */
export function brief(value) {
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  for (const [limit, unit] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (size >= limit) return `${sign}${trim((size / limit).toPrecision(3))}${unit}`;
  }
  return sign + trim(size.toPrecision(3));
}

function trim(text) {
  return text.includes("e") ? String(Number(text)) : text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/** A number with at most so many digits after the point. */
export function number(value, digits = 2) {
  if (value === null || value === undefined) return "unknown";
  return value.toLocaleString("en-US", { maximumFractionDigits: digits }).replace("-", "−");
}

/** Signed. */
export function signed(value, digits = 2) {
  return (value > 0 ? "+" : "") + number(value, digits);
}

/** A share as percent, with as many digits after the point in every row. */
export function percent(share, digits = 1) {
  if (share === null || share === undefined) return "unknown";
  const places = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return `${(100 * share).toLocaleString("en-US", places).replace("-", "−")} %`;
}

/** A duration in its two greatest units. */
export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min${s < 600 && s % 60 ? ` ${s % 60} s` : ""}`;
  if (s < 86400) return `${Math.floor(s / 3600)} h${Math.floor((s % 3600) / 60) ? ` ${Math.floor((s % 3600) / 60)} min` : ""}`;
  return `${Math.floor(s / 86400)} d${Math.floor((s % 86400) / 3600) ? ` ${Math.floor((s % 86400) / 3600)} h` : ""}`;
}

/** Clock time of a moment: `22 Nov 01:19:03`. */
export function moment(at, seconds = true) {
  const d = new Date(at * 1000);
  const two = (n) => String(n).padStart(2, "0");
  const year = d.getUTCFullYear() === new Date(clock() * 1000).getUTCFullYear() ? "" : ` ${d.getUTCFullYear()}`;
  const time = `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}${seconds ? `:${two(d.getUTCSeconds())}` : ""}`;
  return `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]}${year} ${time}`;
}

/** A day: `22 Nov 2026`. */
export function day(at) {
  const d = new Date(at * 1000);
  return `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]} ${d.getUTCFullYear()}`;
}

function age(at) {
  const passed = clock() - at;
  return passed >= -0.5 ? `${duration(passed)} ago` : `in ${duration(-passed)}`;
}

/** A moment with its age beside it, which goes on counting. */
export function when(at, { ageOnly = false, seconds = true } = {}) {
  if (at === null || at === undefined) return h("span", { class: "soft" }, "never");
  const iso = new Date(at * 1000).toISOString();
  const aged = h("span", { class: "age", "data-at": at }, age(at));
  const title = `${iso.slice(0, 19).replace("T", " ")} UTC`;
  if (ageOnly) return h("time", { datetime: iso, title }, aged);
  return h("time", { datetime: iso, title }, h("span", { class: "clock" }, moment(at, seconds)), " ", aged);
}

/** Let all ages on the page go on. */
export function tick(root = document) {
  for (const item of root.querySelectorAll(".age[data-at]")) item.textContent = age(Number(item.dataset.at));
}

/** The beginning and end of a hash or an address; the whole of it in the title. */
export function short(text) {
  if (!text) return "";
  return h("span", { class: "hash", title: text }, text.length > 14 ? `${text.slice(0, 8)}…${text.slice(-4)}` : text);
}

/** Names of instruments give their expiry as a unix time; people read days. */
export function named(text) {
  return text.replace(/expiry (\d{9,11})/g, (_, at) => day(Number(at)));
}

/** `haircut_im_bps` as `haircut im`. */
export function lane(name) {
  return name.replace(/_(bps|usd)$/, "").replaceAll("_", " ").replace(/\b(im|mm)\b/g, (m) => m.toUpperCase());
}
