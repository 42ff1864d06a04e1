"use strict";
// The start of a saved page: its data stands in it.

const data = JSON.parse(document.getElementById("data").textContent);
document.getElementById("where").textContent = `the bigrams of ${data.name}, ${page.count(data.lines)} lines`;
page.tableView(document.getElementById("table"), data, async (i, j) => data.examples[i * data.symbols.length + j]);
