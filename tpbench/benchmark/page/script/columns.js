// The columns of the table: at first the headline metrics; others can be chosen by family.

const ABOUT = [
  { id: "about:seeds", title: "Seeds", about: (model) => model.seeds.length },
  { id: "about:params", title: "Parameters", unit: "10\u2079", about: (model) => model.params_b },
  { id: "about:fps", title: "Speed", unit: "frames/s", about: (model) => model.gen_fps },
  { id: "about:gpu", title: "GPU memory", unit: "GB", about: (model) => model.peak_gpu_gb },
].map((column) => ({ direction: "none", unit: "", family: "about", headline: false, ...column }));

const families = [...data.families, { id: "about", title: "About the model" }];
const allColumns = [...data.metrics, ...ABOUT];
const headline = allColumns.filter((column) => column.headline);
const firstColumns = (headline.length ? headline : allColumns.slice(0, 10)).map((column) => column.id);

// Returns a panel of checkboxes that calls onChange(list of columns).
function columnChooser(onChange) {
  const boxes = new Map();
  const count = el("span", { class: "quiet" });
  const chosen = () => allColumns.filter((column) => boxes.get(column.id).checked);
  const tell = () => {
    count.textContent = ` ${chosen().length} of ${allColumns.length}`;
    onChange(chosen());
  };
  const set = (wanted) => {
    for (const [id, box] of boxes) box.checked = wanted(id, box.checked);
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
        box.addEventListener("change", tell);
        boxes.set(column.id, box);
        return el("label", {}, box, column.title);
      }));
  });
  const reset = button("Headline set", () => set((id) => firstColumns.includes(id)));
  count.textContent = ` ${firstColumns.length} of ${allColumns.length}`;
  return el("details", { class: "chooser" },
    el("summary", {}, "Columns", count),
    el("div", { class: "panel" }, el("p", { class: "row" }, reset, button("All", () => set(() => true))),
      el("div", { class: "families" }, groups)));
}
