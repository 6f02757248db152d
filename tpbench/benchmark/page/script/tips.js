// The tooltip of the page: shown on hover and on focus, hidden by Escape.

const tip = document.getElementById("tip");
const tips = new WeakMap();

function withTip(node, lines) {
  tips.set(node, lines);
  return node;
}

let tipOwner = null;

function showTip(node) {
  tipOwner = node;
  tip.replaceChildren(...tips.get(node).map((line, i) => el(i ? "p" : "b", {}, line)));
  tip.hidden = false;
  node.setAttribute("aria-describedby", "tip");
  placeTip();
}

function placeTip() {
  if (!tipOwner) return;
  const box = tipOwner.getBoundingClientRect();
  const left = Math.min(Math.max(8, box.left + box.width / 2 - tip.offsetWidth / 2), innerWidth - tip.offsetWidth - 8);
  const below = box.bottom + 8 + tip.offsetHeight < innerHeight;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${below ? box.bottom + 8 : Math.max(8, box.top - tip.offsetHeight - 8)}px`;
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

for (const name of ["pointerover", "focusin"]) {
  document.addEventListener(name, (event) => {
    const owner = ownerOf(event);
    hideTip();
    if (owner) showTip(owner);
  });
}
document.addEventListener("focusout", hideTip);
addEventListener("scroll", placeTip, true);
document.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
