"use strict";
// The small model that trains while the page is open: its curve, and samples that get better.

page.trainView = (section) => {
  const { element, word, fill, card, count, ask } = page;
  const told = element("p", { class: "lead", "aria-live": "polite" }), problem = element("p", { class: "notice", role: "alert", hidden: true }), chart = element("div"), rows = element("tbody");
  const number = (label, attributes) => {
    const input = element("input", { type: "number", "aria-label": label, ...attributes });
    return [input, element("label", { class: "plain" }, element("span", { text: label }), input)];
  };
  const [size, sizeLabel] = number("units", { min: 1, max: 256, step: 1 }), [rate, rateLabel] = number("learning rate", { min: 0.00001, max: 1, step: "any" });
  let shown = "", live = null;

  const order = async (name, body) => {
    try {
      await ask(name, body);
      problem.hidden = true;
    } catch (error) {
      problem.hidden = false;
      problem.textContent = error.message;
    }
  };
  const pause = async () => {
    if (!live || live.done) return;
    const paused = !live.paused; // `live` is replaced meanwhile
    await order("pause", { paused });
    refresh({ ...live, paused });
  };
  const pauseButton = element("button", { class: "primary", type: "button", text: "Pause", onclick: pause });
  const form = element("form", { class: "toolbar", onsubmit: (event) => {
    event.preventDefault();
    order("anew", { hidden: Number(size.value), rate: Number(rate.value) });
  } }, pauseButton, sizeLabel, rateLabel, element("button", { type: "submit", text: "Start anew" }));

  const about = () => {
    const last = live.rows.at(-1), dev = last && `dev loss ${last.dev.toFixed(4)} nats per character`;
    if (live.problem) return `Training ended: ${live.problem}`;
    if (!last) return `A small GRU of ${live.hidden} units begins to train. JAX compiles its step first, some seconds; the first loss and samples come after 50 steps.`;
    if (live.done) return `Trained: ${count(last.step)} steps, ${dev}.`;
    return `A small GRU of ${live.hidden} units ${live.paused ? "waits" : "trains"}: step ${count(last.step)}, ${dev}. Type, Make and Inside use it as it is now.`;
  };
  const refresh = (now) => {
    if (!now) return;
    if (live?.trainings !== now.trainings) [size.value, rate.value] = [now.hidden, now.rate];
    live = now;
    fill(told, about());
    pauseButton.disabled = live.done;
    pauseButton.textContent = live.paused ? "Go on" : "Pause";
    const key = `${live.trainings}/${live.rows.length}`, last = live.rows.at(-1);
    if (key === shown) return;
    shown = key;
    if (!last) {
      fill(chart, element("p", { class: "note", text: "The curve begins with the first loss." }));
      fill(rows);
      return;
    }
    const levels = Object.entries(live.baselines).filter(([name]) => name !== "uniform").map(([name, y]) => ({ name: `${name} ${y.toFixed(4)}`, y }));
    const points = (name) => live.rows.map((row) => [row.step, row[name]]);
    const ticks = [live.rows[0].step, last.step];
    fill(chart, page.chart({ curves: [{ name: "train", kind: "a", points: points("train") }, { name: "dev", kind: "b", points: points("dev") }], levels, xlabel: "gradient step", ylabel: "nats per character", xticks: [...new Set(ticks)], width: 560, height: 320 }));
    fill(rows, ...[...live.rows].reverse().map((row) => element("tr", {}, element("td", { text: count(row.step) }), element("td", { text: row.dev.toFixed(4) }), element("td", {}, ...row.samples.map((sample) => word(sample))))));
  };

  fill(section, told, form, problem, element("div", { class: "cards pairs" },
    card("Loss", chart),
    card("Samples", element("p", { class: "note", text: "Always with the same random numbers, newest first." }), element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Samples" }, element("table", { class: "samples" }, element("thead", {}, element("tr", {}, ...["step", "dev", "six samples"].map((text) => element("th", { scope: "col", text })))), rows)))));
  return { refresh, play: pause };
};
