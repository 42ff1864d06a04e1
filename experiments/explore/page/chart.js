"use strict";
// Curves in an SVG: each has a name, a class, and points [x, y]; levels are dashed lines; a marker is a vertical line.
page.chart = ({ curves, levels = [], xlabel, ylabel, xlog = false, marker, xticks, height = 170, width = 420 }) => {
  const { element } = page;
  const all = curves.flatMap((curve) => curve.points).filter(([, y]) => Number.isFinite(y));
  const ys = [...all.map(([, y]) => y), ...levels.map((level) => level.y)], xs = all.map(([x]) => x);
  const turn = (x) => (xlog ? Math.log(x) : x);
  let [low, high] = [Math.min(...ys), Math.max(...ys)];
  const room = (high - low || 1) * 0.08;
  [low, high] = [low - room, high + room];
  const [first, last] = [turn(Math.min(...xs)), turn(Math.max(...xs))];
  const left = 46, right = 12, top = 10, bottom = 34;
  const x = (value) => left + ((turn(value) - first) / (last - first || 1)) * (width - left - right);
  const y = (value) => top + ((high - value) / (high - low)) * (height - top - bottom);
  const picture = element("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${ylabel} against ${xlabel}` });
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10].find((size) => (high - low) / size <= 5) || 20;
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) {
    picture.append(element("line", { class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
    picture.append(element("text", { class: "tick", x: left - 6, y: y(tick) + 4, "text-anchor": "end", text: tick.toFixed(step < 0.1 ? 2 : 1) }));
  }
  for (const tick of xticks || []) picture.append(element("text", { class: "tick", x: x(tick), y: height - bottom + 15, "text-anchor": "middle", text: page.count(tick) }));
  picture.append(element("text", { class: "axis", x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle", text: xlabel }));
  picture.append(element("text", { class: "axis", x: 10, y: (top + height - bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 10 ${(top + height - bottom) / 2})`, text: ylabel }));
  for (const level of levels) {
    picture.append(element("line", { class: "level", x1: left, x2: width - right, y1: y(level.y), y2: y(level.y) }));
  }
  if (marker !== undefined) picture.append(element("line", { class: "marker", x1: x(marker), x2: x(marker), y1: top, y2: height - bottom }));
  for (const curve of curves) {
    const points = curve.points.filter(([, value]) => Number.isFinite(value));
    const drawn = points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
    picture.append(element("path", { class: `curve ${curve.kind}`, d: drawn }));
    const near = points.find(([a]) => a === marker);
    if (near) picture.append(element("circle", { class: `dot ${curve.kind}`, cx: x(near[0]), cy: y(near[1]), r: 4 }));
    if (curve.lowest && points.length) {
      const [a, b] = points.reduce((low, point) => (point[1] < low[1] ? point : low));
      picture.append(element("circle", { class: `lowest ${curve.kind}`, cx: x(a), cy: y(b), r: 6 }), element("text", { class: "tick", x: x(a), y: y(b) - 12, "text-anchor": "middle", text: `lowest ${page.format(b, 4)}` }));
    }
  }
  for (const level of levels) picture.append(element("text", { class: "tick", x: width - right, y: y(level.y) - 4, "text-anchor": "end", text: level.name }));
  const legend = element("p", { class: "legend" }, ...curves.map((curve) => element("span", { class: curve.kind, text: curve.name })));
  return element("div", { class: "figure" }, picture, legend);
};
