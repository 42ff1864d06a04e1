"use strict";
// Start a saved page, which holds its own data.

const data = JSON.parse(document.getElementById("data").textContent);
document.getElementById("where").textContent = `the bigrams of ${data.name}, ${page.count(data.lines)} lines`;
page.tableView(document.getElementById("table"), data, async (i, j) => data.examples[i * data.symbols.length + j]);
