// Curves over rounds, drawn in the width there is, with a line that follows the pointer.
import { h, s, short, tick } from "./tools.js";

/** Round numbers between which all values lie: [lower, upper, step]. */
function axis(values, floor, ceiling, steps = 5) {
  let low = Math.min(...values), high = Math.max(...values);
  if (!Number.isFinite(low)) [low, high] = [0, 1];
  if (low === high) { low -= Math.abs(low) * 0.05 || 0.5; high += Math.abs(high) * 0.05 || 0.5; }
  low = Math.max(low, floor); high = Math.min(high, ceiling);
  const raw = (high - low) / steps || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw) * power;
  return [Math.max(Math.floor(low / step + 1e-9) * step, floor), Math.min(Math.ceil(high / step - 1e-9) * step, ceiling), step];
}

/** At most about `most` points: of each stretch the lowest and the highest, so that no spike is lost. */
function thinned(points, most) {
  if (points.length <= most) return points;
  const size = points.length / (most / 2);
  const kept = [];
  for (let start = 0; start < points.length; start += size) {
    const part = points.slice(Math.floor(start), Math.floor(start + size));
    if (!part.length) continue;
    let low = part[0], high = part[0];
    for (const point of part) { if (point[1] < low[1]) low = point; if (point[1] > high[1]) high = point; }
    kept.push(...(low[0] <= high[0] ? [low, high] : [high, low]));
  }
  return [points[0], ...kept, points.at(-1)];
}

/**
 * A chart. `draw(lines)` shows lines of {name, colour, points: [[round, value]], kind: "", "reference" or "dash"}.
 * Options: title, written (value on the axis), exactly (value in words), floor, ceiling.
 */
export function lineChart({ title, written = tick, exactly = written, floor = -Infinity, ceiling = Infinity, best }) {
  const legend = h("figcaption");
  const svg = s("svg", { class: "chart", role: "img", "aria-label": title });
  const tip = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const figure = h("figure", null, legend, svg, tip);
  let lines = [], width = 0, place, mark = best, until = 0;
  const height = 250, left = 54, right = 12, top = 8, bottom = 24;

  function draw() {
    if (!width) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const shown = lines.filter((line) => line.points.length);
    const xs = shown.flatMap((line) => [line.points[0][0], line.points.at(-1)[0]]);
    const first = Math.floor(Math.min(...xs, Infinity)), last = Math.ceil(Math.max(...xs, -Infinity));
    const [start, end] = Number.isFinite(first) ? [first, Math.max(last, first + 1, until)] : [1, Math.max(2, until)];
    const thin = shown.map((line) => thinned(line.points.filter((point) => Number.isFinite(point[1])), Math.max(100, width)));
    const ys = thin.flatMap((points) => [points.reduce((low, point) => Math.min(low, point[1]), Infinity),
      points.reduce((high, point) => Math.max(high, point[1]), -Infinity)]).filter(Number.isFinite);
    const [low, high, step] = axis(ys.length ? ys : [0, 1], floor, ceiling);
    const x = (round) => left + (round - start) / (end - start) * (width - left - right);
    const y = (value) => height - bottom - (value - low) / (high - low || 1) * (height - top - bottom);
    place = { x, y, start, end, left, right };
    const parts = [];
    for (let value = low; value <= high + step / 1e6; value += step) {
      parts.push(s("line", { class: "grid", x1: left, x2: width - right, y1: Math.round(y(value)), y2: Math.round(y(value)) }));
      parts.push(s("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, written(Number(value.toPrecision(10)))));
    }
    const span = Math.max(1, Math.ceil((end - start) / Math.max(2, Math.floor((width - left) / 64))));
    const nice = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000, 100000].find((size) => size >= span) ?? span;
    for (let round = Math.ceil(start / nice) * nice; round <= end; round += nice) {
      parts.push(s("text", { x: x(round), y: height - 6, "text-anchor": "middle" }, String(round)));
    }
    shown.map((line, index) => [line, thin[index]]).reverse().forEach(([line, points]) => {
      if (points.length > 1) {
        const curve = s("polyline", { class: `curve ${line.kind ?? ""}`,
          points: points.map((point) => `${x(point[0]).toFixed(1)},${y(point[1]).toFixed(1)}`).join(" ") });
        curve.style.stroke = `var(--${line.colour})`;
        parts.push(curve);
      }
      if (line.kind !== "reference" && points.length <= 30 || points.length === 1) {
        for (const point of points) {
          const dot = s("circle", { class: "dot", r: point[0] === mark ? 5 : 3.2, cx: x(point[0]).toFixed(1), cy: y(point[1]).toFixed(1) });
          dot.style.fill = `var(--${line.colour})`;
          parts.push(dot);
        }
      }
    });
    svg.replaceChildren(...parts);
    const said = shown.map((line) => `${line.name} from ${exactly(line.points[0][1])} in round ${short(line.points[0][0])} to `
      + `${exactly(line.points.at(-1)[1])} in round ${short(line.points.at(-1)[0])}`);
    svg.setAttribute("aria-label", `${title}: ${said.join("; ") || "no rounds yet"}`);
  }

  function point(event) {
    if (!place || !lines.some((line) => line.points.length)) return;
    const box = svg.getBoundingClientRect();
    const ratio = (event.clientX - box.left - place.left) / (width - place.left - place.right);
    const round = Math.round(place.start + Math.max(0, Math.min(1, ratio)) * (place.end - place.start));
    const rows = lines.flatMap((line) => {
      const found = line.points.find((candidate) => candidate[0] === round);
      return found && Number.isFinite(found[1]) ? [h("div", null, `${line.name}: ${exactly(found[1])}`)] : [];
    });
    if (!rows.length) return leave();
    svg.querySelector(".cross")?.remove();
    const at = place.x(round);
    svg.append(s("line", { class: "cross", x1: at, x2: at, y1: top, y2: height - bottom }));
    tip.replaceChildren(h("b", null, `round ${round}`), ...rows);
    tip.hidden = false;
    const wide = tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(at + 12 + wide > width ? at - wide - 12 : at + 12, width - wide))}px`;
  }

  function leave() {
    tip.hidden = true;
    svg.querySelector(".cross")?.remove();
  }

  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerleave", leave);
  new ResizeObserver(() => {
    const now = Math.round(svg.getBoundingClientRect().width);
    if (now && now !== width) { width = now; draw(); }
  }).observe(svg);

  return {
    figure,
    /** `of`: the round at which it is to end, so that the axis stays while the curve grows. */
    draw(given, bestRound, of = 0) {
      const names = given.map((line) => line.name + line.colour).join("\n");
      if (names !== lines.map((line) => line.name + line.colour).join("\n") || !legend.childNodes.length) {
        legend.replaceChildren(h("b", null, title), ...(given.length > 1 ? given.map((line) => {
          const sign = h("i", { class: line.kind === "dash" ? "dash" : "" });
          sign.style[line.kind === "dash" ? "borderColor" : "background"] = `var(--${line.colour})`;
          return h("span", { class: "key" }, sign, line.name);
        }) : []));
      }
      lines = given;
      mark = bestRound;
      until = of > 500 ? 0 : of;
      draw();
    },
  };
}

/** A curve without axes for a card. */
export function spark(points) {
  const svg = s("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (points.length < 2) return svg;
  const ys = points.map((point) => point[1]);
  const low = Math.min(...ys), high = Math.max(...ys), first = points[0][0], last = points.at(-1)[0];
  const text = points.map(([round, value]) =>
    `${((round - first) / (last - first || 1) * 100).toFixed(1)},${(high === low ? 15 : 28 - (value - low) / (high - low) * 26).toFixed(1)}`);
  svg.append(s("path", { d: `M0,30L${text.join("L")}L100,30Z` }), s("polyline", { points: text.join(" ") }));
  return svg;
}
