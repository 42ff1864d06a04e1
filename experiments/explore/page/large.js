"use strict";
// A large mode for a lecture hall: a button and the key L.

page.largeButton = () => {
  const root = document.documentElement;
  const set = (large) => {
    root.toggleAttribute("data-large", large);
    button.setAttribute("aria-pressed", String(large));
    try {
      localStorage.setItem("large", large ? "yes" : "");
    } catch { /* no storage: the choice lasts as long as the page */ }
  };
  const turn = () => set(!root.hasAttribute("data-large"));
  const button = page.element("button", { class: "quiet", title: "Large, for a projector (L)", "aria-label": "Large, for a projector", onclick: turn }, page.element("span", { text: "A+", "aria-hidden": "true" }));
  addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === "l" && page.isFree(event)) turn();
  });
  let before = "";
  try {
    before = localStorage.getItem("large");
  } catch { /* no storage */ }
  set(Boolean(before));
  return button;
};

// Whether a key is meant for the page: it is not typed into a field, and is no shortcut of the browser
page.isFree = (event) => !(event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) && !event.target.closest?.("input:not([type=radio], [type=checkbox], [type=range]), select, textarea");
