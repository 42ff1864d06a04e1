"use strict";
// After the view, the address names what it shows, as in #make?run=gru&seed=3: Back returns to it, a link opens it.

page.address = {
  // The values by their names; `run` is a list
  read: () => {
    const given = new URLSearchParams(location.hash.split("?")[1] || ""), values = Object.fromEntries(given);
    return given.has("run") ? { ...values, run: given.getAll("run") } : values;
  },

  write: (view, values = {}) => {
    const given = Object.entries(values).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
    const wanted = `#${view}?${new URLSearchParams(given.filter(([, value]) => value !== null))}`.replace(/\?$/, "");
    if (location.hash !== wanted) history.replaceState(null, "", wanted);
  },

  // Writes what is shown, soon after it has changed; `shown` gives the name of the view and the view. Returns a function
  // that says that it has. `settle` writes it now, before another view is opened.
  follow: (shown) => {
    let timer = null;
    const write = () => {
      timer = null;
      const [name, view] = shown();
      if (view) page.address.write(name, view.kept?.());
    };
    const changed = () => {
      clearTimeout(timer);
      timer = setTimeout(write, 250);
    };
    page.address.settle = () => {
      if (timer === null) return;
      clearTimeout(timer);
      write();
    };
    for (const change of ["input", "change", "click", "keyup"]) addEventListener(change, changed);
    return changed;
  },
};
