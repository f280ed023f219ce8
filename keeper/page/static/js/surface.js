// SPDX-License-Identifier: Apache-2.0
// Equity over price and volatility as a surface: turned by dragging or with the arrow keys.

import { colour } from "./charts.js";
import { h } from "./dom.js";
import { brief, usd } from "./format.js";

const LEVELS = 9; // of volatility, between down and up; margin takes them as straight lines
const TURN = 0.12;
const SIZE = { width: 1.25, depth: 1.0, height: 0.8 };
const ROOM = { left: 46, right: 46, top: 14, bottom: 40 }; // for the names of the axes, pixels

/** `found` is the answer of the surface API. */
export class Surface {
  constructor(found) {
    this.#found = found;
    this.#mesh = mesh(found);
    this.#canvas = h("canvas", { tabindex: "0", role: "img", "aria-label": words(found), "data-key": "surface" });
    this.#turned = { yaw: 0.55, pitch: 0.4 };
    this.#listen();
    this.element = h("div", { class: "surface" }, this.#canvas,
      h("p", { class: "key" },
        h("span", { class: "swatch above" }), "above maintenance ", h("span", { class: "swatch under" }), "below it; drag or use the arrow keys to turn"));
    this.#observer = new ResizeObserver(() => this.#draw());
    this.#observer.observe(this.#canvas);
    this.#redraw = () => this.#draw();
    window.addEventListener("themechange", this.#redraw);
  }

  #found;
  #mesh;
  #canvas;
  #turned;
  #observer;
  #redraw;

  /** How it is turned, to keep that when new data come. */
  get turned() {
    return this.#turned;
  }

  set turned(value) {
    this.#turned = value;
    this.#draw();
  }

  close() {
    this.#observer.disconnect();
    window.removeEventListener("themechange", this.#redraw);
  }

  #listen() {
    let last = null;
    const canvas = this.#canvas;
    canvas.addEventListener("pointerdown", (event) => {
      last = [event.clientX, event.clientY];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      this.#turn((event.clientX - last[0]) / 150, (event.clientY - last[1]) / 200);
      last = [event.clientX, event.clientY];
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { last = null; });
    canvas.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [-TURN, 0], ArrowRight: [TURN, 0], ArrowUp: [0, -TURN], ArrowDown: [0, TURN] }[event.key];
      if (!by) return;
      event.preventDefault();
      this.#turn(...by);
    });
  }

  #turn(yaw, pitch) {
    this.#turned = { yaw: this.#turned.yaw + yaw, pitch: Math.min(1.35, Math.max(0.08, this.#turned.pitch + pitch)) };
    this.#draw();
  }

  #draw() {
    const canvas = this.#canvas;
    const scale = devicePixelRatio;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const ctx = canvas.getContext("2d");
    ctx.setTransform(scale, 0, 0, scale, 0, 0);
    ctx.clearRect(0, 0, width, height);
    const project = camera(this.#turned, width, height);
    floor(ctx, project, this.#mesh);
    faces(ctx, project, this.#mesh);
    today(ctx, project, this.#mesh, this.#found);
    labels(ctx, project, this.#mesh, this.#found);
  }
}

function words(found) {
  const middle = found.equity[1];
  return `Equity of account ${found.account} over the price of ${found.symbol} and volatility: ` +
    `from ${usd(Math.min(...found.equity.flat()), 0)} to ${usd(Math.max(...found.equity.flat()), 0)} USD, ` +
    `now ${usd(middle[nearest(found.prices, found.price_now)], 0)} USD. The lines and the table say the same in figures.`;
}

function nearest(values, wanted) {
  return values.reduce((best, value, k) => (Math.abs(value - wanted) < Math.abs(values[best] - wanted) ? k : best), 0);
}

/** Corners of the mesh in a box around the origin, with what each is worth. */
function mesh(found) {
  const { prices, equity, need_mm: need } = found;
  const values = equity.flat();
  const [low, high] = padded(Math.min(...values), Math.max(...values));
  const [left, right] = [prices[0], prices[prices.length - 1]];
  const place = (price, level, value) => [
    ((price - left) / (right - left) - 0.5) * 2 * SIZE.width,
    (level / (LEVELS - 1) - 0.5) * 2 * SIZE.depth,
    ((value - low) / (high - low) - 0.5) * 2 * SIZE.height,
  ];
  const rows = [];
  for (let level = 0; level < LEVELS; level += 1) {
    const w = (2 * level) / (LEVELS - 1); // 0 down, 1 unchanged, 2 up
    const [a, b, part] = w <= 1 ? [equity[0], equity[1], w] : [equity[1], equity[2], w - 1];
    rows.push(prices.map((price, k) => {
      const value = a[k] * (1 - part) + b[k] * part;
      return { at: place(price, level, value), gap: value - need[k] };
    }));
  }
  const widest = Math.max(...rows.flat().map((point) => Math.abs(point.gap)), 1e-9);
  return { rows, place, low, high, left, right, widest };
}

function padded(low, high) {
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  return [low - room, high + room];
}

/** A projection that fits the whole box into the canvas, however it is turned. */
function camera({ yaw, pitch }, width, height) {
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  const flat = ([x, y, z]) => {
    const [u, v] = [x * cy - y * sy, x * sy + y * cy];
    return { x: u, y: -(z * cp + v * sp), depth: v * cp - z * sp };
  };
  const ends = [-1, 1];
  const corners = ends.flatMap((a) => ends.flatMap((b) => ends.map((c) => flat([a * SIZE.width, b * SIZE.depth, c * SIZE.height]))));
  const [xs, ys] = [corners.map((p) => p.x), corners.map((p) => p.y)];
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const zoom = Math.min((width - ROOM.left - ROOM.right) / (right - left), (height - ROOM.top - ROOM.bottom) / (bottom - top));
  const [x0, y0] = [(width + ROOM.left - ROOM.right - (left + right) * zoom) / 2, ROOM.top - top * zoom + (height - ROOM.top - ROOM.bottom - (bottom - top) * zoom) / 2];
  return (point) => {
    const { x, y, depth } = flat(point);
    return { x: x0 + x * zoom, y: y0 + y * zoom, depth };
  };
}

function path(ctx, points) {
  ctx.beginPath();
  points.forEach((point, k) => (k ? ctx.lineTo(point.x, point.y) : ctx.moveTo(point.x, point.y)));
}

/** The box's floor with a few lines of price and volatility. */
function floor(ctx, project, { place, low, left, right }) {
  ctx.strokeStyle = colour("line");
  ctx.lineWidth = 1;
  for (let k = 0; k <= 4; k += 1) {
    const price = left + ((right - left) * k) / 4;
    path(ctx, [project(place(price, 0, low)), project(place(price, LEVELS - 1, low))]);
    ctx.stroke();
  }
  for (const level of [0, (LEVELS - 1) / 2, LEVELS - 1]) {
    path(ctx, [project(place(left, level, low)), project(place(right, level, low))]);
    ctx.stroke();
  }
}

/** Quadrangles, the farthest first. */
function faces(ctx, project, { rows, widest }) {
  const found = [];
  for (let v = 0; v + 1 < rows.length; v += 1) {
    for (let n = 0; n + 1 < rows[v].length; n += 1) {
      const corners = [rows[v][n], rows[v][n + 1], rows[v + 1][n + 1], rows[v + 1][n]];
      const points = corners.map((corner) => project(corner.at));
      found.push({ points, depth: points.reduce((sum, p) => sum + p.depth, 0), gap: corners.reduce((sum, c) => sum + c.gap, 0) / 4 });
    }
  }
  found.sort((a, b) => b.depth - a.depth);
  const [above, under, ground, edge] = ["above", "under", "panel", "mesh"].map((name) => colour(name));
  for (const face of found) {
    const share = 0.34 + 0.6 * Math.sqrt(Math.min(1, Math.abs(face.gap) / widest));
    path(ctx, face.points);
    ctx.closePath();
    ctx.fillStyle = ground;
    ctx.fill();
    ctx.globalAlpha = share;
    ctx.fillStyle = face.gap < 0 ? under : above;
    ctx.fill();
    ctx.globalAlpha = 1;
    ctx.strokeStyle = edge;
    ctx.lineWidth = 0.5;
    ctx.stroke();
  }
}

/** Where the account is today, with a plumb line to the floor. */
function today(ctx, project, { place, low }, found) {
  const middle = (LEVELS - 1) / 2;
  const value = found.equity[1][nearest(found.prices, found.price_now)];
  const [here, foot] = [project(place(found.price_now, middle, value)), project(place(found.price_now, middle, low))];
  ctx.strokeStyle = colour("text");
  ctx.fillStyle = colour("text");
  ctx.lineWidth = 1.2;
  ctx.setLineDash([3, 3]);
  path(ctx, [here, foot]);
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.beginPath();
  ctx.arc(here.x, here.y, 4.5, 0, 2 * Math.PI);
  ctx.fill();
  ctx.strokeStyle = colour("panel");
  ctx.stroke();
}

/** Names of the axes at those edges of the box that lie in front. */
function labels(ctx, project, { place, low, high, left, right }, found) {
  ctx.fillStyle = colour("soft");
  ctx.font = "11px system-ui, sans-serif";
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  const front = project(place((left + right) / 2, 0, low)).depth < project(place((left + right) / 2, LEVELS - 1, low)).depth;
  const near = front ? 0 : LEVELS - 1;
  const out = front ? -1.1 : LEVELS + 0.1;
  for (const k of [1, 2, 3]) {
    const price = left + ((right - left) * k) / 4;
    const at = project(place(price, out, low));
    ctx.fillText(brief(price), at.x, at.y + 4);
    if (k === 2) ctx.fillText(`price of ${found.symbol}, USD`, at.x + 24, at.y + 24);
  }
  const nearer = project(place(right, near, low)).depth < project(place(left, near, low)).depth;
  const side = nearer ? right + (right - left) * 0.13 : left - (right - left) * 0.13;
  ["vol down", "vol same", "vol up"].forEach((name, k) => {
    const at = project(place(side, (k * (LEVELS - 1)) / 2, low));
    ctx.fillText(name, at.x, at.y);
  });
  const edge = [place(left, 0, low), place(right, 0, low), place(left, LEVELS - 1, low), place(right, LEVELS - 1, low)]
    .map((corner) => ({ corner, shown: project(corner) })).sort((a, b) => a.shown.x - b.shown.x)[0].corner;
  ctx.textAlign = "right";
  for (let k = 0; k <= 3; k += 1) {
    const value = low + ((high - low) * k) / 3;
    const at = project([edge[0], edge[1], place(left, 0, value)[2]]);
    if (k > 0) ctx.fillText(brief(value), at.x - 6, at.y);
  }
}
