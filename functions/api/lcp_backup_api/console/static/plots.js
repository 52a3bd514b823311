// Plots over time, as drawings that the page's own colours apply to.

import { h, newId, s } from "./dom.js";
import { day } from "./format.js";

const WIDTH = 560;
const HEIGHT = 180;
const LEFT = 64;
const RIGHT = 12;
const TOP = 14;
const BOTTOM = 26;
const STEPS = [1, 2, 5, 10];
const TIMES = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800];

/** A plot of points over time, in any order.
 * @param {object} plot
 *   title and summary: what it shows, in words, for those who do not see it;
 *   points: {at (ISO), value, label} each;
 *   axis: how a value is written at the axis; isTime: whether values are seconds;
 *   limit: {value, label}, drawn as a line, or null;
 *   asBars: whether each point is a bar of its own, and not one of a line */
export function plot({ title, summary, points: given, axis, isTime = false, limit = null, asBars = false }) {
  const points = given.toSorted((one, other) => Date.parse(one.at) - Date.parse(other.at));
  const heading = h("h3", { id: newId("plot") }, title);
  const drawing = s("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    role: "img",
    "aria-labelledby": heading.id,
    "aria-describedby": `${heading.id}-summary`,
  });
  const scale = scaleOf(points, limit, isTime);
  drawing.append(...grid(scale, axis), ...days(points, scale));
  drawing.append(...(asBars ? bars(points, scale) : line(points, scale)));
  if (limit) drawing.append(...limitLine(limit, scale));
  return h(
    "figure",
    { class: "plot" },
    heading,
    drawing,
    h("figcaption", { id: `${heading.id}-summary` }, summary),
  );
}

function scaleOf(points, limit, isTime) {
  const times = points.map((it) => Date.parse(it.at));
  const first = Math.min(...times);
  const last = Math.max(...times, first + 1);
  const highest = Math.max(...points.map((it) => it.value), limit?.value ?? 0, 1);
  const step = isTime ? timeStep(highest / 3) : niceStep(highest / 3);
  const top = Math.ceil(highest / step) * step;
  return {
    step,
    top,
    x: (time) => LEFT + 8 + ((time - first) / (last - first)) * (WIDTH - LEFT - RIGHT - 16),
    y: (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM),
  };
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return STEPS.find((it) => it * power >= rough) * power;
}

function timeStep(rough) {
  return TIMES.find((it) => it >= rough) ?? Math.ceil(rough / 3600) * 3600;
}

function grid({ step, top, y }, axis) {
  const lines = [];
  for (let value = 0; value <= top * 1.0001; value += step) {
    lines.push(
      s("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
      s("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, axis(value)),
    );
  }
  return lines;
}

function days(points, { x }) {
  const first = points[0];
  const last = points.at(-1);
  const labels = day(first.at) === day(last.at) ? [[first, "start"]] : [[first, "start"], [last, "end"]];
  return labels.map(([point, anchor]) =>
    s("text", { x: x(Date.parse(point.at)), y: HEIGHT - 8, "text-anchor": anchor }, day(point.at)),
  );
}

function line(points, scale) {
  const corners = points.map((it) => [scale.x(Date.parse(it.at)), scale.y(it.value)]);
  const path = corners.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
  const floor = scale.y(0);
  return [
    s("polygon", { class: "area", points: `${corners[0][0]},${floor} ${path} ${corners.at(-1)[0]},${floor}` }),
    s("polyline", { class: "line", points: path }),
    ...points.map((it, index) => dot(it, corners[index])),
  ];
}

function dot(point, [x, y]) {
  return s("circle", { class: "dot", cx: x, cy: y, r: 3.5 }, s("title", {}, point.label));
}

function bars(points, scale) {
  const width = Math.max(2, Math.min(14, (WIDTH - LEFT - RIGHT) / points.length - 2));
  return points.map((it) => {
    const top = scale.y(it.value);
    const x = scale.x(Date.parse(it.at)) - width / 2;
    const height = Math.max(1, scale.y(0) - top);
    return s("rect", { class: "bar", x, y: top, width, height, rx: 1.5 }, s("title", {}, it.label));
  });
}

function limitLine({ value, label }, { y }) {
  return [
    s("line", { class: "limit", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
    s("text", { class: "limit", x: WIDTH - RIGHT, y: y(value) - 5, "text-anchor": "end" }, label),
  ];
}
