// Text sections: how numbers are computed, how rows are reproduced, what others published.

function command(text) {
  const code = el("code", {}, text);
  return el("div", { class: "command" }, code, copyButton(() => text));
}

const VERIFIED = {
  none: "not verified here",
  digest: "verified here: every file has the recorded sha256",
  rerun: "verified here: recomputed scores agree",
};

const CLAIMED = {
  digest: "claimed, not verified here: every file has the recorded sha256",
  rerun: "claimed, not verified here: recomputed scores agree",
};

function rowsSection() {
  const facts = (model) => [
    model.verified && VERIFIED[model.verified],
    model.verified === "none" && CLAIMED[model.claimed],
    !data.task.scored && `${plural(model.seeds.length, "seed")}: ${model.seeds.join(", ")}`,
    model.params_b !== null && `${short(model.params_b)} billion parameters`,
    model.gen_fps !== null && `${short(model.gen_fps)} frames/s per worker`,
    model.peak_gpu_gb !== null && `${short(model.peak_gpu_gb)} GB of GPU memory`,
    model.hardware, model.date && `generated ${model.date}`,
    ...(data.task.scored ? [] : [`licence of the code: ${model.licence_code}`, `of the weights: ${model.licence_weights}`]),
  ].filter(Boolean);
  const entries = data.models.map((model) => el("li", { class: model.kind },
    el("div", {}, el("h3", {}, swatch(model), model.name, modelLinks(model)),
      model.description ? el("p", {}, model.description) : null,
      el("p", { class: "quiet facts" }, facts(model).join(" \u00b7 ")),
      model.failed.length ? el("details", {}, el("summary", {}, el("span", { class: "lacking" }, `not scored: ${model.failed.length}`)),
        el("ul", {}, model.failed.map((line) => el("li", {}, line)))) : null,
      el("p", { class: "digest quiet" }, [`run ${model.run_digest.slice(0, 16)}`, model.code].filter(Boolean).join(" \u00b7 "))),
    model.command ? command(model.command) : el("p", { class: "quiet" }, "Generated in Python by a user's own generator object, so there is no command.")));
  return section("rows", "Reproduce a row", data.task.scored ? "Videos made elsewhere, and the command that scores them again." :
    "Hardware, versions and licences of each row, and the command that reproduces it.",
    el("ul", { class: "rows" }, entries));
}

function methodsSection() {
  const entry = (metric) => {
    const parts = [["Definition", metric.definition], ["Formula", metric.formula], ["Source", metric.source], ["Pitfalls", metric.pitfalls]];
    return el("details", { id: `metric-${metric.id}`, class: "entry" },
      el("summary", {}, el("b", {}, metric.title), " ", el("code", {}, metric.id), " ",
        el("span", { class: "quiet" }, [metric.unit, better(metric), `version ${metric.version}`].filter(Boolean).join(" \u00b7 "))),
      el("dl", {}, parts.filter(([, text]) => text).flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])));
  };
  const groups = data.families.map((family) => {
    const members = data.metrics.filter((metric) => metric.family === family.id);
    const names = members.map((metric) => metric.title).slice(0, 6).join(", ") + (members.length > 6 ? ", \u2026" : "");
    return el("details", { class: "family-block" },
      el("summary", {}, family.title, " ", el("span", { class: "quiet" }, names)), members.map(entry));
  });
  const { protocol } = data;
  return section("methods", "How each number is computed",
    `Protocol ${protocol.id}, version ${protocol.version}: ${protocol.title}. ` +
    (protocol.first_frame ? "Frame 0 is the reference itself and is not scored. " : "") + "Values are rounded here only; leaderboard.csv has them in full.",
    protocol.quirks.length ? el("ul", { class: "quirks" }, protocol.quirks.map((quirk) => el("li", {}, quirk))) : null,
    el("div", { class: "card methods" }, groups));
}

function reportedTable(table, method) {
  const arrows = (column) => `${column.id} ${ARROWS[column.direction] ?? ""}`.trim();
  const remarks = [table.where, table.test_set && `on ${table.test_set}`].filter(Boolean);
  const rows = Object.entries(table.rows).filter(([name]) => !method || name === method);
  if (!rows.length) return null;
  return el("details", { class: "source", open: Boolean(method), "data-secondary": table.secondary },
    el("summary", {}, el("b", {}, table.title), " ", table.secondary ? el("span", { class: "tag" }, "second-hand") : null, " ",
      el("span", { class: "quiet" }, remarks.join(" \u00b7 "))),
    el("p", {}, link(table.url, table.url)),
    table.note ? el("p", { class: "quiet" }, table.note) : null,
    table.suspect ? el("p", { class: "lacking" }, "Its PSNR is, or may be, about 10 dB too high, from a uint8 overflow in the script.") : null,
    el("div", { class: "scroll" }, el("table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Method"), table.columns.map((column) => el("th", { scope: "col" }, arrows(column), column.unit ? el("small", {}, column.unit) : null)))),
      el("tbody", {}, rows.map(([name, values]) => el("tr", {}, el("th", { scope: "row" }, name),
        table.columns.map((column) => el("td", {}, values[column.id] === undefined ? "\u2013" : String(values[column.id])))))))));
}

// Numbers read in their source come first; those of third parties' notes are folded, and marked.
function reportedSection() {
  if (!data.reported.length) return null;
  const methods = [...new Set(data.reported.flatMap((table) => Object.keys(table.rows)))].sort((a, b) => a.localeCompare(b, "en"));
  const [field, select] = choice("Method", [{ value: "", text: "all" }, ...methods.map((name) => ({ value: name, text: name }))], "");
  const own = el("div", { class: "sources" });
  const others = el("div", { class: "sources" });
  const second = el("details", { class: "second-hand" },
    el("summary", {}, el("b", {}, "Second-hand numbers"), " ", el("span", { class: "quiet" }, "read from third parties' notes on the papers, not from the papers; check before use")), others);
  const draw = () => {
    const tables = (secondary) => data.reported.filter((table) => table.secondary === secondary).map((table) => reportedTable(table, select.value)).filter(Boolean);
    const [first, rest] = [tables(false), tables(true)];
    own.replaceChildren(...(first.length ? first : [el("p", { class: "quiet" }, "None in a source that was read itself.")]));
    others.replaceChildren(...rest);
    second.hidden = !rest.length;
  };
  select.addEventListener("change", () => {
    draw();
    writeAddress({ method: select.value });
  });
  followAddress((state) => {
    chosen(select, state.get("method") ?? "", "");
    draw();
  });
  return section("reported", "What others published",
    "Numbers from papers and project pages, unchanged: on other test sets, by other code, under protocols that are mostly not stated. " +
    "They are comparable neither with the results above nor with one another.", el("div", { class: "controls" }, field),
    el("div", { class: "card" }, own, second));
}
