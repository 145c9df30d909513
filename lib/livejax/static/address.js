// The state in the page's address: #fig-id?step_size=0.1&start=1,2. Only what differs from the default
// is written, so that the default state leaves the address clean.

function sameValue(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}

function valueToText(value) {
  return Array.isArray(value) ? value.join(",") : String(value);
}

function textToValue(control, text) {
  switch (control.kind) {
    case "choice": return text;
    case "switch": return { true: true, false: false }[text];
    case "point": return text.split(",").map((part) => (part.trim() === "" ? NaN : Number(part)));
    default: return text.trim() === "" ? NaN : Number(text);
  }
}

function stateToFragment(id, controls, state) {
  const pairs = Object.entries(controls)
    .filter(([name, control]) => !sameValue(state[name], control.value))
    .map(([name]) => `${name}=${encodeURIComponent(valueToText(state[name])).replaceAll("%2C", ",")}`);
  return pairs.length ? `#${id}?${pairs.join("&")}` : "";
}

// The state that a fragment asks for, or null if it speaks of something else. Unknown names and words
// are ignored, numbers out of range are moved to the nearest end.
function fragmentToState(fragment, id, controls) {
  const [anchor, query] = fragment.replace(/^#/, "").split("?");
  if (query === undefined || anchor !== id) return null;
  const state = Object.fromEntries(Object.entries(controls).map(([name, c]) => [name, c.value]));
  for (const [name, text] of new URLSearchParams(query)) {
    if (!Object.hasOwn(controls, name)) continue;
    const value = nearestValue(controls[name], textToValue(controls[name], text));
    if (value !== undefined) state[name] = value;
  }
  return state;
}
