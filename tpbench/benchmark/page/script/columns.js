// The columns of the table: at first the headline metrics; others can be chosen by family. Columns
// that are blank in every row can't be chosen.

const ABOUT = [
  { id: "about:seeds", title: "Seeds", about: (model) => model.seeds.length },
  { id: "about:params", title: "Parameters", unit: "10\u2079", about: (model) => model.params_b },
  { id: "about:fps", title: "Speed", unit: "frames/s", about: (model) => model.gen_fps },
  { id: "about:gpu", title: "GPU memory", unit: "GB", about: (model) => model.peak_gpu_gb },
].map((column) => ({ direction: "none", unit: "", family: "about", headline: false, ...column }));

const families = [...data.families, { id: "about", title: "About the model" }];
const allColumns = [...data.metrics, ...ABOUT];

function columnValue(column, model) {
  return column.about ? number(column.about(model)) : number(model.cells[column.id]?.value);
}

function columnDecimals(column) {
  return decimalsFor(data.models.map((model) => columnValue(column, model)));
}

const filled = allColumns.filter((column) => data.models.some((model) => !Number.isNaN(columnValue(column, model))));
const filledIds = new Set(filled.map((column) => column.id));
const headline = filled.filter((column) => column.headline);
const firstColumns = (headline.length ? headline : filled.slice(0, 10)).map((column) => column.id);

function whyBlank(column) {
  const reasons = column.about ? [] : data.models.flatMap((model) => model.cells[column.id]?.notes ?? []);
  return [...new Set(reasons)].slice(0, 3);
}

// Returns a floating panel of checkboxes that calls onChange(list of columns), and what sets them.
function columnChooser(onChange) {
  const boxes = new Map();
  const count = el("span", { class: "quiet" });
  const list = () => filled.filter((column) => boxes.get(column.id).checked);
  const say = () => {
    count.textContent = ` ${list().length} of ${filled.length}`;
  };
  const tell = () => {
    say();
    onChange(list());
  };
  const tick = (wanted) => {
    for (const [id, box] of boxes) box.checked = filledIds.has(id) && wanted(id, box.checked);
  };
  const set = (wanted) => {
    tick(wanted);
    tell();
  };
  const groups = families.map((family) => {
    const columns = allColumns.filter((column) => column.family === family.id);
    const ids = new Set(columns.map((column) => column.id));
    const toggle = (on) => set((id, now) => (ids.has(id) ? on : now));
    return el("fieldset", {},
      el("legend", {}, family.title),
      el("div", { class: "both" },
        button("all", () => toggle(true), { class: "plain", "aria-label": `all of ${family.title}` }),
        button("none", () => toggle(false), { class: "plain", "aria-label": `none of ${family.title}` })),
      columns.map((column) => {
        const box = el("input", { type: "checkbox", value: column.id });
        box.checked = firstColumns.includes(column.id);
        box.disabled = !filledIds.has(column.id);
        box.addEventListener("change", tell);
        boxes.set(column.id, box);
        const label = el("label", { class: box.disabled ? "blank" : null }, box, column.title);
        return box.disabled ? withTip(label, [`${column.title}: blank in every row`, ...whyBlank(column)]) : label;
      }));
  });
  const reset = button("Headline set", () => set((id) => firstColumns.includes(id)));
  const n_blank = allColumns.length - filled.length;
  say();
  const node = popover("chooser", ["Columns", count],
    el("p", { class: "row" }, reset, button("All", () => set(() => true)),
      n_blank ? el("span", { class: "quiet" }, `Grey: blank in every row (${n_blank})`) : null),
    el("div", { class: "families" }, groups));
  return { node, show: (ids) => { tick((id) => ids.includes(id)); say(); } };
}
