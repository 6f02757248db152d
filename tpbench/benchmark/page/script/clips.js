// One clip after another: videos with one playhead, their curves, and the table of clips.

const GAINS = ["1", "4", "16"];

function clipsSection() {
  if (!data.clips.length) return null;
  const made = data.models.filter((model) => data.clips.some((clip) => clip.generated[model.id]));
  const some = made.length ? made : data.models;
  const byKind = [...some].sort((a, b) => (a.kind === "anchor") - (b.kind === "anchor"));
  const modelOptions = byKind.map((model) => ({ value: model.id, text: model.name }));
  const first = { clip: data.clips[0].id, model: modelOptions[0].value };
  const state = { clip: data.clips[0], frame: 0, large: null, clips: data.clips };
  const clipOptions = (clips) => clips.map((clip) => ({ value: clip.id, text: clip.id }));
  const [clipField, clipSelect] = choice("Clip", clipOptions(data.clips), first.clip);
  const [modelField, modelSelect] = choice("Model", modelOptions, first.model);
  const [otherField, otherSelect] = choice("Compare with", [{ value: "", text: "nothing" }, ...modelOptions], "");
  const [viewField, viewSelect] = choice("View", [{ value: "", text: "one or two models" }, { value: "grid", text: "all models" }], "");
  const [gainField, gainSelect] = choice("Difference", [{ value: "", text: "off" }, ...GAINS.map((gain) => ({ value: gain, text: `\u00d7 ${gain}` }))], "");
  const [speedField, speedSelect] = choice("Speed", ["0.25", "0.5", "1"].map((rate) => ({ value: rate, text: `${rate}\u00d7` })), "1");
  const screens = el("div", { class: "screens" });
  const slider = el("input", { type: "range", min: 0, step: 1, value: 0, "aria-label": "frame" });
  const where = el("output", { class: "where" });
  const playButton = button("Play", toggle, { class: "strong", "data-action": "play" });
  const back = button("\u2212 1", () => player.step(-1), { "aria-label": "one frame back", "data-action": "back" });
  const on = button("+ 1", () => player.step(1), { "aria-label": "one frame on", "data-action": "on" });
  const panels = el("div", { class: "panels" });
  const before = button("\u2039", () => goBy(-1), { "aria-label": "previous clip" });
  const after = button("\u203a", () => goBy(1), { "aria-label": "next clip" });
  const card = el("div", { class: "card viewer" },
    el("div", { class: "controls" }, el("span", { class: "turner" }, clipField, before, after), modelField, otherField, viewField, gainField), screens,
    el("div", { class: "transport" }, playButton, back, on, slider, where, speedField), panels);
  let player = new Player(25, 1, () => null);
  let playheads = [];
  let loaded = "";
  let writing = 0;

  function toggle() {
    if (player.playing) player.pause();
    else player.play();
    onFrame(player.frame);
  }

  function chosenModels() {
    if (viewSelect.value === "grid") return byKind;
    return [...new Set([modelSelect.value, otherSelect.value].filter(Boolean))].map((id) => models.get(id));
  }

  function load() {
    const { clip } = state;
    loaded = what();
    player.close();
    player = new Player(clip.fps ?? 25, clip.n_frames, onFrame);
    player.rate = Number(speedSelect.value);
    slider.max = clip.n_frames - 1;
    const grid = viewSelect.value === "grid";
    modelField.hidden = grid;
    otherField.hidden = grid;
    gainField.hidden = !data.clips.some((one) => one.real && one.reference_clip === one.driving_clip);
    showScreens(screens, { clip, shown: chosenModels(), grid, gain: Number(gainSelect.value), large: state.large, player, onLarge });
    drawPanels();
    table?.mark(clip, grid ? null : models.get(modelSelect.value));
    player.show(Math.min(state.frame, clip.n_frames - 1));
  }

  // What has to be loaded again if it changes.
  function what() {
    return JSON.stringify([state.clip.id, modelSelect.value, otherSelect.value, viewSelect.value, gainSelect.value, state.large]);
  }

  function onLarge(key) {
    const from = document.activeElement?.dataset?.key;
    state.large = key;
    show();
    [...screens.querySelectorAll(".enlarge")].find((press) => press.dataset.key === from)?.focus();
    if (key !== null) screens.scrollIntoView({ block: "nearest" });
  }

  // Loads what the fields say, and writes it into the address.
  function show(changes = {}) {
    load();
    writeAddress({
      clip: state.clip.id === first.clip ? null : state.clip.id,
      model: modelSelect.value === first.model ? null : modelSelect.value,
      with: otherSelect.value, view: viewSelect.value, difference: gainSelect.value, large: state.large, ...changes,
    });
  }

  function pick(clip, model) {
    state.clip = clip;
    state.frame = 0;
    clipSelect.value = clip.id;
    if (model && [...modelSelect.options].some((option) => option.value === model.id)) modelSelect.value = model.id;
    show({ frame: null });
  }

  function goBy(step) {
    const at = state.clips.indexOf(state.clip) + step;
    if (at >= 0 && at < state.clips.length) pick(state.clips[at], null);
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
    clearTimeout(writing);
    if (!player.playing) writing = setTimeout(() => writeAddress({ frame: frame || null }, { replace: true }), 300);
  }

  function drawPanels() {
    const width = Math.floor(panels.clientWidth);
    if (!width) return;
    const columns = Math.max(1, Math.floor(width / 250));
    const each = Math.floor((width - (columns - 1) * 14) / columns);
    const move = (frame) => {
      player.pause();
      player.show(frame);
    };
    playheads = curveMetrics.map((metric) => clipPanel(state.clip, metric, chosenModels(), each, move)).filter(Boolean);
    panels.replaceChildren(...playheads.map(({ figure }) => figure));
    onFrame(state.frame);
  }

  const table = clipTable((clip, model) => {
    pick(clip, model);
    card.scrollIntoView({ block: "nearest" });
  }, (clips) => {
    state.clips = clips;
    clipSelect.replaceChildren(...clipOptions(clips).map((option) => el("option", { value: option.value }, option.text)));
    clipSelect.value = state.clip.id;
  });
  clipSelect.addEventListener("change", () => pick(data.clips.find((clip) => clip.id === clipSelect.value), null));
  for (const select of [modelSelect, otherSelect, viewSelect, gainSelect]) select.addEventListener("change", () => show());
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
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && state.large !== null && !event.defaultPrevented) onLarge(null);
  });
  followAddress((address) => {
    clearTimeout(writing);
    chosen(clipSelect, address.get("clip") ?? "", first.clip);
    state.clip = data.clips.find((clip) => clip.id === clipSelect.value);
    chosen(modelSelect, address.get("model") ?? "", first.model);
    chosen(otherSelect, address.get("with") ?? "", "");
    chosen(viewSelect, address.get("view") ?? "", "");
    chosen(gainSelect, address.get("difference") ?? "", "");
    state.large = address.get("large");
    const frame = Math.trunc(Number(address.get("frame")));
    state.frame = Number.isFinite(frame) ? Math.max(0, Math.min(state.clip.n_frames - 1, frame)) : 0;
    if (loaded !== what()) load();
    else player.show(state.frame);
  });
  onWidth(panels, drawPanels);
  return section("clips", "Clip by clip",
    "All videos share one playhead: drag the slider or a curve. On the keyboard: space plays, comma and full stop step a frame, Escape leaves an " +
    "enlarged picture. Faint curves are those of the other models. The difference to the real clip is exact while nothing plays.", card, table?.node);
}
