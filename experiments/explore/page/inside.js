"use strict";
// What a model computes as it reads the line: attention, states and gates, embeddings, how far back it looks.

page.insideView = (section, shared) => {
  const { element, symbol, fill, card, ask, percent } = page;
  const runs = element("select", { "aria-label": "Run" });
  const input = element("input", { class: "typed", type: "text", value: shared.text, maxlength: shared.maxText, spellcheck: "false", autocomplete: "off", autocapitalize: "off", "aria-label": "A line", dir: "auto" });
  const problem = element("p", { class: "notice", hidden: true }), body = element("div", { class: "cards" });
  let known = "", layer = 0, head = 0, next = () => {}; // to another head

  const update = page.latest(async () => {
    if (!runs.value) return;
    let found;
    try {
      found = await ask("inside", { run: runs.value, text: shared.text });
    } catch (error) {
      found = { error: error.message };
    }
    problem.hidden = !(found.error || found.problem);
    problem.textContent = found.error || found.problem || "";
    if (found.error) return;
    fill(body, attention(found), element("div", { class: "cards pairs" }, reach(found), plane(found)), panels(found));
  });

  const reach = (found) => {
    const { symbols } = found, length = symbols.length;
    const heat = page.heat({ rows: symbols, columns: symbols, texts: length <= 16, extra: "middle", label: "How much the prediction after the row's symbol changes when the column's symbol is replaced",
      cell: (i, j) => ({ v: found.reach[i][j], texts: ["", j && j <= i ? percent(found.reach[i][j]) : ""], spoken: `after ${symbols[i]}, replacing ${symbols[j]} at ${j}: ${percent(found.reach[i][j])}` }),
      onhover: (i, j) => say(i, j) });
    const said = element("p", { class: "note", "aria-live": "polite" });
    const say = (i, j) => {
      const place = element("strong", { text: percent(found.reach[i][j]) });
      fill(said, ...(j > i ? ["A model reads from left to right: what comes later changes nothing."] : j === 0 ? ["The mark that starts the line stays."] : ["Replace ", symbol(symbols[j]), ": what is expected after ", symbol(symbols[i]), " changes by ", place, "."]));
    };
    fill(said, length > 1 ? "Total variation of the next symbol’s distribution, the mean over all replacements. Point at a cell." : "Type a line.");
    return card("How far back it looks", element("p", { class: "note", text: "Row: the prediction after this symbol. Column: the symbol that is replaced." }), heat.table, said);
  };

  const plane = (found) => {
    if (!found.plane) return card("Embeddings", element("p", { class: "note", text: "This model has no embeddings of symbols." }));
    const { points, labels, share, width } = found.plane, W = 460, H = 380, room = 24;
    const xs = points.map((point) => point[0]), ys = points.map((point) => point[1]);
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const typed = new Set(found.symbols.slice(1));
    const picture = element("svg", { class: "plane", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "embeddings of the symbols in a plane" },
      ...points.map(([x, y], k) => element("text", { class: typed.has(labels[k]) ? "typed-in" : "", x: room + ((x - left) / (right - left || 1)) * (W - 2 * room), y: H - room - ((y - low) / (high - low || 1)) * (H - 2 * room), text: labels[k] })));
    const how = width === 2 ? "The embeddings are two numbers each." : `Of ${width} dimensions, the two in which the embeddings differ most: ${percent(share)} of their variance.`;
    return card("Embeddings", element("p", { class: "note", text: `${how} The line’s symbols stand out.` }), picture);
  };

  const arcs = (found, weight) => {
    const { symbols } = found, step = 46, width = Math.max(200, step * symbols.length), depth = Math.min(190, 30 + 13 * symbols.length);
    const picture = element("svg", { class: "arcs", viewBox: `0 0 ${width} ${depth + 74}`, role: "img", "aria-label": "attention as lines between letters", style: { "max-width": `${2.6 * width}px` } });
    const x = (t) => step * (t + 0.5), top = 24, bottom = depth + 46;
    weight.forEach((line, t) => line.forEach((w, s) => {
      if (s <= t && w > 0.02) picture.append(element("path", { d: `M${x(t)} ${bottom - 14}C${x(t)} ${(bottom + top) / 2} ${x(s)} ${(bottom + top) / 2} ${x(s)} ${top + 8}`, "stroke-width": (0.5 + 5.5 * w).toFixed(2), opacity: (0.12 + 0.88 * w).toFixed(2) }));
    }));
    symbols.forEach((label, t) => {
      picture.append(element("text", { x: x(t), y: top, text: label }), element("text", { x: x(t), y: bottom + 6, text: label }));
    });
    return picture;
  };

  const attention = (found) => {
    next = () => {};
    if (!found.attention) return null;
    layer = Math.min(layer, found.attention.length - 1);
    head = Math.min(head, found.attention[0].length - 1);
    const lines = element("div"), maps = element("div", { class: "heads" });
    const pick = (l, k) => {
      [layer, head] = [l, k];
      layers.select(String(l));
      heads.select(String(k));
      fill(lines, arcs(found, found.attention[l][k]));
      [...maps.children].forEach((one, at) => one.classList.toggle("shown", at === l * found.attention[0].length + k));
    };
    const layers = page.choice("Layer", found.attention.map((_, l) => [String(l), String(l + 1)]), String(layer), (value) => pick(Number(value), head));
    const heads = page.choice("Head", found.attention[0].map((_, k) => [String(k), String(k + 1)]), String(head), (value) => pick(layer, Number(value)));
    maps.style.setProperty("--heads", found.attention[0].length);
    found.attention.forEach((row, l) => row.forEach((weight, k) => {
      const one = map(`layer ${l + 1}, head ${k + 1}`, weight, found.symbols, false, 1, true, (i, j) => `after ${found.symbols[i]}, looks at ${found.symbols[j]}: ${percent(weight[i][j])}`);
      one.addEventListener("click", () => pick(l, k));
      maps.append(one);
    }));
    pick(layer, head);
    next = (by) => {
      const many = found.attention[0].length, at = layer * many + head + by;
      if (at >= 0 && at < many * found.attention.length) pick(Math.floor(at / many), at % many);
    };
    return card("Attention", element("p", { class: "note", text: "From each letter below to the letters above that the head looks at; thicker is more." }), element("div", { class: "cards pairs" },
      element("div", { class: "cards" }, element("div", { class: "toolbar" }, layers, heads), lines), element("div", { class: "cards" }, element("h3", { text: "Every head as a map: the row looks at the column; click one to see its lines" }), maps)));
  };

  // A map on a canvas: the colours of the page, one pixel for each number, which `tell` puts into words under the pointer
  const map = (title, rows, symbols, signed, scale, square, tell) => {
    const canvas = element("canvas", { width: rows[0].length, height: rows.length, role: "img", "aria-label": title }), style = getComputedStyle(canvas.isConnected ? canvas : document.body);
    const probe = element("i", { hidden: true });
    document.body.append(probe);
    const colour = (name) => {
      probe.style.color = `var(${name})`;
      return getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
    };
    const [low, ...ends] = ["--low", "--mid", "--high", "--mid-below", "--high-below"].map(colour);
    probe.remove();
    const context = canvas.getContext("2d"), image = context.createImageData(rows[0].length, rows.length);
    rows.forEach((row, i) => row.forEach((value, j) => {
      const share = 2 * Math.min(1, Math.abs(value) / scale), [mid, high] = value < 0 ? ends.slice(2) : ends, at = 4 * (i * row.length + j);
      for (let c = 0; c < 3; c++) image.data[at + c] = share < 1 ? low[c] + share * (mid[c] - low[c]) : mid[c] + (share - 1) * (high[c] - mid[c]);
      image.data[at + 3] = 255;
    }));
    context.putImageData(image, 0, 0);
    canvas.style.aspectRatio = square ? "1" : "1.25";
    const time = element("div", { class: "time", dir: "ltr" }, ...(symbols.length <= 24 ? symbols.map((label) => element("span", {}, symbol(label))) : []));
    const down = square && symbols.length <= 24 ? element("div", { class: "down" }, ...symbols.map((label) => element("span", {}, symbol(label)))) : element("span");
    const caption = element("figcaption", { class: "note", text: title });
    canvas.addEventListener("pointermove", (event) => {
      const { left, top, width, height } = canvas.getBoundingClientRect(), { clientX, clientY } = event;
      const i = Math.floor((rows.length * (clientY - top)) / height), j = Math.floor((rows[0].length * (clientX - left)) / width);
      if (rows[i]?.[j] !== undefined) caption.textContent = tell(i, j);
    });
    canvas.addEventListener("pointerleave", () => { caption.textContent = title; });
    return element("figure", { class: "map", style: { margin: 0, "--n": symbols.length } }, caption, element("div", { class: "body" }, down, canvas, element("span"), time));
  };

  const panels = (found) => {
    if (!found.panels.length) return card("States and gates", element("p", { class: "note", text: "This model shows no activations along the line." }));
    const across = (rows) => rows[0].map((_, unit) => rows.map((row) => row[unit]));
    return card("States and gates along the line", element("p", { class: "note", text: "Time from left to right; each row is a unit, in order of its mean. Blue is positive, orange negative." }),
      element("div", { class: "maps" }, ...found.panels.map((panel) => map(`${panel.title}: ${panel.units} units, ${panel.signed ? `±${panel.scale.toFixed(1)}` : `0 to ${panel.scale.toFixed(1)}`}`, across(panel.value), found.symbols, panel.signed, panel.scale, false, (unit, t) => `${panel.title} after ${found.symbols[t]}: ${page.format(panel.value[t][unit])}`))));
  };

  input.addEventListener("input", () => {
    shared.text = input.value;
    update();
  });
  runs.addEventListener("change", update);
  const kept = () => ({ run: runs.value, text: shared.text });
  const restore = ({ run, text }) => {
    if (text !== undefined) shared.text = text;
    fillRuns();
    if (run && shared.runs.some((other) => other.name === run[0])) runs.value = run[0];
  };
  const fillRuns = () => {
    const now = JSON.stringify(shared.runs.map((run) => run.name));
    if (now === known) return;
    const before = runs.value;
    fill(runs, ...shared.runs.map((run) => element("option", { value: run.name, text: run.name })));
    if (before) runs.value = before;
    known = now;
  };
  const refresh = () => {
    if (input.value !== shared.text) input.value = shared.text;
    fillRuns();
    update();
  };
  fill(section, element("div", { class: "asking" }, input, runs), problem, body);
  return { refresh, kept, restore, redraw: update, focus: () => input.focus(), forward: () => next(1), back: () => next(-1) };
};
