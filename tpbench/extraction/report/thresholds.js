"use strict";
// Moves the dials. The numbers in `rows` are those of thresholds.py, which says what a byte means.
(() => {
  const UNSEEN = 254;
  const decode = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const data = JSON.parse(document.getElementById("rows").textContent);
  const dials = data.dials.map((dial) => ({ ...dial, rows: decode(dial.rows) }));
  const lengths = new Uint16Array(decode(data.deciseconds).buffer);
  const inputs = dials.map((_, index) => document.getElementById(`dial${index}`));
  const byId = (id) => document.getElementById(id);

  const passes = (dial, step, row) => {
    const place = dial.rows[row];
    return place >= UNSEEN || (dial.least ? step < place : step >= place);
  };

  // What stays, and what would have to be looked at further, at these steps.
  const outcome = (steps) => {
    const counted = { stay: 0, deciseconds: 0, further: 0 };
    for (let row = 0; row < lengths.length; row += 1) {
      let seen = true;
      let good = true;
      for (let index = 0; good && index < dials.length; index += 1) {
        good = passes(dials[index], steps[index], row);
        seen = seen && dials[index].rows[row] !== UNSEEN;
      }
      if (good && seen) {
        counted.stay += 1;
        counted.deciseconds += lengths[row];
      } else if (good) {
        counted.further += 1;
      }
    }
    return counted;
  };

  const about = data.scale > 1 ? "about " : "";
  const count = (rows) => Math.round(rows * data.scale);
  const number = (value) => value.toLocaleString("en");
  const signed = (value) => `${value < 0 ? "\u2212" : "+"}${number(Math.abs(value))}`;
  const time = (deciseconds) => {
    const seconds = (deciseconds * data.scale) / 10;
    if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
    return seconds < 3597 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(2)} h`;
  };

  const present = dials.map((dial) => dial.at);
  const now = outcome(present);

  const showDial = (dial, index, step) => {
    const output = inputs[index].nextElementSibling;
    const value = document.createElement("b");
    value.textContent = `${dial.least ? "\u2265" : "\u2264"} ${dial.steps[step]} ${dial.unit}`.trim();
    const effect = document.createElement("span");
    const moved = step !== dial.at;
    if (moved) {
      const alone = outcome(present.map((at, other) => (other === index ? step : at)));
      const more = alone.further ? `, ${number(count(alone.further))} to look at` : "";
      effect.textContent = `alone ${signed(count(alone.stay) - count(now.stay))}${more}`;
    } else {
      effect.textContent = "as it was made";
    }
    output.replaceChildren(value, effect);
    inputs[index].parentElement.classList.toggle("moved", moved);
    inputs[index].setAttribute("aria-valuetext", value.textContent);
  };

  const show = () => {
    const steps = inputs.map((input) => Number(input.value));
    const then = outcome(steps);
    const moved = dials.filter((dial, index) => steps[index] !== dial.at);
    dials.forEach((dial, index) => showDial(dial, index, steps[index]));
    const kept = count(then.stay);
    const [clips, stay] = kept === 1 ? ["clip", "stays"] : ["clips", "stay"];
    byId("stay").textContent = `${about}${number(kept)} ${clips}`;
    byId("stay-more").textContent = moved.length
      ? `${stay}, ${time(then.deciseconds)}: ${signed(kept - count(now.stay))} from ${number(count(now.stay))}`
      : `${stay}, ${time(then.deciseconds)}, as it was made`;
    byId("further").textContent = then.further
      ? `${about}${number(count(then.further))} more would be looked at further, and may stay, too`
      : "";
    const lines = dials.flatMap((dial, index) =>
      steps[index] === dial.at ? [] : [`  ${dial.code}: ${dial.steps[steps[index]]}`]);
    byId("lines").textContent = lines.length ? ["filters:", ...lines].join("\n") : "move a dial";
    byId("reset").disabled = !moved.length;
  };

  inputs.forEach((input) => input.addEventListener("input", show));
  byId("reset").addEventListener("click", () => {
    inputs.forEach((input, index) => { input.value = dials[index].at; });
    show();
  });
  byId("dials").hidden = false;
  show();
})();
