// Text sections: how numbers are computed, how rows are reproduced, what others published.

function copyButton(node) {
  const press = button("Copy", async () => {
    const text = node.textContent;
    try {
      await navigator.clipboard.writeText(text);
      press.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(node);
      press.textContent = document.execCommand("copy") ? "Copied" : "Selected";
    }
    setTimeout(() => {
      press.textContent = "Copy";
    }, 1500);
  }, { class: "copy" });
  return press;
}

function command(text) {
  const code = el("code", {}, text);
  return el("div", { class: "command" }, code, copyButton(code));
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
    `${plural(model.seeds.length, "seed")}: ${model.seeds.join(", ")}`,
    model.params_b !== null && `${short(model.params_b)} billion parameters`,
    model.gen_fps !== null && `${short(model.gen_fps)} frames/s per worker`,
    model.peak_gpu_gb !== null && `${short(model.peak_gpu_gb)} GB of GPU memory`,
    model.hardware, model.date && `generated ${model.date}`,
    `licence of the code: ${model.licence_code}`, `of the weights: ${model.licence_weights}`,
  ].filter(Boolean);
  const entries = data.models.map((model) => el("li", { class: model.kind },
    el("div", {}, el("h3", {}, swatch(model), model.url ? link(model.url, model.name) : model.name),
      model.description ? el("p", {}, model.description) : null,
      el("p", { class: "quiet facts" }, facts(model).join(" \u00b7 ")),
      model.failed.length ? el("details", {}, el("summary", {}, el("span", { class: "lacking" }, `not scored: ${model.failed.length}`)),
        el("ul", {}, model.failed.map((line) => el("li", {}, line)))) : null,
      el("p", { class: "digest quiet" }, `run ${model.run_digest.slice(0, 16)} \u00b7 ${model.code}`)),
    model.command ? command(model.command) : el("p", { class: "quiet" }, "Generated in Python by a user's own generator object, so there is no command.")));
  return section("rows", "Reproduce a row", "Hardware, versions and licences of each row, and the command that reproduces it.",
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

function reportedSection() {
  if (!data.reported.length) return null;
  const tables = data.reported.map((table) => {
    const arrows = (column) => `${column.id} ${ARROWS[column.direction] ?? ""}`.trim();
    const remarks = [table.where, table.test_set && `on ${table.test_set}`, table.secondary && "read from a third party's notes"].filter(Boolean);
    return el("details", { class: "source" },
      el("summary", {}, el("b", {}, table.title), " ", el("span", { class: "quiet" }, remarks.join(" \u00b7 "))),
      el("p", {}, link(table.url, table.url)),
      table.note ? el("p", { class: "quiet" }, table.note) : null,
      table.suspect ? el("p", { class: "lacking" }, "Its PSNR is, or may be, about 10 dB too high, from a uint8 overflow in the script.") : null,
      el("div", { class: "scroll" }, el("table", {},
        el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Method"), table.columns.map((column) => el("th", { scope: "col" }, arrows(column), column.unit ? el("small", {}, column.unit) : null)))),
        el("tbody", {}, Object.entries(table.rows).map(([method, values]) => el("tr", {}, el("th", { scope: "row" }, method),
          table.columns.map((column) => el("td", {}, values[column.id] === undefined ? "\u2013" : String(values[column.id])))))))));
  });
  return section("reported", "What others published",
    "Numbers from papers and project pages, unchanged: on other test sets, by other code, under protocols that are mostly not stated. " +
    "They are comparable neither with the results above nor with one another.", el("div", { class: "card" }, tables));
}
