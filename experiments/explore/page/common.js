"use strict";
// What the views share: elements, requests, heat maps, bars.
// Text from data reaches the page through textContent alone, and every symbol stands in an element of its own, so that
// neither markup nor a change of writing direction in the data has any effect.

const page = {};

page.element = (name, attributes = {}, ...children) => {
  const svg = ["svg", "path", "line", "circle", "text", "rect", "g", "title"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "text") made.textContent = value;
    else if (key === "style") for (const [what, how] of Object.entries(value)) made.style.setProperty(what, how);
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
};

page.symbol = (label, extra = "") => page.element("bdi", { class: `symbol ${extra}`, text: label });

page.word = (labels, extra = "", between = "") => page.element("span", { class: `word ${extra}`, dir: "ltr" }, ...labels.flatMap((label, k) => [k ? between : "", page.symbol(label)]));

page.fill = (parent, ...children) => {
  parent.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
  return parent;
};

page.card = (title, ...children) => page.element("section", { class: "card" }, title ? page.element("h2", { text: title }) : null, ...children);

page.format = (value, digits = 3) => {
  if (value === null || value === undefined) return "∞";
  return value.toFixed(digits).replace("-", "−");
};

page.count = (value) => value.toLocaleString("en-US");

page.percent = (p) => (p === null ? "–" : p >= 0.0995 ? `${(100 * p).toFixed(0)}%` : p >= 0.00995 ? `${(100 * p).toFixed(1)}%` : p > 0 && p < 0.0001 ? "<0.01%" : `${(100 * p).toFixed(2)}%`);

// A question to the models, which `page.send` answers: on a server, or in the page itself. A refusal is an Error whose
// message is one line.
page.pending = 0;

page.ask = async (name, body) => {
  const quiet = name === "state", slow = quiet ? null : setTimeout(() => document.getElementById("busy")?.removeAttribute("hidden"), 700);
  page.pending += quiet ? 0 : 1;
  try {
    return await page.send(name, body);
  } finally {
    clearTimeout(slow);
    page.pending -= quiet ? 0 : 1;
    if (!page.pending) document.getElementById("busy")?.setAttribute("hidden", "");
  }
};

// Only the newest of several calls counts: call it as often as keys are pressed.
page.latest = (run, wait = 20) => {
  let timer, running = false, again = false;
  const go = async () => {
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      await run();
    } finally {
      running = false;
      if (again) {
        again = false;
        go();
      }
    }
  };
  return () => {
    clearTimeout(timer);
    timer = setTimeout(go, wait);
  };
};

// One of a few: a group of radio buttons that looks like one control.
page.choice = (legend, options, value, onchange) => {
  const name = `choice-${Math.random().toString(36).slice(2)}`;
  const inputs = options.map(([id, text]) => {
    const input = page.element("input", { type: "radio", name, value: id, checked: id === value, onchange: () => onchange(id) });
    return page.element("label", {}, input, page.element("span", { text }));
  });
  const group = page.element("fieldset", { class: "choice" }, page.element("legend", { text: legend }), ...inputs);
  group.select = (id) => {
    for (const input of group.querySelectorAll("input")) input.checked = input.value === id;
  };
  return group;
};

page.slider = (label, count, value, oninput) => {
  const output = page.element("output");
  const input = page.element("input", { type: "range", min: 0, max: count - 1, step: 1, value, "aria-label": label });
  const show = () => {
    output.textContent = oninput(Number(input.value));
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", show);
  const whole = page.element("label", { class: "slider" }, page.element("span", { text: label }), input, output);
  whole.set = (index) => {
    input.value = index;
    show();
  };
  whole.input = input;
  whole.show = show;
  return whole;
};

// The shades leave out those between light and dark, on which text of neither colour would be easy to read.
page.isStrong = (v) => v > 0.56;
page.shade = (v) => (page.isStrong(v) ? 0.67 + 0.75 * (v - 0.56) : v);

// A heat map as a table: arrows move in it, Enter is a click. `cell(i, j)` gives v (0 to 1), and may give `below`
// (whether the value is negative), `texts` to stand in it, and `spoken` for a screen reader.
page.heat = ({ rows, columns, cell, label, onhover, onpick, onrow, texts = true, extra = "" }) => {
  const { element, symbol } = page;
  const table = element("table", { class: `heat ${extra}`, role: "grid", "aria-label": label, style: { "--columns": columns.length, "--rows": rows.length } });
  const head = element("tr", {}, element("td"), ...columns.map((name, j) => element("th", { scope: "col", "data-j": j }, symbol(name))));
  const cells = [], body = [];
  rows.forEach((name, i) => {
    const title = onrow ? element("button", { class: "row", tabindex: -1, "data-i": i, "aria-label": `what follows ${name}` }, symbol(name)) : symbol(name);
    const line = [];
    for (let j = 0; j < columns.length; j++) {
      const parts = texts ? [element("span"), element("span")] : [];
      const one = element("td", { "data-i": i, "data-j": j, tabindex: -1, role: "gridcell" }, ...parts);
      line.push(one);
    }
    cells.push(line);
    body.push(element("tr", {}, element("th", { scope: "row", "data-i": i }, title), ...line));
  });
  table.append(element("thead", {}, head), element("tbody", {}, ...body));
  let at = [0, Math.min(1, columns.length - 1)], lit = [];
  const where = (event) => {
    const found = event.target.closest && event.target.closest("td[data-j]");
    return found ? [Number(found.dataset.i), Number(found.dataset.j)] : null;
  };
  const light = (i, j) => {
    for (const old of lit) old.classList.remove("lit");
    lit = [table.querySelector(`thead th[data-j="${j}"]`), table.querySelector(`tbody th[data-i="${i}"]`), cells[i][j]];
    for (const now of lit) now.classList.add("lit");
  };
  const hover = (i, j) => {
    light(i, j);
    if (onhover) onhover(i, j);
  };
  const enter = (i, j) => {
    cells[at[0]][at[1]].tabIndex = -1;
    at = [i, j];
    cells[i][j].tabIndex = 0;
    cells[i][j].setAttribute("aria-label", cell(i, j).spoken || "");
  };
  table.addEventListener("mouseover", (event) => {
    const found = where(event);
    if (found) hover(...found);
  });
  table.addEventListener("focusin", (event) => {
    const found = where(event);
    if (found) {
      enter(...found);
      hover(...found);
    }
  });
  table.addEventListener("click", (event) => {
    const row = event.target.closest("th[data-i]"), found = where(event);
    if (row && onrow) onrow(Number(row.dataset.i));
    else if (found) {
      enter(...found);
      if (onpick) onpick(...found);
    }
  });
  table.addEventListener("keydown", (event) => {
    const found = where(event);
    if (!found) return;
    const [i, j] = found;
    const moves = { ArrowUp: [i - 1, j], ArrowDown: [i + 1, j], ArrowLeft: [i, j - 1], ArrowRight: [i, j + 1], Home: [i, 0], End: [i, columns.length - 1], PageUp: [Math.max(0, i - 8), j], PageDown: [Math.min(rows.length - 1, i + 8), j] };
    if (event.key in moves) {
      const [a, b] = moves[event.key];
      if (cells[a] && cells[a][b]) cells[a][b].focus();
    } else if (event.key === "Enter" || event.key === " ") {
      if (event.shiftKey && onrow) onrow(i);
      else if (onpick) onpick(i, j);
    } else return;
    event.preventDefault();
  });
  const update = () => {
    for (let i = 0; i < rows.length; i++) {
      for (let j = 0; j < columns.length; j++) {
        const { v, below, texts: written } = cell(i, j), one = cells[i][j];
        one.style.setProperty("--v", page.shade(v).toFixed(3));
        one.classList.toggle("strong", page.isStrong(v));
        one.classList.toggle("below", Boolean(below));
        if (texts && written) for (let k = 0; k < 2; k++) if (one.children[k].textContent !== written[k]) one.children[k].textContent = written[k];
      }
    }
  };
  cells[at[0]][at[1]].tabIndex = 0;
  update();
  return { table, cells, update, light };
};

// A probability over its bar, where one in two hundred is the least that is worth a number
page.inPercent = (p) => (p >= 0.0095 ? (100 * p).toFixed(0) : p >= 0.005 ? (100 * p).toFixed(1).slice(1) : "");

// Bars that stand side by side, one for each symbol; a button where there is something to click.
page.bars = (items, { most, onpick, second, label, numbers } = {}) => {
  const top = most || Math.max(1e-9, ...items.map((item) => Math.max(item.p || 0, item.q || 0)));
  const best = Math.max(...items.map((item) => item.q ?? item.p ?? 0));
  const long = items.some((item) => item.label.length > 3) ? "long" : "";
  return page.element("div", { class: `bars ${long} ${second ? "two" : ""}`, role: "group", "aria-label": label }, ...items.map((item) => {
    const said = `${item.label}: ${page.percent(item.p)}${second ? `, ${page.percent(item.q)} ${second}` : ""}`;
    const parts = [
      page.element("span", { class: "column" }, numbers ? page.element("span", { class: "number", style: { "--h": (item.p || 0) / top }, text: page.inPercent(item.p) }) : null, page.element("span", { class: "bar", style: { "--h": (item.p || 0) / top } }), second ? page.element("span", { class: "bar cut", style: { "--h": (item.q || 0) / top } }) : null),
      page.symbol(item.label),
    ];
    const kind = `${item.chosen ? "chosen" : ""} ${(item.q ?? item.p) === best ? "best" : ""}`;
    if (!onpick || item.fixed) return page.element("span", { class: `one ${kind}`, title: item.fixed ? `${said}; ends the line` : said }, ...parts);
    return page.element("button", { class: `one ${kind}`, title: said, "data-key": item.key, "aria-label": `append ${said}`, onclick: () => onpick(item) }, ...parts);
  }));
};

// Bars that lie under each other, the longest first: the row of a table.
page.ranking = (items) => {
  const top = Math.max(1e-9, ...items.map((item) => item.p));
  return page.element("ol", { class: "ranking" }, ...items.map((item) =>
    page.element("li", { class: item.chosen ? "chosen" : "", style: { "--w": item.p / top } }, page.symbol(item.label), page.element("span", { class: "bar" }), page.element("span", { class: "number", text: item.text }))));
};
