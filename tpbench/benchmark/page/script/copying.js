// Copies text and tables: the shown rows and columns as LaTeX, Markdown or CSV.

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // A page opened from a file may have no clipboard of its own.
    const area = el("textarea", { class: "unseen", readonly: true });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

function copyButton(text, label = "Copy") {
  const press = button(label, async () => {
    press.textContent = (await copyText(text())) ? "Copied" : "Not copied";
    setTimeout(() => {
      press.textContent = label;
    }, 1500);
  }, { class: "copy" });
  return press;
}

// What was measured how, in one line.
function provenance() {
  const { dataset, task, protocol } = data;
  const plain = (text) => String(text).replace(/\s+/g, " ");
  return plain(protocol.how_to_report || `${dataset.name} (${dataset.digest.slice(0, 12)}), split ${dataset.split}, ${plural(dataset.n_clips, "clip")} of ` +
    `${identities(dataset.n_identities)}; task ${task.id} v${task.version}; protocol ${protocol.id} v${protocol.version} ` +
    `(${protocol.digest.slice(0, 12)}); tpbench ${data.tool}`);
}

// A table of { text, best } by row; `value` is unrounded.
function tableCells(rows, columns) {
  return rows.map((model) => columns.map((column) => {
    const value = columnValue(column, model);
    const decimals = column.about ? decimalsFor([value]) : columnDecimals(column);
    const mark = column.about ? undefined : model.cells[column.id]?.mark;
    return { value, text: Number.isNaN(value) ? "" : fixed(value, decimals), best: Boolean(mark) };
  }));
}

const LATEX = { "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", $: "\\$", "#": "\\#", _: "\\_", "{": "\\{", "}": "\\}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}" };
const LATEX_ARROWS = { higher: " $\\uparrow$", lower: " $\\downarrow$", none: "" };

function latexText(text) {
  return String(text).replace(/\s+/g, " ").replace(/[\\&%$#_{}~^<>|]/g, (sign) => LATEX[sign]);
}

function latexNumber(text) {
  return text.replace("\u2212", "$-$").replace("\u221e", "$\\infty$").replaceAll(",", "{,}");
}

function asLatex(rows, columns) {
  const heads = columns.map((column) => latexText(column.label ?? column.title) +
    (column.direction === "target" ? ` $\\to ${column.target}$` : LATEX_ARROWS[column.direction]));
  const units = columns.map((column) => (column.unit ? latexText(column.unit.replaceAll("\u2079", "^9")) : ""));
  const cells = tableCells(rows, columns).map((row) => row.map(({ text, best }) =>
    (best ? `\\textbf{${latexNumber(text)}}` : latexNumber(text))));
  const lines = [
    `% ${provenance()}`,
    `% ${data.has_marks ? "Bold: the best model, and those not significantly worse. " : ""}Needs \\usepackage{booktabs}.`,
    `\\begin{tabular}{l${"r".repeat(columns.length)}}`, "\\toprule",
    `${["Model", ...heads].join(" & ")} \\\\`,
    ...(units.some(Boolean) ? [`${["", ...units].join(" & ")} \\\\`] : []), "\\midrule",
  ];
  rows.forEach((model, i) => {
    if (i && model.kind === "anchor" && rows[i - 1].kind !== "anchor") lines.push("\\midrule");
    const name = latexText(model.name);
    lines.push(`${[model.kind === "anchor" ? `\\textit{${name}}` : name, ...cells[i]].join(" & ")} \\\\`);
  });
  return `${[...lines, "\\bottomrule", "\\end{tabular}"].join("\n")}\n`;
}

// As in leaderboard.md: signs that Markdown or a dialect of it reads are escaped.
function markdownText(text) {
  return String(text).replace(/\s+/g, " ").replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
    .replace(/[\\`*[\]|~$@]|_(?![A-Za-z0-9])|(?<![A-Za-z0-9])_|:(?=\/\/)|(?<=[wW]{3})\./g, (sign) => `\\${sign}`);
}

function asMarkdown(rows, columns) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  const heads = columns.map((column) => [markdownText(column.label ?? column.title), arrow(column).replace("\u2009", ""), column.unit && `(${markdownText(column.unit)})`].filter(Boolean).join(" "));
  const cells = tableCells(rows, columns).map((row) => row.map(({ text, best }) => (best ? `**${text}**` : text)));
  return [line(["Model", ...heads]), line(["---", ...columns.map(() => "---:")]),
    ...rows.map((model, i) => line([model.kind === "anchor" ? `*${markdownText(model.name)}*` : markdownText(model.name), ...cells[i]])),
    "", markdownText(provenance()), ""].join("\n");
}

// Numbers are unrounded, blanks empty, infinity `inf`; text that a spreadsheet would run gets an apostrophe.
function asCsv(rows, columns) {
  const number_ = (value) => (Number.isNaN(value) ? "" : Number.isFinite(value) ? String(value) : value > 0 ? "inf" : "-inf");
  const text = (given) => {
    const safe = /^\s*[=+\-@\t\r]/.test(given) || (given.trim() !== "" && !Number.isNaN(Number(given))) ? `'${given}` : given;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const cells = tableCells(rows, columns).map((row) => row.map(({ value }) => number_(value)));
  const lines = [["model", "kind", ...columns.map((column) => column.id.replace(/^about:/, ""))],
    ...rows.map((model, i) => [text(model.name), model.kind, ...cells[i]])];
  return `${lines.map((line) => line.join(",")).join("\n")}\n`;
}

// What a paper has to say of these numbers.
function howToReport() {
  const text = data.protocol.how_to_report;
  if (!text) return null;
  return el("div", { class: "how" }, el("p", {}, el("b", {}, "How to report: "), text), copyButton(() => text));
}

// A menu that copies the table; `shown` returns its rows and columns.
function copyMenu(shown) {
  const formats = [["LaTeX", asLatex], ["Markdown", asMarkdown], ["CSV", asCsv]];
  const file = (name, text) => el("a", { href: name }, text);
  return popover("copying", ["Copy table"],
    el("p", { class: "quiet" }, "The rows and columns shown, as"),
    el("p", { class: "row" }, formats.map(([label, format]) => {
      const press = copyButton(() => format(...shown()), label);
      press.dataset.format = label.toLowerCase();
      return press;
    })),
    el("p", { class: "quiet" }, "All of it: ", file("leaderboard.csv", "CSV"), ", ", file("leaderboard.schema.json", "its schema"), ", ",
      file("leaderboard.md", "Markdown"), "."));
}
