// All clips with their values of one metric, by name or worst first: to find the clips to look at.

const CLIPS_AT_FIRST = 10;

// Metrics that any clip has a value of, in the order of the table above.
const clipMetrics = data.metrics.filter((metric) => data.clips.some((clip) => metric.id in clip.values));
const clipMetric = clipMetrics.find((metric) => firstColumns.includes(metric.id)) ?? clipMetrics[0];

function clipValue(clip, metric, model) {
  return number(clip.values[metric.id]?.[data.models.indexOf(model)]);
}

// The models that a worst value is sought in: anchors only if there is nothing else.
const searched = data.models.some((model) => model.kind !== "anchor") ? data.models.filter((model) => model.kind !== "anchor") : data.models;

// The worst of the values of a clip: { model, bad }, or null if there are none.
function worstOf(clip, metric, among) {
  let worst = null;
  for (const model of among) {
    const bad = badness(metric, clipValue(clip, metric, model));
    if (!Number.isNaN(bad) && (worst === null || bad > worst.bad)) worst = { model, bad };
  }
  return worst;
}

// Clips without a value come last; among equals the order by name is kept.
function orderedClips(metric, among) {
  if (!metric || !among) return data.clips;
  const key = new Map(data.clips.map((clip) => [clip, worstOf(clip, metric, among)?.bad ?? null]));
  return [...data.clips].sort((a, b) => {
    const [x, y] = [key.get(a), key.get(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return x === y ? 0 : x > y ? -1 : 1;
  });
}

// Calls onPick(clip, model or null) for a chosen clip, and onOrder(clips) when the order changes.
function clipTable(onPick, onOrder) {
  if (!clipMetrics.length) return null;
  const [metricField, metricSelect] = choice("Metric", clipMetrics.map((metric) => ({ value: metric.id, text: `${metric.title} ${arrow(metric)}`.trim() })), clipMetric.id);
  const [orderField, orderSelect] = choice("Order", [{ value: "", text: "by name" }, { value: "any", text: "worst of any model first" },
    ...data.models.map((model) => ({ value: model.id, text: `worst of ${model.name} first` }))], "");
  const host = el("div", {});
  const more = button("", () => {
    all = true;
    draw();
  }, { class: "more" });
  let [all, current, picture] = [false, data.clips[0], null];
  const metric = () => metrics.get(metricSelect.value);
  const among = () => (orderSelect.value === "" ? null : orderSelect.value === "any" ? searched : [models.get(orderSelect.value)]);

  function row(clip, decimals) {
    const worst = worstOf(clip, metric(), among() ?? searched);
    const seen = picture ?? worst?.model ?? searched[0];
    const thumbs = [[clip.thumb, "real clip"], [clip.thumbs[seen.id], seen.name]].filter(([source]) => source)
      .map(([source, name]) => el("img", { src: source, alt: name, loading: "lazy", title: name }));
    const press = button("", () => onPick(clip, among()?.length === 1 ? among()[0] : null), { class: "pick" });
    const about = [clip.identity !== null && clip.identity !== clip.id && clip.identity, plural(clip.n_frames, "frame")].filter(Boolean).join(" \u00b7 ");
    press.append(...(thumbs.length ? [el("span", { class: "thumbs" }, thumbs)] : []),
      el("span", {}, el("span", { class: "id" }, breakable(clip.id)), el("small", {}, about)));
    const cells = data.models.map((model) => {
      const cell = el("td", { class: worst?.model === model ? "worst" : model.kind === "anchor" ? "quiet" : null }, fixed(clipValue(clip, metric(), model), decimals));
      cell.addEventListener("click", () => onPick(clip, model));
      return cell;
    });
    return el("tr", { "data-clip": clip.id, "aria-current": clip === current ? "true" : null },
      el("th", { scope: "row" }, press), cells);
  }

  function draw() {
    const clips = orderedClips(metric(), among());
    const shown = all ? clips : clips.slice(0, CLIPS_AT_FIRST);
    const decimals = decimalsFor(data.clips.flatMap((clip) => data.models.map((model) => clipValue(clip, metric(), model))));
    const head = el("tr", {}, el("th", { scope: "col" }, "Clip"),
      data.models.map((model) => el("th", { scope: "col", class: model.kind === "anchor" ? "quiet" : null }, breakable(model.name))));
    host.replaceChildren(sideways("values of clips", el("table", { class: "board clips" }, el("thead", {}, head),
      el("tbody", {}, shown.map((clip) => row(clip, decimals))))));
    more.hidden = shown.length === clips.length;
    more.textContent = `Show all ${plural(clips.length, "clip")}`;
    onOrder(clips);
  }

  const change = () => {
    draw();
    writeAddress({ by: metricSelect.value === clipMetric.id ? null : metricSelect.value, order: orderSelect.value });
  };
  for (const select of [metricSelect, orderSelect]) select.addEventListener("change", change);
  followAddress((state) => {
    chosen(metricSelect, state.get("by") ?? "", clipMetric.id);
    chosen(orderSelect, state.get("order") ?? "", "");
    draw();
  });
  const node = el("div", { class: "finder" }, el("h3", {}, "Clips"),
    el("p", { class: "hint" }, "Underlined: the worst model on the clip, anchors aside. Choose a clip to see it above, or a value to see that model."),
    el("div", { class: "controls" }, metricField, orderField), host, more);
  // Marks the clip that is shown; its pictures are of the model.
  const mark = (clip, model) => {
    const redraw = picture !== model;
    [current, picture] = [clip, model];
    if (redraw) return draw();
    for (const line of host.querySelectorAll("tr[data-clip]")) {
      if (line.dataset.clip === clip.id) line.setAttribute("aria-current", "true");
      else line.removeAttribute("aria-current");
    }
    return undefined;
  };
  return { node, mark };
}
