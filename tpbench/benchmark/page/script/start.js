// The page, from top to bottom.

function themeButton() {
  const root = document.documentElement;
  const names = { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" };
  const order = Object.keys(names);
  let theme = "auto";
  try {
    theme = localStorage.getItem("tpbench-theme") ?? "auto";
  } catch {
    // a page opened from a file may have no storage
  }
  if (!order.includes(theme)) theme = "auto";
  const press = button("", () => set(order[(order.indexOf(theme) + 1) % order.length]), { class: "theme" });
  function set(name) {
    theme = name;
    root.dataset.theme = name;
    press.textContent = names[name];
    try {
      localStorage.setItem("tpbench-theme", name);
    } catch {
      // as above
    }
  }
  set(theme);
  return press;
}

function header() {
  const { dataset, task, protocol } = data;
  const measured = data.models.filter((model) => model.kind !== "anchor").length;
  const anchors = data.models.length - measured;
  const who = [[measured, task.scored ? "method" : "model"], [anchors, "anchor"]].filter(([count]) => count).map(([count, one]) => plural(count, one)).join(" and ");
  const what = `${task.scored ? "videos made elsewhere, each compared with its real clip; " : ""}${task.description}`;
  const chips = [["task", `${task.id} v${task.version}`], ["protocol", protocol.id], ["dataset", `${dataset.name}@${dataset.digest.slice(0, 8)}`],
    ["split", dataset.split], ["clips", dataset.n_clips.toLocaleString("en")], ["identities", dataset.n_identities ? dataset.n_identities.toLocaleString("en") : "not known"]];
  const parts = [["table", "Results"], ["frames", "Over the clip"], ["motion", "Jitter and motion"], ["clips", "Clips"],
    ["methods", "Methods"], ["rows", "Reproduce"], ["reported", "Published"]];
  const nav = el("nav", { "aria-label": "sections" }, parts.map(([id, text]) => el("a", { href: `#${id}` }, text)));
  return el("header", {},
    el("div", { class: "head" }, el("p", { class: "brand" }, "tpbench"), themeButton()),
    el("h1", {}, `Pose-driven animation on ${dataset.name}`),
    el("p", { class: "lead" }, `${who} on ${plural(dataset.n_clips, "clip")}${dataset.n_identities ? ` of ${identities(dataset.n_identities)}` : ""}. ` +
      `${what.charAt(0).toUpperCase()}${what.slice(1)}.`),
    el("div", { class: "chips" }, chips.map(([name, value]) => el("span", {}, `${name} `, el("b", {}, value)))), nav);
}

function notices() {
  if (!data.notices.length) return null;
  const item = (notice) => el("li", {}, notice.text, notice.command ? command(notice.command) : null);
  const first = data.notices.filter((notice) => notice.kind !== "left out");
  const others = data.notices.filter((notice) => notice.kind === "left out");
  return el("aside", { class: "notice", "aria-label": "notes" },
    first.length ? el("ul", {}, first.map(item)) : null,
    others.length ? el("details", {}, el("summary", {}, `${plural(others.length, "run")} left out`), el("ul", {}, others.map(item))) : null);
}

function footer() {
  const { dataset, protocol } = data;
  return el("footer", {},
    el("p", {}, "The same numbers as data: ", el("a", { href: "leaderboard.csv" }, "leaderboard.csv"), ", ",
      el("a", { href: "leaderboard.schema.json" }, "its schema"), ", ", el("a", { href: "leaderboard.md" }, "leaderboard.md"), ", ", el("a", { href: "reported.csv" }, "reported.csv"), "."),
    el("p", { class: "digest" }, `dataset ${dataset.digest} \u00b7 protocol ${protocol.digest} \u00b7 tpbench ${data.tool}`),
    el("p", {}, "The videos show real people, and belong to whoever made them: share this page only where they may be shared."));
}

const main = document.getElementById("main");
main.replaceChildren(...[header(), notices(), boardTable(), framesSection(), scatterSection(), clipsSection(),
  methodsSection(), rowsSection(), reportedSection(), footer()].filter(Boolean));
for (const anchor of document.querySelectorAll("nav a")) {
  const id = anchor.getAttribute("href").slice(1);
  if (!document.getElementById(id)) anchor.remove();
  anchor.addEventListener("click", (event) => {
    event.preventDefault();
    writeAddress({ at: id });
    document.getElementById(id).scrollIntoView();
  });
}
// Folded sections can't be opened on paper, so they are opened for printing.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open]):not(.popover)")];
  for (const details of folded) details.open = true;
});
addEventListener("afterprint", () => folded.forEach((details) => {
  details.open = false;
}));
followAddress((state) => document.getElementById(state.get("at") ?? "")?.scrollIntoView());
