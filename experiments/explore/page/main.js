"use strict";
// The page of a server: the state that the views share, and what the server says about its runs.

(async () => {
  if (location.search) history.replaceState(null, "", `/${location.hash}`); // the token is a cookie now
  const { element, fill, ask, section, tab } = page;
  const names = ["table", "type", "make", "inside", "train"];
  const offline = document.getElementById("offline");
  const shared = { text: "", runs: [], maxText: 5000, maxLines: 100 };
  const views = {};
  let current = null, live = null, tableWanted = true;
  const theme = document.getElementById("theme");
  theme.before(page.largeButton());
  page.theme(theme, () => views.inside?.redraw());

  const guide = page.guide(document.querySelector("main"));
  const wait = () => { document.getElementById("waiting").hidden = shared.runs.length > 0 || !live || live.done || current === "table" || current === "train"; };

  const changed = page.address.follow(() => [current, views[current]]);

  const openTable = async () => {
    if (!tableWanted) return;
    tableWanted = false;
    fill(section("table"), element("p", { class: "lead", text: "Counting…" }));
    try {
      const data = await ask("table");
      views.table = page.tableView(section("table"), data, (first, second) => ask("lines", { version: data.version, first, second }));
      if (current === "table") views.table.restore(page.address.read());
    } catch (error) {
      tableWanted = true;
      fill(section("table"), element("p", { class: "notice", text: error.message }));
    }
  };

  const show = page.tabs(names, (name) => {
    current = name;
    guide(name);
    wait();
    views[name]?.restore?.(page.address.read());
    if (name === "table") openTable();
    else if (name !== "train") views[name]?.refresh();
    changed();
  }, () => (live ? "train" : "table"));
  for (const name of names) {
    tab(name).addEventListener("click", (event) => {
      show(name);
      if (views[name]?.focus) views[name].focus();
      else if (event.detail) tab(name).blur(); // the keys of a clicker go to the view
    });
  }
  page.keys(names, (name) => {
    if (tab(name).hidden) return;
    document.activeElement.blur();
    show(name);
  }, () => views[current]);

  let before = "", counted = null;
  const look = async () => {
    try {
      const state = await ask("state");
      offline.hidden = true;
      Object.assign(shared, { runs: state.runs, maxText: state.max_text, maxLines: state.max_lines });
      live = state.live;
      tab("train").hidden = !live;
      wait();
      views.train?.refresh(live);
      const now = JSON.stringify(state.runs);
      if (now !== before && current && current !== "table" && current !== "train") views[current]?.refresh();
      before = now;
      if (counted !== null && counted !== state.table) {
        tableWanted = true; // of other lines than those on the page
        if (current === "table") openTable();
      }
      counted = state.table;
    } catch (error) {
      offline.hidden = false;
      offline.textContent = error.message;
    }
  };
  await look();
  if (!shared.text) shared.text = "emma";
  Object.assign(views, { type: page.typeView(section("type"), shared), make: page.makeView(section("make"), shared), inside: page.insideView(section("inside"), shared), train: page.trainView(section("train")) });
  views.train.refresh(live);
  show(page.viewInAddress() || (live ? "train" : shared.runs.length ? "type" : "table"));
  const again = async () => {
    if (!document.hidden) await look();
    setTimeout(again, live && !live.done ? 1000 : 2500);
  };
  setTimeout(again, 1000);
})();
