// Temporal jitter against motion: a low jitter error means little where nothing moves.

const STILL = 0.1;

function scatterSection() {
  const [motion, jitter] = [metrics.get("motion_ratio"), metrics.get("tje_d2") ?? metrics.get("tje_d1")];
  const points = !motion || !jitter ? [] : data.models.map((model) => ({
    model, x: cellRange(model.cells[motion.id]), y: cellRange(model.cells[jitter.id]),
  })).filter((point) => Number.isFinite(point.x.value) && Number.isFinite(point.y.value));
  if (!points.length) return null;
  const host = el("div", { class: "plot" });
  onWidth(host, (width) => host.replaceChildren(drawScatter(points, motion, jitter, width)));
  return section("motion", "Jitter against motion",
    "The temporal jitter error compares how much real and generated frames change, so a video that stands still " +
    "may score better than one that moves at the wrong time. Read it together with the motion " +
    `ratio: 1 is as much motion as in the real clip.${points.some(({ x }) => Number.isFinite(x.low)) ? " Lines through a point are its intervals." : ""}`,
    el("div", { class: "card" }, host));
}

function cellRange(cell) {
  return { value: number(cell?.value), low: number(cell?.low), high: number(cell?.high) };
}

function drawScatter(points, motion, jitter, width) {
  const wide = width > 640;
  const [left, right, top, bottom] = [52, width - 16, 26, wide ? 390 : 330];
  const most = (axis) => Math.max(...points.map((point) => (Number.isFinite(point[axis].high) ? point[axis].high : point[axis].value)));
  const x = scale(-0.06, Math.max(1.25, most("x") * 1.12), left, right);
  const y = verticalScale({ low: 0, high: most("y") * 1.12 || 1, infinite: false }, top, bottom);
  const label = `${jitter.title} against ${motion.title}: ${points.map((p) => `${p.model.name} ${short(p.y.value)} at ${short(p.x.value)}`).join("; ")}`;
  const drawn = svg("svg", { width, height: bottom + 46, class: "drawn", role: "img", "aria-label": label });
  drawn.append(
    svg("rect", { class: "still", x: left, y: top, width: x(STILL) - left, height: bottom - top }),
    svg("text", { class: "note inband", transform: `translate(${left + 15} ${bottom - 8}) rotate(-90)` }, "no motion"),
    svg("line", { class: "goal", x1: x(1), x2: x(1), y1: top, y2: bottom }),
    svg("text", { class: "note middle", x: x(1), y: top - 8 }, "motion of the real clip"),
    ...valueAxis(y, left, right, 5), ...frameAxis(x, top, bottom, wide ? 8 : 4),
    svg("text", { class: "end", x: right, y: bottom + 38 }, motion.title.toLowerCase() + " \u2192"));
  const taken = points.map((point) => box(x(point.x.value) - 7, y(point.y.value) - 7, 14, 14));
  drawn.append(...standing(points, y, left, right, wide ? `${jitter.title} of a frozen video` : null, taken));
  for (const point of points) drawn.append(...whiskers(point, x, y));
  for (const point of points) drawn.append(mark(point, x(point.x.value), y(point.y.value)));
  // Labels of anchors are placed first.
  const anchorsFirst = [...points].sort((a, b) => (b.model.kind === "anchor") - (a.model.kind === "anchor"));
  const inside = { left, right: right + 10, top: top - 4, bottom: bottom + 8 };
  for (const { model, x: { value: at }, y: { value: high } } of anchorsFirst) {
    drawn.append(...scatterLabel(model, x(at), y(high), taken, inside, wide));
  }
  const axis = svg("text", { class: "middle", transform: `translate(13 ${(top + bottom) / 2}) rotate(-90)` }, `\u2190 ${jitter.title}, ${jitter.unit}`);
  drawn.append(axis);
  return drawn;
}

// The score of a video without motion: models above this line have a worse TJE than a still frame.
function standing(points, y, left, right, text, taken) {
  const frozen = points.find((point) => point.model.id === "frozen");
  if (!frozen) return [];
  const at = y(frozen.y.value);
  const line = svg("line", { class: "goal standing", x1: left, x2: right, y1: at, y2: at });
  if (!text) return [line];
  const said = `${text}: ${short(frozen.y.value)}`;
  const width = boldWidth(said, 11.5);
  const places = [0, 1, 2].flatMap((step) => [-18, 4].map((dy) => box(right - width * (1 + step), at + dy, width, 15)));
  const place = places.find((area) => !taken.some((other) => overlaps(area, other))) ?? places[0];
  taken.push(place);
  return [line, svg("text", { class: "note end standing", x: place.x + width, y: place.y + 12 }, said)];
}

function whiskers(point, x, y) {
  const [cx, cy] = [x(point.x.value), y(point.y.value)];
  const lines = [];
  if (Number.isFinite(point.x.low)) lines.push({ x1: x(point.x.low), x2: x(point.x.high), y1: cy, y2: cy });
  if (Number.isFinite(point.y.low)) lines.push({ x1: cx, x2: cx, y1: y(point.y.low), y2: y(point.y.high) });
  return lines.map((ends) => {
    const line = svg("line", { class: "whisker", ...ends });
    line.style.setProperty("--c", point.model.colour);
    return line;
  });
}

// A disc for models, a hollow diamond for anchors, with the name as a tooltip.
function mark({ model, x, y }, cx, cy) {
  const drawn = model.kind === "anchor"
    ? svg("path", { class: "diamond", d: `M${cx},${cy - 7}l7,7l-7,7l-7,-7Z`, "data-model": model.id })
    : svg("circle", { class: "disc", cx, cy, r: 6, "data-model": model.id });
  drawn.style.setProperty("--c", model.colour);
  drawn.append(svg("title", {}, `${model.name}: ${short(y.value)} at ${short(x.value)}`));
  return drawn;
}

function box(x, y, width, height) {
  return { x, y, width, height };
}

function overlaps(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

// Width of a text as drawn on the page; the sizes are those of the style sheet.
function boldWidth(text, sizePx) {
  const ruler = document.createElement("canvas").getContext("2d");
  ruler.font = `600 ${sizePx}px ${getComputedStyle(document.body).fontFamily}`;
  return ruler.measureText(text).width;
}

// Places a label near its point where there is room: right, left, above, below, then further away.
// Among many points there may be no room: then only the tooltip of the mark gives the name.
function scatterLabel(model, cx, cy, taken, inside, wide) {
  const name = cut(model.name, 24);
  const width = boldWidth(name, wide ? 12 : 11.5);
  const places = [];
  for (let away = 0; away < 6; away += 1) {
    const shift = away * 13;
    for (const dy of away ? [-shift, shift] : [0]) {
      places.push({ x: cx + 12, y: cy + 4 + dy, anchor: "start" }, { x: cx - 12, y: cy + 4 + dy, anchor: "end" });
    }
    places.push({ x: cx, y: cy - 13 - shift, anchor: "middle" }, { x: cx, y: cy + 22 + shift, anchor: "middle" });
  }
  const boxOf = (place) => box(place.x - { start: 0, middle: width / 2, end: width }[place.anchor] - 4, place.y - 11, width + 8, 14);
  const free = (place) => {
    const area = boxOf(place);
    return area.x >= inside.left && area.x + area.width <= inside.right && area.y >= inside.top &&
      area.y + area.height <= inside.bottom && !taken.some((other) => overlaps(area, other));
  };
  const place = places.find(free);
  if (!place) return [];
  taken.push(boxOf(place));
  const text = svg("text", { class: wide ? "direct" : "direct small", x: place.x, y: place.y, "text-anchor": place.anchor }, name);
  text.style.setProperty("--c", model.colour);
  return [text];
}
