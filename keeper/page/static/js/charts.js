// SPDX-License-Identifier: Apache-2.0
// Line charts with uPlot, in the colours of the theme.

import uPlot from "../vendor/uPlot.esm.js";
import { h } from "./dom.js";

/** A colour of the style sheet. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function axis(label, format, more = {}) {
  return {
    stroke: () => colour("soft"),
    grid: { stroke: () => colour("line"), width: 1 },
    ticks: { stroke: () => colour("line"), width: 1, size: 4 },
    font: "11px system-ui, sans-serif",
    labelFont: "11px system-ui, sans-serif",
    label,
    labelSize: 16,
    values: (_, ticks) => ticks.map((value) => (value === null ? "" : format(value))),
    ...more,
  };
}

/**
 * A chart of lines over one x axis.
 *
 * `series` are { label, colour, dash?, width?, values }, `x` { label, values, format, tip }, `y` { label, format, tip },
 * `mark` an x with a name that is marked by a vertical line. `element` goes into the page; `close` frees it.
 */
export class LineChart {
  constructor({ x, y, series, mark, label, height = 300 }) {
    this.element = h("div", { class: "chart", role: "img", "aria-label": label });
    this.#height = height;
    const data = [x.values, ...series.map((line) => line.values)];
    const options = {
      width: 320,
      height,
      padding: [14, 12, 0, 0],
      scales: { x: { time: false } },
      cursor: { points: { size: 6 }, drag: { x: true, y: false } },
      legend: { live: true },
      axes: [axis(x.label, x.format, { space: 70, size: 30 }), axis(y.label, y.format, { size: 56, space: 34 })],
      series: [
        { label: x.label, value: (_, value) => (value === null ? "–" : x.tip(value)) },
        ...series.map((line) => ({
          label: line.label,
          stroke: () => colour(line.colour),
          width: line.width ?? 2,
          dash: line.dash,
          points: { show: false },
          spanGaps: true,
          pxAlign: 0,
          value: (_, value) => (value === null || value === undefined ? "–" : y.tip(value)),
        })),
      ],
      hooks: { draw: [(plot) => mark && drawMark(plot, mark)] },
    };
    this.#plot = new uPlot(options, data, this.element);
    if (mark) this.#rest(x.values.findIndex((value) => value >= mark.x));
    this.#observer = new ResizeObserver(() => this.#fit());
    this.#observer.observe(this.element);
    this.#redraw = () => this.#plot.redraw(false);
    window.addEventListener("themechange", this.#redraw);
  }

  #plot;
  #height;
  #observer;
  #redraw;

  /** While nobody points at it, the legend tells the values at the mark. */
  #rest(at) {
    const show = () => this.#plot.setLegend({ idx: at });
    this.#plot.over.addEventListener("mouseleave", () => setTimeout(show));
    setTimeout(show);
  }

  #fit() {
    const width = Math.floor(this.element.clientWidth);
    if (width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height: this.#height });
  }

  close() {
    this.#observer.disconnect();
    window.removeEventListener("themechange", this.#redraw);
    this.#plot.destroy();
  }
}

function drawMark(plot, mark) {
  const { ctx, bbox } = plot;
  const x = plot.valToPos(mark.x, "x", true);
  if (x < bbox.left || x > bbox.left + bbox.width) return;
  const scale = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = colour("text");
  ctx.fillStyle = colour("text");
  ctx.lineWidth = scale;
  ctx.setLineDash([2 * scale, 3 * scale]);
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.font = `${11 * scale}px system-ui, sans-serif`;
  ctx.textAlign = "center";
  ctx.fillText(mark.name, x, bbox.top - 4 * scale);
  if (mark.y !== undefined) {
    ctx.beginPath();
    ctx.arc(x, plot.valToPos(mark.y, "y", true), 4.5 * scale, 0, 2 * Math.PI);
    ctx.fill();
  }
  ctx.restore();
}
