// The tooltip of the page: shown on hover and on focus, hidden by Escape and when its owner is pressed.

const tip = document.getElementById("tip");
const tips = new WeakMap();

function withTip(node, lines) {
  tips.set(node, lines);
  return node;
}

let tipOwner = null;
let pressed = null; // what was pressed, and where: it shows no tooltip until the pointer leaves it

function showTip(node) {
  tipOwner = node;
  tip.replaceChildren(...tips.get(node).map((line, i) => el(i ? "p" : "b", {}, line)));
  tip.hidden = false;
  node.setAttribute("aria-describedby", "tip");
  placeTip();
}

// Heads of columns have their tooltip above, so that it does not cover the column that they sort.
function placeTip() {
  if (!tipOwner) return;
  const box = tipOwner.getBoundingClientRect();
  const left = Math.min(Math.max(8, box.left + box.width / 2 - tip.offsetWidth / 2), innerWidth - tip.offsetWidth - 8);
  const [above, below] = [box.top - tip.offsetHeight - 8, box.bottom + 8];
  const [fitsAbove, fitsBelow] = [above >= 8, below + tip.offsetHeight < innerHeight];
  const over = tipOwner.scope === "col" ? fitsAbove || !fitsBelow : !fitsBelow;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${over ? Math.max(8, above) : below}px`;
}

function hideTip() {
  tip.hidden = true;
  tipOwner?.removeAttribute("aria-describedby");
  tipOwner = null;
}

function ownerOf(event) {
  let node = event.target;
  while (node instanceof Element && !tips.has(node)) node = node.parentElement;
  return node instanceof Element ? node : null;
}

// Pressing a button may redraw the table, so what was pressed is also known by its column.
function wasPressed(owner) {
  return pressed !== null && owner !== null &&
    (owner === pressed.owner || (owner.dataset.column !== undefined && owner.dataset.column === pressed.owner?.dataset.column));
}

document.addEventListener("pointerover", (event) => {
  const owner = ownerOf(event);
  const stays = pressed !== null && event.clientX === pressed.x && event.clientY === pressed.y;
  if (stays || wasPressed(owner)) return;
  pressed = null;
  hideTip();
  if (owner) showTip(owner);
});
document.addEventListener("focusin", (event) => {
  const owner = ownerOf(event);
  hideTip();
  if (owner && !wasPressed(owner)) showTip(owner);
});
document.addEventListener("pointerdown", (event) => {
  if (!event.target.closest?.("button, a, summary, label, select, input")) return;
  pressed = { owner: ownerOf(event), x: event.clientX, y: event.clientY };
  hideTip();
}, true);
document.addEventListener("focusout", hideTip);
addEventListener("scroll", placeTip, true);
document.addEventListener("keydown", (event) => {
  pressed = null;
  if (event.key === "Escape") hideTip();
});
