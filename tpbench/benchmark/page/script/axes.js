// Shared by all plots: scales, ticks, axes, paths.

function niceTicks(low, high, count) {
  const rough = (high - low) / Math.max(1, count) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) ticks.push(i * step);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9), step / power === 2.5 ? 1 - Math.floor(Math.log10(power)) : 0);
  return { ticks, text: (value) => fixed(value, decimals) };
}

// A scale from values to pixels.
function scale(low, high, from, to) {
  const span = high - low || 1;
  const at = (value) => from + ((value - low) / span) * (to - from);
  at.back = (pixel) => low + ((pixel - from) / (to - from)) * span;
  at.low = low;
  at.high = high;
  return at;
}

// The range of the finite values with a margin, and whether any value is infinite.
function valueRange(curves, air = 0.06) {
  let [low, high, infinite] = [Infinity, -Infinity, false];
  for (const curve of curves) {
    for (const value of curve) {
      if (value === Infinity) infinite = true;
      else if (Number.isFinite(value)) [low, high] = [Math.min(low, value), Math.max(high, value)];
    }
  }
  if (low > high) [low, high] = [0, 1];
  const span = high - low || Math.abs(high) || 1;
  const floor = low >= 0 && low - span * air < 0 ? 0 : low - span * air;
  return { low: floor, high: high + span * air, infinite };
}

// The same without the outliers of the `many` curves, but with all values of the `few`.
function robustRange(many, few) {
  const sorted = many.flat().filter(Number.isFinite).sort((a, b) => a - b);
  if (!sorted.length) return valueRange(many);
  const at = (part) => sorted[Math.round(part * (sorted.length - 1))];
  const range = valueRange([[at(0.02), at(0.98)], ...few]);
  return { ...range, infinite: valueRange(many).infinite };
}

// The vertical scale of a plot: infinity is placed above the highest number.
function verticalScale(range, top, bottom) {
  const gap = range.infinite ? 22 : 0;
  const finite = scale(range.low, range.high, bottom, top + gap);
  const at = (value) => (value === Infinity ? top + 4 : Math.max(top + gap, Math.min(bottom, finite(value))));
  return Object.assign(at, { low: range.low, high: range.high, infinite: range.infinite });
}

function valueAxis(y, left, right, count) {
  const { ticks, text } = niceTicks(y.low, y.high, count);
  const drawn = ticks.map((tick) => [
    svg("line", { class: "grid", x1: left, x2: right, y1: y(tick), y2: y(tick) }),
    svg("text", { class: "end", x: left - 7, y: y(tick) + 4 }, text(tick)),
  ]);
  if (y.infinite) {
    drawn.push([
      svg("line", { class: "grid", x1: left, x2: right, y1: y(Infinity), y2: y(Infinity) }),
      svg("text", { class: "end", x: left - 7, y: y(Infinity) + 4 }, "\u221e"),
    ]);
  }
  return drawn.flat();
}

function frameAxis(x, top, bottom, count) {
  const { ticks, text } = niceTicks(x.low, x.high, count);
  return ticks.flatMap((tick) => [
    svg("line", { class: "tick", x1: x(tick), x2: x(tick), y1: bottom, y2: bottom + 4 }),
    svg("text", { class: "middle", x: x(tick), y: bottom + 17 }, text(tick)),
  ]);
}

// Points to path data; a missing value breaks the line, and an isolated value is drawn as a dash.
function pathData(values, xAt, yAt) {
  const pieces = [];
  let piece = [];
  values.forEach((value, i) => {
    if (Number.isNaN(value)) {
      if (piece.length) pieces.push(piece);
      piece = [];
    } else piece.push(`${xAt(i).toFixed(1)},${yAt(value).toFixed(1)}`);
  });
  if (piece.length) pieces.push(piece);
  return pieces.map((points) => `M${points.join("L")}${points.length === 1 ? "h.5" : ""}`).join("");
}

function curvePath(model, values, xAt, yAt, extra = {}) {
  const path = svg("path", { class: "curve", d: pathData(values, xAt, yAt), "stroke-dasharray": model.dash, "data-model": model.id, ...extra });
  path.style.setProperty("--c", model.colour);
  return path;
}

// Moves overlapping labels apart; each has `y`, and their order is kept.
function spreadLabels(labels, gap, top, bottom) {
  labels.sort((a, b) => a.y - b.y);
  for (let i = 1; i < labels.length; i += 1) labels[i].y = Math.max(labels[i].y, labels[i - 1].y + gap);
  let limit = bottom;
  for (let i = labels.length - 1; i >= 0; i -= 1) {
    labels[i].y = Math.min(labels[i].y, limit);
    limit = labels[i].y - gap;
  }
  for (const label of labels) label.y = Math.max(label.y, top);
  return labels;
}

function cut(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}\u2026` : text;
}
