"use strict";
// Start a saved page of models, which it holds; its views are those of the server's page.

// The beginning of a line that the model draws, so that there is something to read
page.firstText = (model) => {
  const ids = [];
  for (const { token } of page.drawing(model, { n: 1, prefix: "", seed: 1, temperature: 1, top_k: null, top_p: 1 }, 0)) {
    if (token === page.MARK || ids.length === 20) break;
    ids.push(token);
  }
  return model.vocabulary.decode(ids);
};

page.start = async (top, main) => {
  const { element, section } = page, titles = { type: "Type", make: "Make" }, names = Object.keys(titles);
  const runs = JSON.parse(document.getElementById("data").textContent);
  for (const saved of runs) page.models.set(saved.name, await page.openModel(saved));
  const theme = element("button", { class: "quiet", text: "◐", title: "Light or dark", "aria-label": "Switch between light and dark" });
  const tabs = names.map((name) => element("button", { role: "tab", id: `tab-${name}`, "aria-controls": name, text: titles[name], onclick: () => { show(name); views[name].focus(); } }));
  top.append(element("div", { class: "tabs", role: "tablist", "aria-label": "Views" }, ...tabs), page.largeButton(), theme);
  page.fill(main, element("p", { class: "busy", id: "busy", role: "status", hidden: true, text: "computing" }),
    ...names.map((name) => element("section", { class: "view", role: "tabpanel", id: name, "aria-labelledby": `tab-${name}`, hidden: true })));
  const shared = { text: page.firstText(page.models.get(runs[0].name)), runs, maxText: page.MAX_TEXT, maxLines: page.MAX_LINES };
  const views = { type: page.typeView(section("type"), shared), make: page.makeView(section("make"), shared) };
  section("make").append(element("p", { class: "note", text: "The page computes all of this itself. Its random numbers are its own: with the same seed, makemore_jax draws other lines." }));
  page.theme(theme);
  let current = null;
  const changed = page.address.follow(() => [current, views[current]]);
  const show = page.tabs(names, (name) => {
    current = name;
    views[name].restore(page.address.read());
    views[name].refresh();
    changed();
  }, () => "type");
  show(page.viewInAddress());
};

page.start(document.querySelector(".top"), document.querySelector("main")).catch((error) =>
  page.fill(document.querySelector("main"), page.element("p", { class: "notice", text: `This browser cannot open the page: ${error.message}` })));
