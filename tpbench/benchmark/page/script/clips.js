// One clip: its inputs, the real and the generated videos, and their curves below.

const PACKED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

function unpacked(text, low, high) {
  const values = [];
  for (let i = 0; i < text.length; i += 2) {
    const code = PACKED.indexOf(text[i]) * 64 + PACKED.indexOf(text[i + 1]);
    values.push(code === 4095 ? NaN : code === 4094 ? Infinity : low + (code / 4093) * (high - low));
  }
  return values;
}

function clipsSection() {
  if (!data.clips.length) return null;
  const state = { clip: data.clips[0], frame: 0 };
  const made = data.models.filter((model) => data.clips.some((clip) => clip.generated[model.id]));
  const some = made.length ? made : data.models;
  const byKind = [...some].sort((a, b) => (a.kind === "anchor") - (b.kind === "anchor"));
  const modelOptions = byKind.map((model) => ({ value: model.id, text: model.name }));
  const [clipField, clipSelect] = choice("Clip", data.clips.map((clip) => ({ value: clip.id, text: clip.id })), state.clip.id);
  const [modelField, modelSelect] = choice("Model", modelOptions, modelOptions[0].value);
  const [otherField, otherSelect] = choice("Compare with", [{ value: "", text: "nothing" }, ...modelOptions], "");
  const [speedField, speedSelect] = choice("Speed", ["0.25", "0.5", "1"].map((rate) => ({ value: rate, text: `${rate}\u00d7` })), "1");
  const screens = el("div", { class: "screens" });
  const slider = el("input", { type: "range", min: 0, step: 1, value: 0, "aria-label": "frame" });
  const where = el("output", { class: "where" });
  const playButton = button("Play", toggle, { class: "strong", "data-action": "play" });
  const back = button("\u2212 1", () => player.step(-1), { "aria-label": "one frame back", "data-action": "back" });
  const on = button("+ 1", () => player.step(1), { "aria-label": "one frame on", "data-action": "on" });
  const panels = el("div", { class: "panels" });
  const card = el("div", { class: "card viewer" },
    el("div", { class: "controls" }, clipField, modelField, otherField), screens,
    el("div", { class: "transport" }, playButton, back, on, slider, where, speedField), panels);
  let player = new Player(25, 1, () => null);
  let playheads = [];

  function toggle() {
    if (player.playing) player.pause();
    else player.play();
    onFrame(player.frame);
  }

  function screen(kind, caption, source, extra = {}) {
    const said = el("figcaption", {}, caption);
    if (!source) return el("figure", { "data-kind": kind }, el("div", { class: "void" }, "no video"), said);
    if (kind === "reference") return el("figure", { "data-kind": kind }, el("img", { src: source, alt: "the reference image" }), said);
    const video = el("video", { src: source, preload: "metadata", playsinline: true, "aria-label": caption, ...extra });
    video.muted = true;
    const figure = el("figure", { "data-kind": kind }, video, said);
    video.addEventListener("error", () => video.replaceWith(el("div", { class: "void" }, "the video file is missing")));
    player.add(video);
    return figure;
  }

  function chosenModels() {
    return [...new Set([modelSelect.value, otherSelect.value].filter(Boolean))].map((id) => models.get(id));
  }

  function load() {
    const clip = state.clip;
    player.close();
    player = new Player(clip.fps ?? 25, clip.n_frames, onFrame);
    player.rate = Number(speedSelect.value);
    slider.max = clip.n_frames - 1;
    const own = clip.reference_clip === clip.driving_clip;
    screens.replaceChildren(
      screen("reference", own ? "Reference: first frame" : `Reference: ${clip.reference_clip}`, clip.reference),
      screen("pose", "Driving pose", clip.pose),
      screen("real", own ? "Real clip" : `Driving clip: ${clip.driving_clip}`, clip.real),
      ...chosenModels().map((model) => screen("generated", model.name, clip.generated[model.id], { "data-model": model.id })));
    screens.style.setProperty("--screens", screens.children.length);
    drawPanels();
    player.show(Math.min(state.frame, clip.n_frames - 1));
  }

  function onFrame(frame) {
    state.frame = frame;
    slider.value = frame;
    slider.setAttribute("aria-valuetext", `frame ${frame} of ${state.clip.n_frames}`);
    const seconds = state.clip.fps ? ` \u00b7 ${(frame / state.clip.fps).toFixed(2)} s` : "";
    where.textContent = `frame ${frame} / ${state.clip.n_frames - 1}${seconds}`;
    playButton.textContent = player.playing ? "Pause" : "Play";
    for (const { line, x, say } of playheads) {
      line.setAttribute("x1", x(frame + 0.5));
      line.setAttribute("x2", x(frame + 0.5));
      say(frame);
    }
  }

  function drawPanels() {
    const width = Math.floor(panels.clientWidth);
    if (!width) return;
    const columns = Math.max(1, Math.floor(width / 250));
    const each = Math.floor((width - (columns - 1) * 14) / columns);
    playheads = [];
    panels.replaceChildren(...curveMetrics.map((metric) => panel(metric, each)).filter(Boolean));
    onFrame(state.frame);
  }

  function panel(metric, width) {
    const found = state.clip.curves[metric.id];
    if (!found || !Object.keys(found.models).length) return null;
    const curves = new Map(Object.entries(found.models).map(([id, text]) => [id, unpacked(text, found.low, found.high)]));
    const chosen = chosenModels().filter((model) => curves.has(model.id));
    const [left, right, top, bottom] = [44, width - 6, 8, 96];
    const x = scale(0, state.clip.n_frames, left, right);
    const y = verticalScale(robustRange([...curves.values()], chosen.map((model) => curves.get(model.id))), top, bottom);
    const xAt = (i) => x(Math.min((i + 0.5) * state.clip.window, state.clip.n_frames));
    const line = svg("line", { class: "playhead", y1: top, y2: bottom });
    const drawn = svg("svg", { width, height: 116, class: "drawn", role: "img", "aria-label": `${metric.title} of this clip, ${better(metric)}` },
      svg("rect", { class: "band", x: x(0), y: top, width: x(Math.min(HUNDRED, x.high)) - x(0), height: bottom - top }),
      ...valueAxis(y, left, right, 2), ...frameAxis(x, top, bottom, 4),
      [...curves].filter(([id]) => !chosen.includes(models.get(id))).map(([id, values]) => curvePath(models.get(id), values, xAt, y, { class: "curve other" })),
      chosen.map((model) => curvePath(model, curves.get(model.id), xAt, y)), line);
    const numbers = chosen.map((model) => {
      const text = el("b", {});
      text.style.setProperty("--c", model.colour);
      return { model, text };
    });
    const all = [...curves.values()].flat();
    const decimals = decimalsFor(all);
    const say = (frame) => {
      for (const { model, text } of numbers) {
        text.textContent = fixed(curves.get(model.id)[Math.floor(frame / state.clip.window)] ?? NaN, decimals);
      }
    };
    playheads.push({ line, x, say });
    const move = (event) => {
      if (event.type === "pointermove" && !event.buttons) return;
      player.pause();
      player.show(Math.floor(x.back(event.clientX - drawn.getBoundingClientRect().left)));
    };
    drawn.addEventListener("pointerdown", move);
    drawn.addEventListener("pointermove", move);
    return el("figure", { class: "panel", "data-metric": metric.id },
      el("figcaption", {}, el("span", {}, `${metric.title} ${arrow(metric)}`), el("span", { class: "now" }, numbers.map(({ text }) => text))), drawn);
  }

  clipSelect.addEventListener("change", () => {
    state.clip = data.clips.find((clip) => clip.id === clipSelect.value);
    state.frame = 0;
    load();
  });
  for (const select of [modelSelect, otherSelect]) select.addEventListener("change", load);
  speedSelect.addEventListener("change", () => {
    player.rate = Number(speedSelect.value);
  });
  slider.addEventListener("input", () => {
    const frame = Number(slider.value);
    player.pause();
    player.show(frame);
  });
  card.addEventListener("keydown", (event) => {
    if (["SELECT", "BUTTON"].includes(event.target.tagName) && event.key === " ") return;
    if (event.key === " ") toggle();
    else if (event.key === "," || event.key === ".") player.step(event.key === "." ? 1 : -1);
    else return;
    event.preventDefault();
  });
  onWidth(panels, drawPanels);
  load();
  return section("clips", "Clip by clip",
    "All videos share one playhead: drag the slider or a curve. On the keyboard: space plays, comma and full stop step a frame. " +
    "Faint curves are those of the other models.", card);
}
