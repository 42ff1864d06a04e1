"use strict";
// Start a saved page of the table, which holds its own data.

{
  const data = JSON.parse(document.getElementById("data").textContent), table = page.element("section", { class: "view", id: "table" });
  document.querySelector(".top").append(page.element("p", { class: "where", text: `the bigrams of ${data.name}, ${page.count(data.lines)} lines` }), page.largeButton());
  document.querySelector("main").append(table);
  page.tableView(table, data, async (i, j) => data.examples[i * data.symbols.length + j]);
}
