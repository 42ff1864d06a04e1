"use strict";
// The address names what is shown, as in #make?run=gru&seed=3, so that Back returns to it and a link opens it.

page.address = {
  view: () => location.hash.slice(1).split("?")[0],

  // The values in the address; a name that stands there several times has a list
  values: () => {
    const given = new URLSearchParams(location.hash.split("?")[1] || "");
    return Object.fromEntries([...given.keys()].map((name) => [name, name === "run" ? given.getAll(name) : given.get(name)]));
  },

  // The address of a view with these values; another view becomes a step of the history
  write: (view, values = {}) => {
    const named = new URLSearchParams(Object.entries(values).flatMap(([name, value]) => [value].flat().filter((one) => one !== null && one !== undefined && one !== "").map((one) => [name, one])));
    const wanted = `#${view}${String(named) ? `?${named}` : ""}`, before = page.address.view();
    if (location.hash !== wanted) history[before && before !== view ? "pushState" : "replaceState"](null, "", wanted);
  },
};
