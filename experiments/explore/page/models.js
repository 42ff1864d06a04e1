"use strict";
// Start a saved page of models: make them runnable, then open the views that ask them.

page.openModel = async (saved) => {
  const zipped = Uint8Array.from(atob(saved.constants), (c) => c.charCodeAt(0));
  const bytes = await new Response(new Blob([zipped]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  const vocabulary = page.vocabulary(saved.vocabulary), labels = vocabulary.symbols.map(page.label);
  return { ...saved, ...loadModel(saved, bytes), vocabulary, labels, barred: new Set(saved.barred) };
};

page.start = async (main, top) => {
  const { element } = page, runs = JSON.parse(document.getElementById("data").textContent);
  for (const saved of runs) page.models.set(saved.name, await page.openModel(saved));
  const titles = { type: "Type", make: "Make" }, names = Object.keys(titles);
  const theme = element("button", { class: "quiet", text: "◐", title: "Light or dark", "aria-label": "Switch between light and dark" });
  top.append(element("div", { class: "tabs", role: "tablist", "aria-label": "Views" }, ...names.map((name) =>
    element("button", { role: "tab", id: `tab-${name}`, "aria-controls": name, text: titles[name], onclick: () => { show(name); views[name].focus(); } }))), theme);
  page.fill(main, element("p", { class: "busy", id: "busy", role: "status", hidden: true, text: "computing" }), ...names.map((name) =>
    element("section", { class: "view", role: "tabpanel", id: name, "aria-labelledby": `tab-${name}`, hidden: true })));
  const shared = { text: "", runs, maxText: page.MAX_TEXT, maxLines: page.MAX_LINES };
  const views = { type: page.typeView(page.section("type"), shared), make: page.makeView(page.section("make"), shared) };
  page.section("make").append(element("p", { class: "note", text: "This page runs by itself. Its random numbers are its own: with the same seed, makemore_jax draws other lines." }));
  page.theme(theme);
  const show = page.tabs(names, (name) => views[name].refresh(), () => "type");
  show(location.hash.slice(1));
};

{
  const main = document.querySelector("main");
  page.start(main, document.querySelector(".top")).catch((error) => page.fill(main, page.element("p", { class: "notice", text: `This browser cannot open the page: ${error.message}` })));
}
