"use strict";
// The keys of a lecturer and of a clicker: digits open a view; space, arrows and, when large, the page keys step in it.

page.keys = (names, open, view) => {
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.activeElement.blur(); // out of a field, so that keys reach the page again
    if (!page.isFree(event)) return;
    const { key, target } = event, free = target === document.body;
    const moves = { ArrowRight: "forward", ArrowLeft: "back" }, large = document.documentElement.hasAttribute("data-large");
    if (names[Number(key) - 1]) open(names[Number(key) - 1]);
    else if (free && key === " " && view()) (view().play ?? view().forward)?.();
    else if (key in moves && (free || target.closest("button"))) view()?.[moves[key]]?.();
    else if (free && large && (key === "PageDown" || key === "PageUp")) view()?.[key === "PageDown" ? "forward" : "back"]?.();
    else return;
    event.preventDefault();
  });
};
