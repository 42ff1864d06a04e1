"use strict";
// Tabs, of which one is open, and the choice between light and dark.

page.section = (name) => document.getElementById(name);
page.viewInAddress = () => location.hash.slice(1).split("?")[0]; // as in #make?seed=3
page.tab = (name) => document.getElementById(`tab-${name}`);

// Returns the function that opens a tab; `opened` is called with its name, `otherwise` names one in place of a hidden one.
page.tabs = (names, opened, otherwise) => {
  const { section, tab } = page;
  let current = null;
  const show = (name) => {
    if (!names.includes(name) || tab(name).hidden) name = otherwise();
    if (page.viewInAddress() !== name) history[current ? "pushState" : "replaceState"](null, "", `#${name}`); // so that Back returns
    current = name;
    for (const other of names) {
      section(other).hidden = other !== name;
      tab(other).setAttribute("aria-selected", String(other === name));
      tab(other).tabIndex = other === name ? 0 : -1;
    }
    opened(name);
  };
  const open = (name) => {
    if (name !== current) page.address.settle(); // while the address is that of the tab which is left
    show(name);
  };
  document.querySelector(".tabs").addEventListener("keydown", (event) => {
    const shown = names.filter((name) => !tab(name).hidden), at = shown.indexOf(current);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: shown.length - 1 }[event.key];
    if (to === undefined) return;
    const name = shown[(to + shown.length) % shown.length];
    open(name);
    tab(name).focus();
    event.preventDefault();
  });
  addEventListener("popstate", () => show(page.viewInAddress()));
  return open;
};

page.theme = (button, changed = () => {}) => {
  const set = (value) => {
    if (value) document.documentElement.dataset.theme = value;
    try {
      if (value) localStorage.setItem("theme", value);
    } catch { /* no storage: the choice lasts as long as the page */ }
    changed();
  };
  button.addEventListener("click", () => {
    const chosen = document.documentElement.dataset.theme;
    const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    set(dark ? "light" : "dark");
  });
  try {
    set(localStorage.getItem("theme"));
  } catch { /* no storage */ }
};
