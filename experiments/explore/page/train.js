"use strict";
// The small model that trains while the page is open: its curve, and samples that get better.

page.trainView = (section) => {
  const { element, word, fill, card, count } = page;
  const told = element("p", { class: "lead", "aria-live": "polite" }), chart = element("div"), rows = element("tbody");
  fill(section, told, element("div", { class: "cards pairs" },
    card("Loss", chart),
    card("Samples", element("p", { class: "note", text: "Always with the same random numbers, newest first." }), element("div", { class: "scroll" }, element("table", { class: "samples" }, element("thead", {}, element("tr", {}, ...["step", "dev", "six samples"].map((text) => element("th", { scope: "col", text })))), rows)))));
  let shown = -1;
  const refresh = (live) => {
    if (!live) return;
    const last = live.rows.at(-1);
    fill(told, live.problem ? `Training ended: ${live.problem}` : !last ? "A small GRU begins to train; its first samples come in some seconds." : live.done ? `Trained: ${count(last.step)} steps, dev loss ${last.dev.toFixed(4)} nats per character.` : `A small GRU trains: step ${count(last.step)}, dev loss ${last.dev.toFixed(4)} nats per character. Type, Make and Inside use it as it is now.`);
    if (live.rows.length === shown) return;
    shown = live.rows.length;
    if (!last) return;
    const levels = Object.entries(live.baselines).filter(([name]) => name !== "uniform").map(([name, y]) => ({ name: `${name} ${y.toFixed(4)}`, y }));
    const points = (name) => live.rows.map((row) => [row.step, row[name]]);
    const ticks = [live.rows[0].step, last.step];
    fill(chart, page.chart({ curves: [{ name: "train", kind: "a", points: points("train") }, { name: "dev", kind: "b", points: points("dev") }], levels, xlabel: "gradient step", ylabel: "nats per character", xticks: [...new Set(ticks)], width: 560, height: 320 }));
    fill(rows, ...[...live.rows].reverse().map((row) => element("tr", {}, element("td", { text: count(row.step) }), element("td", { text: row.dev.toFixed(4) }), element("td", {}, ...row.samples.map((sample) => word(sample))))));
  };
  return { refresh };
};
