// Creates elements. Text is inserted as text nodes only and never parsed as markup.

const data = JSON.parse(document.getElementById("data").textContent);

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Text that may wrap after its punctuation, for long names such as those of Python classes.
function breakable(text) {
  return text.split(/(?<=[.:/_@])/).flatMap((part) => [part, el("wbr")]);
}

function section(id, title, hint, ...children) {
  return el("section", { id, "aria-labelledby": `${id}-title` },
    el("h2", { id: `${id}-title` }, title), hint ? el("p", { class: "hint" }, hint) : null, ...children);
}

function isWeb(address) {
  try {
    return ["http:", "https:"].includes(new URL(address).protocol);
  } catch {
    return false;
  }
}

// A link if the address is http or https; anything else stays text.
function link(address, text) {
  return isWeb(address) ? el("a", { href: address, rel: "noopener noreferrer" }, text) : el("span", {}, text);
}

function choice(label, options, value) {
  const select = el("select", {}, options.map((option) => el("option", { value: option.value }, option.text)));
  select.value = value;
  return [el("label", { class: "field" }, el("span", {}, label), select), select];
}

function button(text, onClick, attributes = {}) {
  const made = el("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", onClick);
  return made;
}

// Calls draw(width) now and whenever the host's width changes.
function onWidth(host, draw) {
  let last = 0;
  new ResizeObserver(() => {
    const width = Math.floor(host.clientWidth);
    if (width === last || width < 1) return;
    last = width;
    draw(width);
  }).observe(host);
}

// A button that opens a panel floating over the page; Escape and a press outside close it.
function popover(name, label, ...children) {
  const summary = el("summary", {}, label);
  const details = el("details", { class: `popover ${name}` }, summary, el("div", { class: "floating" }, children));
  details.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !details.open) return;
    event.stopPropagation();
    details.open = false;
    summary.focus();
  });
  document.addEventListener("pointerdown", (event) => {
    if (!details.contains(event.target)) details.open = false;
  });
  details.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !details.contains(event.relatedTarget)) details.open = false;
  });
  return details;
}

// A box that scrolls sideways, with a shadow on the sides where there is more.
function sideways(label, content) {
  const box = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${label}, scrolls sideways` }, content);
  const host = el("div", { class: "scroller" }, box);
  const look = () => {
    host.toggleAttribute("data-left", box.scrollLeft > 1);
    host.toggleAttribute("data-right", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
  };
  box.addEventListener("scroll", look, { passive: true });
  const observer = new ResizeObserver(look);
  observer.observe(box);
  observer.observe(content);
  return host;
}
