// The table: sortable by any column, with filters by name and kind, and arrow keys to move.

function cellFor(column, model, decimals) {
  const value = columnValue(column, model);
  if (column.about) return el("td", { tabindex: -1 }, Number.isNaN(value) ? "" : short(value));
  const cell = model.cells[column.id] ?? { notes: ["not measured"] };
  const lines = [`${column.title}: ${fixed(value, decimals)} ${column.unit}`.trim()];
  if (Number.isNaN(value)) {
    const blank = el("td", { tabindex: -1, class: "blank" }, el("span", { "aria-hidden": "true" }, "\u2013"),
      el("span", { class: "unseen" }, "not measured"));
    return withTip(blank, [`${column.title}: not measured`, ...cell.notes]);
  }
  if (cell.mark === "best") lines.push("best of those measured");
  if (cell.mark === "tied") lines.push("not significantly worse than the best");
  const made = el("td", { tabindex: -1, class: cell.mark ? "best" : null }, el("span", {}, fixed(value, decimals)));
  const level = Math.round((cell.level ?? 0.95) * 100);
  const ends = interval(cell.low, cell.high, decimals);
  if (ends) lines.push(`${level} % interval of the value: ${ends}`);
  if (cell.distance === undefined) {
    if (ends) made.append(el("small", {}, ends));
  } else {
    // The table shows the interval of the judged distance, the tooltip that of the value.
    const off = fixed(cell.distance, decimals);
    const around = interval(cell.distance_low, cell.distance_high, decimals);
    made.append(el("small", {}, `off ${off}`, around ? el("span", { class: "around" }, ` (${around})`) : null));
    lines.push(`distance to ${column.target}, by which it is judged: ${off}, mean over clips${around ? `; ${level} % interval ${around}` : ""}`);
  }
  if (cell.of !== undefined) made.append(el("small", { class: "lacking" }, `n = ${cell.n} of ${cell.of}`));
  lines.push(`n = ${plural(cell.n, "clip")}${cell.of === undefined ? "" : `; another model has ${cell.of}`}`, ...(cell.notes ?? []));
  return withTip(made, lines);
}

function interval(low, high, decimals) {
  if (low === undefined || high === undefined) return "";
  return `${fixed(number(low), decimals)} \u2026 ${fixed(number(high), decimals)}`;
}

function nameCell(model) {
  const incomplete = model.coverage < 1;
  const sub = [model.kind === "anchor" && "anchor", model.id !== model.name && model.id].filter(Boolean).join(" \u00b7 ");
  const cell = el("th", { scope: "row" },
    el("span", { class: "name" }, breakable(model.name)),
    sub ? el("span", { class: "quiet kind" }, breakable(sub)) : null,
    incomplete ? el("span", { class: "lacking" }, `only ${share(model.coverage)} of clips`) : null,
    modelLinks(model));
  return withTip(cell, [model.name, ...(model.description ? [model.description] : []), ...model.failed.slice(0, 6),
    ...(model.failed.length > 6 ? [`and ${model.failed.length - 6} more`] : [])]);
}

// Links to what is known of a model; null if nothing is.
function modelLinks(model) {
  const found = [["code", model.url], ["paper", model.paper_url], ["weights", model.weights_url]].filter(([, to]) => isWeb(to));
  return found.length ? el("span", { class: "links" }, found.map(([text, to]) => link(to, text))) : null;
}

function headFor(column, sort, onSort) {
  const rising = (column.direction === "lower" || column.direction === "target") !== sort.worst;
  const state = sort.id === column.id ? (rising ? "ascending" : "descending") : "none";
  const press = button("", () => onSort(column), { class: "sort" });
  press.append(el("span", { class: "title" }, column.label ?? column.title, el("span", { class: "arrow" }, `\u00a0${arrow(column)}`)),
    el("small", {}, column.unit || "\u00a0"));
  const head = el("th", { scope: "col", "aria-sort": state, "data-column": column.id }, press);
  const lines = [column.title, better(column)];
  if (column.definition) lines.push(column.definition);
  if (column.ties) lines.push(column.ties);
  lines.push(...(column.judged ?? []));
  return withTip(head, lines);
}

function familyHeads(columns) {
  const heads = [];
  for (const column of columns) {
    const last = heads.at(-1);
    if (last?.family === column.family) last.span += 1;
    else heads.push({ family: column.family, span: 1 });
  }
  return heads.map((head) => el("th", { scope: "colgroup", colspan: head.span, class: "family" },
    el("span", {}, families.find((family) => family.id === head.family).title)));
}

function sortedModels(column, sort) {
  if (!column) return data.models;
  // Models without a value for all judged clips are not ranked, and come last.
  const key = (model) => (column.about ? badness(column, columnValue(column, model)) : number(model.cells[column.id]?.rank));
  return [...data.models].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return x === y ? 0 : (x < y ? -1 : 1) * (sort.worst ? -1 : 1);
  });
}

// Arrow keys move from cell to cell; the Tab key stops once in the body of the table.
function walk(event) {
  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const cell = event.target.closest("td");
  const move = moves[event.key];
  if (!cell || !move) return;
  const rows = [...cell.closest("tbody").rows];
  const row = rows[rows.indexOf(cell.parentElement) + move[0]];
  const next = row?.cells[cell.cellIndex + move[1]];
  if (next?.tagName !== "TD") return;
  event.preventDefault();
  cell.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

function whatValuesAre() {
  const cells = data.models.flatMap((model) => Object.values(model.cells));
  const level = cells.find((cell) => cell.level)?.level;
  if (level) return `Mean over clips with its ${Math.round(level * 100)} % interval over identities.`;
  const why = cells.flatMap((cell) => cell.notes ?? []).find((note) => note.startsWith("no interval"));
  return why ? `Mean over clips; ${why}.` : "Mean over clips.";
}

function boardTable() {
  const sort = { id: null, worst: false };
  let columns = [];
  let shown = [];
  const head = el("thead");
  const body = el("tbody");
  const said = el("p", { class: "unseen", "aria-live": "polite" });
  const judged = el("ul", { class: "judged quiet" });
  const text = el("input", { type: "search", placeholder: "Filter models", "aria-label": "filter models by name" });
  const [kindField, kind] = choice("Show", [
    { value: "", text: "all" }, { value: "measured", text: "models" }, { value: "anchor", text: "anchors" }], "");

  const onSort = (column) => {
    if (sort.id !== column.id) Object.assign(sort, { id: column.id, worst: false });
    else if (!sort.worst) sort.worst = true;
    else sort.id = null;
    draw();
    writeAddress({ sort: sort.id && `${sort.worst ? "-" : ""}${sort.id}` });
    const sorted = sort.id ? `sorted by ${column.title}, ${sort.worst ? "worst" : "best"} first` : "in the original order";
    said.textContent = sorted;
    head.querySelector(`[data-column="${CSS.escape(column.id)}"] button`)?.focus();
  };

  function draw() {
    const sortColumn = columns.find((column) => column.id === sort.id);
    head.replaceChildren(
      el("tr", {}, el("td"), el("td"), familyHeads(columns)),
      el("tr", {}, el("th", { scope: "col" }, "Model"), el("th", { scope: "col" }, "Clips"),
        columns.map((column) => headFor(column, sort, onSort))));
    const decimals = columns.map(columnDecimals);
    const wanted = text.value.trim().toLowerCase();
    shown = sortedModels(sortColumn, sort).filter((model) =>
      (!kind.value || model.kind === kind.value) && `${model.name} ${model.id}`.toLowerCase().includes(wanted));
    body.replaceChildren(...shown.map((model) => el("tr", { class: model.kind, "data-model": model.id },
      nameCell(model),
      el("td", { tabindex: -1, class: model.coverage < 1 ? "lacking" : null }, String(model.n_clips)),
      columns.map((column, i) => cellFor(column, model, decimals[i])))));
    if (!shown.length) body.append(el("tr", {}, el("td", { colspan: columns.length + 2, class: "empty" }, "No model matches the filter.")));
    judged.replaceChildren(...columns.flatMap((column) => (column.judged ?? []).map((note) =>
      el("li", {}, el("b", {}, column.title), `: ${note}.`))));
    const first = body.querySelector("td");
    if (first) first.tabIndex = 0;
  }

  text.addEventListener("input", () => {
    draw();
    writeAddress({ find: text.value.trim() }, { replace: true });
    said.textContent = `${plural(body.querySelectorAll("tr[data-model]").length, "model")} shown`;
  });
  kind.addEventListener("change", () => {
    draw();
    writeAddress({ show: kind.value });
  });
  body.addEventListener("keydown", walk);
  const chooser = columnChooser((list) => {
    columns = list;
    draw();
    const ids = columns.map((column) => column.id);
    writeAddress({ columns: ids.join() === firstColumns.join() ? null : ids.join() || "none" });
  });
  followAddress((state) => {
    const wanted = state.get("columns")?.split(",");
    const ids = wanted ? wanted.filter((id) => filledIds.has(id)) : firstColumns;
    columns = filled.filter((column) => (ids.length || wanted?.[0] === "none" ? ids : firstColumns).includes(column.id));
    chooser.show(columns.map((column) => column.id));
    const order = state.get("sort") ?? "";
    const id = order.replace(/^-/, "");
    Object.assign(sort, { id: columns.some((column) => column.id === id) ? id : null, worst: order.startsWith("-") });
    text.value = state.get("find") ?? "";
    chosen(kind, state.get("show") ?? "", "");
    draw();
  });
  return section("table", "Results", `${whatValuesAre()} ` +
    `Arrows show what is better. ${data.has_marks ? "Bold: the best model and those not significantly worse. " : ""}` +
    "Off: mean distance of clips from the target, by which the metric is judged. Shaded rows are anchors: they calibrate the metrics and are not ranked.",
    el("div", { class: "controls floats" }, text, kindField, chooser.node, copyMenu(() => [shown, columns])),
    sideways("results", el("table", { class: "board" }, head, body)), judged, howToReport(), el("p", { class: "quiet marks" }, data.marks), said);
}
