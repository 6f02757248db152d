// The state of the page in its address, as in `#sort=-psnr&clip=anna&frame=30`, so that a view can be
// linked to and the browser's back button works. What is as at first is not in it. `at` is a section.

const followers = [];

function addressState() {
  const text = location.hash.slice(1);
  return new URLSearchParams(text === "" || text.includes("=") ? text : `at=${text}`);
}

// Writes changes into the address; null removes. Without `replace`, the back button undoes them.
function writeAddress(changes, { replace = false } = {}) {
  const state = addressState();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") state.delete(name);
    else state.set(name, value);
  }
  const text = state.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
  if (text === addressState().toString().replaceAll("%2C", ",").replaceAll("%3A", ":")) return;
  const target = text ? `#${text}` : location.href.split("#")[0];
  try {
    history[replace ? "replaceState" : "pushState"](null, "", target);
  } catch {
    // A browser may refuse many changes a second; the page works without.
  }
}

// Calls apply(state) now and whenever the address changes; a value from an address may be anything.
function followAddress(apply) {
  followers.push(apply);
  apply(addressState());
}

addEventListener("popstate", () => {
  const state = addressState();
  for (const apply of followers) apply(state);
});

// Selects an option by the address; returns the value, or the first if there is no such option.
function chosen(select, wanted, first) {
  const known = [...select.options].some((option) => option.value === wanted && !option.disabled);
  select.value = known ? wanted : first;
  return select.value;
}
