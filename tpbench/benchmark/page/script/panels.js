// The curves of one clip, below its videos; each is a playhead too.

const PACKED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

function unpacked(text, low, high) {
  const values = [];
  for (let i = 0; i < text.length; i += 2) {
    const code = PACKED.indexOf(text[i]) * 64 + PACKED.indexOf(text[i + 1]);
    values.push(code === 4095 ? NaN : code === 4094 ? Infinity : low + (code / 4093) * (high - low));
  }
  return values;
}

// Returns { figure, line, x, say } of a metric, or null if no model has its curve.
function clipPanel(clip, metric, shown, width, onPoint) {
  const found = clip.curves[metric.id];
  if (!found || !Object.keys(found.models).length) return null;
  const curves = new Map(Object.entries(found.models).map(([id, text]) => [id, unpacked(text, found.low, found.high)]));
  const strong = shown.filter((model) => curves.has(model.id));
  const [left, right, top, bottom] = [44, width - 6, 8, 96];
  const x = scale(0, clip.n_frames, left, right);
  const y = verticalScale(robustRange([...curves.values()], strong.map((model) => curves.get(model.id))), top, bottom);
  const xAt = (i) => x(Math.min((i + 0.5) * clip.window, clip.n_frames));
  const line = svg("line", { class: "playhead", y1: top, y2: bottom });
  const drawn = svg("svg", { width, height: 116, class: "drawn", role: "img", "aria-label": `${metric.title} of this clip, ${better(metric)}` },
    svg("rect", { class: "band", x: x(0), y: top, width: x(Math.min(HUNDRED, x.high)) - x(0), height: bottom - top }),
    ...valueAxis(y, left, right, 2), ...frameAxis(x, top, bottom, 4),
    [...curves].filter(([id]) => !strong.includes(models.get(id))).map(([id, values]) => curvePath(models.get(id), values, xAt, y, { class: "curve other" })),
    strong.map((model) => curvePath(model, curves.get(model.id), xAt, y)), line);
  // Colours tell the numbers of two models apart, but not those of many.
  const numbers = (strong.length > 2 ? [] : strong).map((model) => {
    const text = el("b", {});
    text.style.setProperty("--c", model.colour);
    return { model, text };
  });
  const decimals = decimalsFor([...curves.values()].flat());
  const say = (frame) => {
    for (const { model, text } of numbers) {
      text.textContent = fixed(curves.get(model.id)[Math.floor(frame / clip.window)] ?? NaN, decimals);
    }
  };
  const move = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    onPoint(Math.floor(x.back(event.clientX - drawn.getBoundingClientRect().left)));
  };
  drawn.addEventListener("pointerdown", move);
  drawn.addEventListener("pointermove", move);
  const figure = el("figure", { class: "panel", "data-metric": metric.id },
    el("figcaption", {}, el("span", {}, `${metric.title} ${arrow(metric)}`), el("span", { class: "now" }, numbers.map(({ text }) => text))), drawn);
  return { figure, line, x, say };
}
