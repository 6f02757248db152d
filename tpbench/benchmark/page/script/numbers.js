// Formats numbers. The data has them unrounded, with "inf" for infinity and null for no value.

const ARROWS = { higher: "\u2191", lower: "\u2193", target: "\u2192", none: "" };
const BETTER = { higher: "higher is better", lower: "lower is better", none: "neither higher nor lower is better" };

function number(value) {
  return value === null || value === undefined ? NaN : value === "inf" ? Infinity : value === "-inf" ? -Infinity : value;
}

function fixed(value, decimals) {
  if (Number.isNaN(value)) return "\u2013";
  if (!Number.isFinite(value)) return value > 0 ? "\u221e" : "\u2212\u221e";
  const text = value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "\u2212");
}

// Number of decimals that gives the largest value about four digits.
function decimalsFor(values) {
  const sizes = values.filter(Number.isFinite).map(Math.abs);
  const largest = sizes.length ? Math.max(...sizes) : 0;
  return largest >= 1000 ? 0 : largest >= 100 ? 1 : largest >= 10 ? 2 : largest >= 1 ? 3 : 4;
}

function short(value) {
  return fixed(value, decimalsFor([value]));
}

function share(value) {
  return `${value < 1 ? Math.min(99.9, Math.round(value * 1000) / 10) : 100} %`;
}

function plural(count, one) {
  return `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;
}

function identities(count) {
  if (!count) return "unknown identities";
  return count === 1 ? "1 identity" : `${count.toLocaleString("en")} identities`;
}

function arrow(metric) {
  return metric.direction === "target" ? `${ARROWS.target}\u2009${metric.target}` : ARROWS[metric.direction];
}

function better(metric) {
  return metric.direction === "target" ? `best at ${metric.target}` : BETTER[metric.direction];
}

// Smaller is better, whatever the direction; NaN where there is nothing to compare.
function badness(metric, value) {
  if (metric.direction === "lower") return value;
  if (metric.direction === "target") return Math.abs(value - metric.target);
  return -value;
}
