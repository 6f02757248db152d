// Line styles: a colour and a dash pattern for each model, grey and a dash pattern for anchors.

const COLOURS = 5;
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];
const ANCHOR_DASHES = { oracle: "", "gt-reencode": "7 4", frozen: "2 3" };

const metrics = new Map(data.metrics.map((metric) => [metric.id, metric]));

{
  let measured = 0;
  for (const model of data.models) {
    if (model.kind === "anchor") {
      model.colour = "var(--anchor)";
      model.dash = ANCHOR_DASHES[model.id] ?? "9 3 2 3";
    } else {
      model.colour = `var(--s${measured % COLOURS})`;
      model.dash = DASHES[Math.floor(measured / COLOURS) % DASHES.length];
      measured += 1;
    }
  }
}

const models = new Map(data.models.map((model) => [model.id, model]));

function swatch(model) {
  const line = svg("line", { x1: 1, x2: 23, y1: 6, y2: 6, class: "curve", "stroke-dasharray": model.dash });
  const drawn = svg("svg", { class: "swatch", width: 24, height: 12, "aria-hidden": "true" }, line);
  drawn.style.setProperty("--c", model.colour);
  return drawn;
}

// Metrics with a curve for at least one model; the first is shown first.
const curveMetrics = data.curves.metrics
  .filter((id) => Object.keys(data.curves.means[id] ?? {}).length)
  .map((id) => metrics.get(id));

function curveChoices() {
  return curveMetrics.map((metric) => ({ value: metric.id, text: `${metric.title} ${arrow(metric)}`.trim() }));
}
