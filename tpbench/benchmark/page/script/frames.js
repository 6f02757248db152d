// Quality against frame index: the mean over clips of every model.

const HUNDRED = 100;
const LABEL_GAP = 15;

function framesSection() {
  if (!curveMetrics.length) {
    return section("frames", "Quality over the clip", "No per-frame values to show; they come from frames.parquet of each run.");
  }
  const { window: frames, clips } = data.curves;
  const most = Math.max(...clips);
  const hidden = new Set();
  const state = { metric: curveMetrics[0], at: null, width: 0 };
  const [field, select] = choice("Metric", curveChoices(), state.metric.id);
  const legend = el("div", { class: "legend", role: "group", "aria-label": "models in the plot" });
  const host = el("div", { class: "plot", tabindex: 0, role: "group", "aria-roledescription": "plot" });
  const readout = el("div", { class: "readout", "aria-live": "polite", hidden: true });
  const chart = el("div", { class: "chart" }, host, readout);
  const middle = (i) => Math.min((i + 0.5) * frames, clips.length * frames);
  const series = () => data.models
    .filter((model) => data.curves.means[state.metric.id][model.id])
    .map((model) => ({ model, values: data.curves.means[state.metric.id][model.id].map(number) }));
  let geometry = null;

  function drawLegend() {
    legend.replaceChildren(...series().map(({ model }) => {
      const press = button("", () => {
        if (!hidden.delete(model.id)) hidden.add(model.id);
        press.setAttribute("aria-pressed", String(!hidden.has(model.id)));
        draw(state.width);
      }, { class: "key", "aria-pressed": String(!hidden.has(model.id)) });
      press.append(swatch(model), el("span", {}, model.name));
      return press;
    }));
  }

  function draw(width) {
    state.width = width;
    const wide = width > 640;
    const shown = series().filter(({ model }) => !hidden.has(model.id));
    const [left, right, top] = [52, width - (wide ? 160 : 12), 28];
    // High enough for the labels at the ends of the curves.
    const bottom = wide ? Math.max(344, top + LABEL_GAP * shown.length) : 264;
    const x = scale(0, clips.length * frames, left, right);
    const y = verticalScale(valueRange(shown.map(({ values }) => values)), top, bottom);
    const xAt = (i) => x(middle(i));
    geometry = { x, left, right, top, bottom };
    const few = clips.findIndex((count) => count * 2 < most);
    const until = few < 0 ? clips.length : few;
    const drawn = svg("svg", { width, height: bottom + 74, class: "drawn", role: "img", "aria-label": label() });
    drawn.append(svg("rect", { class: "band", x: x(0), y: top, width: x(Math.min(HUNDRED, x.high)) - x(0), height: bottom - top }),
      svg("text", { class: "note", x: x(0), y: top - 9 }, "first 100 frames"),
      ...valueAxis(y, left, right, 5), ...frameAxis(x, top, bottom, wide ? 10 : 5));
    for (const { model, values } of shown) {
      drawn.append(curvePath(model, values.slice(0, until + 1), xAt, y));
      if (few >= 0) drawn.append(curvePath(model, values.map((value, i) => (i < until ? NaN : value)), xAt, y, { opacity: 0.4 }));
    }
    if (wide) drawn.append(...endLabels(shown, xAt, y, right, top, bottom));
    drawn.append(...clipStrip(x, bottom + 30, 22));
    drawn.append(svg("text", { class: "end", x: right, y: bottom + 71 }, "frame"));
    drawn.append(svg("line", { class: "cross", y1: top, y2: bottom + 52, visibility: "hidden" }));
    host.replaceChildren(drawn);
    point(state.at);
  }

  function label() {
    return `${state.metric.title} against frame index, mean over clips, ${better(state.metric)}`;
  }

  function endLabels(shown, xAt, y, right, top, bottom) {
    const labels = shown.map(({ model, values }) => {
      const last = values.findLastIndex((value) => !Number.isNaN(value));
      return last < 0 ? null : { model, x: xAt(last), from: y(values[last]), y: y(values[last]) };
    }).filter(Boolean);
    return spreadLabels(labels, LABEL_GAP, top + 4, bottom).flatMap(({ model, x: end, from, y: to }) => {
      const lead = svg("path", { class: "lead", d: `M${end + 2},${from}L${right + 10},${to}` });
      const text = svg("text", { class: "direct", x: right + 14, y: to + 4 }, cut(model.name, 21));
      text.style.setProperty("--c", model.colour);
      return [lead, text];
    });
  }

  // The number of clips per window, which falls where clips end.
  function clipStrip(x, top, height) {
    const level = (count) => top + height - (count / most) * height;
    const points = clips.map((count, i) => `${x(i * frames).toFixed(1)},${level(count).toFixed(1)}L${x((i + 1) * frames).toFixed(1)},${level(count).toFixed(1)}`);
    const drawn = [
      svg("path", { class: "count", d: `M${x(0)},${top + height}L${points.join("L")}L${x(clips.length * frames)},${top + height}Z` }),
      svg("text", { class: "end", x: x(0) - 7, y: top + height - 6 }, "clips"),
    ];
    let lastX = -Infinity;
    clips.forEach((count, i) => {
      if (i && count === clips[i - 1]) return;
      const at = x(i * frames) + 4;
      if (at < lastX + 26 || at > x(x.high) - 8) return;
      lastX = at;
      drawn.push(svg("text", { class: "tiny", x: at, y: top + height - 6 }, String(count)));
    });
    return drawn;
  }

  function point(index) {
    state.at = index;
    const cross = host.querySelector(".cross");
    readout.hidden = index === null;
    if (index === null || !geometry) {
      cross?.setAttribute("visibility", "hidden");
      return;
    }
    const at = geometry.x(middle(index));
    cross.setAttribute("x1", at);
    cross.setAttribute("x2", at);
    cross.setAttribute("visibility", "visible");
    const rows = series().filter(({ model, values }) => !hidden.has(model.id) && !Number.isNaN(values[index] ?? NaN))
      .map(({ model, values }) => ({ model, value: values[index] }))
      .sort((a, b) => badness(state.metric, a.value) - badness(state.metric, b.value));
    const decimals = decimalsFor(rows.map((row) => row.value));
    const last = Math.min((index + 1) * frames - 1, data.clips.reduce((most, clip) => Math.max(most, clip.n_frames), 1) - 1);
    readout.replaceChildren(
      el("b", {}, frames > 1 ? `Frames ${index * frames}\u2013${last}` : `Frame ${index}`),
      el("span", { class: "quiet" }, ` ${clips[index]} of ${plural(most, "clip")}`),
      ...rows.map(({ model, value }) => el("div", {}, swatch(model), el("span", {}, model.name), el("b", {}, fixed(value, decimals)))));
    const onRight = at < (geometry.left + geometry.right) / 2;
    readout.style.left = onRight ? `${at + 14}px` : "auto";
    readout.style.right = onRight ? "auto" : `${state.width - at + 14}px`;
  }

  const follow = (event) => {
    const x = event.clientX - host.getBoundingClientRect().left;
    if (!geometry || x < geometry.left || x > geometry.right) return point(null);
    return point(Math.max(0, Math.min(clips.length - 1, Math.floor(geometry.x.back(x) / frames))));
  };
  for (const name of ["pointermove", "pointerdown"]) host.addEventListener(name, follow);
  // On touch screens the readout stays after the finger is lifted.
  host.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && point(null));
  host.addEventListener("blur", () => point(null));
  host.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    point(state.at === null ? 0 : Math.max(0, Math.min(clips.length - 1, state.at + step)));
  });
  const show = () => {
    state.metric = metrics.get(select.value);
    drawLegend();
    if (state.width) draw(state.width);
    host.setAttribute("aria-label", label());
  };
  select.addEventListener("change", () => {
    show();
    writeAddress({ metric: select.value === curveMetrics[0].id ? null : select.value });
  });
  followAddress((address) => {
    chosen(select, address.get("metric"), curveMetrics[0].id);
    show();
  });
  onWidth(host, draw);
  return section("frames", "Quality over the clip",
    "Mean over clips at each frame index: shows which models stay stable over hundreds of frames, and which drift. " +
    `Each point is a window of ${plural(frames, "frame")}; all clips have the same weight. Clips differ in length, so later means ` +
    "are over fewer clips: curves are faint where less than half of the clips remain.",
    el("div", { class: "card" }, el("div", { class: "controls" }, field), legend, chart));
}
