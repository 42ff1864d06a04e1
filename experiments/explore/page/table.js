"use strict";
// The table of bigrams: point at a cell, list its lines, draw a name from it, smooth it, learn it.

page.tableView = (section, data, linesWith) => {
  const { element, symbol, word, fill, card, format, count, percent } = page;
  const { symbols, counts, total, vocab } = data, side = symbols.length;
  const state = { show: "count", scale: "linear", source: "counted", smoothing: 0, step: data.learned ? data.learned.steps.length - 1 : 0, pair: null };
  const cut = side < vocab;

  // Probabilities: of the counts with smoothing, as N + a divided by the sum of its row, or of the learned table.
  const counted = (i, j) => {
    const a = state.smoothing, sum = total[i] + a * vocab;
    return sum > 0 ? (counts[i][j] + a) / sum : 1 / vocab;
  };
  const learned = (i, j) => Math.exp(data.learned.log_prob[state.step][i][j]);
  const prob = (i, j) => (state.source === "learned" ? learned(i, j) : counted(i, j));
  const most = Math.max(1, ...counts.flat());
  const FLOOR = Math.log(1e-5);
  const inked = (p) => (state.scale === "log" ? Math.max(0, 1 - Math.log(Math.max(p, 1e-9)) / FLOOR) : Math.min(1, p / scaleTop));
  let scaleTop = 1;
  const short = (p) => (p >= 0.9995 ? "1.0" : p < 0.0005 ? (p > 0 ? "0+" : "0") : p.toFixed(3).slice(1));
  const asCount = () => state.show === "count";
  // What a cell counts: what was found, with what is added to it; or what the learned table expects of as many pairs
  const amount = (i, j) => (state.source === "learned" ? total[i] * learned(i, j) : counts[i][j] + state.smoothing);
  const shortAmount = (n) => (n >= 9999.5 ? `${Math.round(n / 1000)}k` : n >= 10 || Number.isInteger(n) ? String(Math.round(n)) : n < 0.005 ? "0+" : String(Number(n.toFixed(n < 1 ? 2 : 1))).replace(/^0\./, "."));
  const cell = (i, j) => {
    const n = amount(i, j), p = prob(i, j), top = most + (state.source === "learned" ? 0 : state.smoothing);
    const v = asCount() ? Math.min(1, state.scale === "log" ? Math.log1p(n) / Math.log1p(top) : n / top) : inked(p);
    const spoken = `${symbols[i]}${symbols[j]}: ${count(counts[i][j])} times, probability ${percent(p)} after ${symbols[i]}`;
    return { v, texts: [symbols[i] + symbols[j], asCount() ? shortAmount(n) : short(p)], spoken };
  };

  const heading = element("p", { class: "lead" });
  const heat = page.heat({
    rows: symbols, columns: symbols, cell, label: "How often the second symbol follows the first", texts: side <= 40, extra: "big",
    onhover: (i, j) => showPair(i, j), onpick: (i, j) => listLines(i, j), onrow: (i) => listRow(i),
  });

  // The pair under the pointer, and below it lines or a row
  const pair = element("div", { class: "pair" }), below = element("div", { class: "below", "aria-live": "polite" });
  let row = null, asked = 0;
  const showPair = (i, j) => {
    state.pair = [i, j];
    const rank = data.rank[i][j], where = counts[i][j] ? `${count(rank)} of ${count(vocab * vocab)} pairs` : "never seen";
    const fact = (name, value) => element("div", {}, element("dt", {}, ...name), element("dd", { text: value }));
    const given = ["P(", symbol(symbols[j]), " | ", symbol(symbols[i]), ")"], n = counts[i][j];
    const learns = state.source === "learned", changed = learns ? `, learned ${shortAmount(amount(i, j))}` : state.smoothing ? ` + ${state.smoothing.toLocaleString("en-US")}` : "";
    fill(pair, element("div", { class: "two" }, symbol(symbols[i]), symbol(symbols[j])),
      element("dl", {}, fact(["count"], count(n) + changed), fact(given, prob(i, j).toFixed(4)), fact(["rank"], where)));
  };
  const listRow = (i, drawn = null) => {
    row = [i, drawn];
    asked += 1;
    const items = symbols.map((label, j) => ({ label, p: prob(i, j), chosen: j === drawn })).sort((a, b) => b.p - a.p);
    const head = element("h3", {}, "After ", symbol(symbols[i]), `: ${count(total[i])} pairs, sorted`);
    const ranking = page.ranking(items.map((item) => ({ ...item, text: percent(item.p) })));
    fill(below, head, ranking);
    const chosen = ranking.querySelector(".chosen");
    if (chosen) ranking.scrollTop = chosen.offsetTop - ranking.offsetTop - ranking.clientHeight / 2; // and not the page
  };
  const listLines = async (i, j) => {
    row = null;
    showPair(i, j);
    const mine = ++asked;
    let found;
    try {
      found = await linesWith(i, j);
      if (mine !== asked) return; // another pair is wanted meanwhile
    } catch (error) {
      if (mine !== asked) return;
      fill(below, element("p", { class: "notice", text: error.message }));
      return;
    }
    const head = element("h3", {}, `${count(found.total)} ${found.total === 1 ? "line holds" : "lines hold"} `, word([symbols[i], symbols[j]]));
    const rows = found.lines.map((line) => {
      const marked = new Set(line.at.flatMap((at) => [at, at + 1]));
      const parts = line.symbols.map((label, at) => symbol(label, marked.has(at) ? "marked" : at === 0 || at === line.symbols.length - 1 ? "edge" : ""));
      return element("li", { dir: "ltr" }, line.cut[0], ...parts, line.cut[1]);
    });
    const rest = found.total - rows.length;
    fill(below, head, element("ol", { class: "lines", tabindex: 0 }, ...rows), rest > 0 ? element("p", { class: "note", text: `and ${count(rest)} more` }) : null);
  };

  // Draw a name: one random number for each symbol, against the running sum of a row
  const walk = { key: 0, place: 0, at: 0, name: [], path: [], over: false, timer: null };
  const said = element("p", { class: "walked", "aria-live": "polite" }), stack = element("div", { class: "stack" }), name = element("div", { class: "name" });
  const runningSum = (i) => {
    const p = symbols.map((_, j) => prob(i, j)), sum = p.reduce((a, b) => a + b, 0);
    let before = 0;
    return p.map((value) => ({ from: before / sum, to: (before += value) / sum }));
  };
  const drawStack = (parts, u, chosen) => {
    fill(stack, ...parts.map((part, j) => element("span", { class: `part ${j === chosen ? "chosen" : ""} ${j % 2 ? "odd" : ""}`, title: `${symbols[j]}: ${part.from.toFixed(4)} to ${part.to.toFixed(4)}`, style: { "--from": part.from, "--size": part.to - part.from } }, part.to - part.from > 0.025 ? symbol(symbols[j]) : null)),
      u === undefined ? null : element("span", { class: "needle", style: { "--at": u } }));
  };
  const clearPath = () => {
    for (const one of walk.path) one.classList.remove("path", "now");
    walk.path = [];
  };
  const showName = () => fill(name, symbol(symbols[0], "edge"), ...walk.name.map((j) => symbol(symbols[j])), walk.over ? symbol(symbols[0], "edge") : element("span", { class: "caret" }));
  const draw = (i, u) => { // the symbol whose part of the row's running sum holds the random number
    const found = runningSum(i).findIndex((part) => part.to > u);
    return found < 0 ? side - 1 : found;
  };
  const nameLength = (key) => { // Infinity if it does not end
    let at = 0;
    const end = data.uniform[key].findIndex((u) => (at = draw(at, u)) === 0);
    return end < 0 ? Infinity : end;
  };
  const restart = (key) => {
    clearPath();
    Object.assign(walk, { key, place: 0, at: 0, name: [], over: false });
    keyShown.textContent = `key ${key}`;
    showName();
    drawStack(runningSum(0));
    fill(said, "A name starts at ", symbol(symbols[0], "chip"), " and ends there. Each step draws one random number.");
  };
  const step = () => {
    if (walk.over) return restart((walk.key + 1) % data.uniform.length);
    const u = data.uniform[walk.key][walk.place], parts = runningSum(walk.at), j = draw(walk.at, u);
    for (const one of walk.path) one.classList.remove("now");
    const here = heat.cells[walk.at][j];
    here.classList.add("path", "now");
    walk.path.push(here);
    heat.light(walk.at, j);
    showPair(walk.at, j);
    listRow(walk.at, j);
    drawStack(parts, u, j);
    fill(said, "After ", symbol(symbols[walk.at]), `: ${u.toFixed(4)} falls between ${parts[j].from.toFixed(4)} and ${parts[j].to.toFixed(4)}, which is `, symbol(symbols[j]), j === 0 ? ": the name ends." : ".");
    walk.place += 1;
    walk.at = j;
    if (j === 0 || walk.place === data.uniform[walk.key].length) walk.over = true;
    if (j !== 0) walk.name.push(j);
    showName();
  };
  const stop = () => {
    clearInterval(walk.timer);
    walk.timer = null;
    play.textContent = "Play";
  };
  const play = element("button", { class: "primary", text: "Play", onclick: () => {
    if (walk.timer) return stop();
    play.textContent = "Pause";
    step();
    walk.timer = setInterval(() => {
      step();
      if (walk.over) stop();
    }, 650);
  } });
  const keyShown = element("span", { class: "note" });
  const buttons = element("div", { class: "buttons" }, play, element("button", { text: "Step", onclick: () => { stop(); step(); } }), element("button", { text: "New key", onclick: () => { stop(); restart((walk.key + 1) % data.uniform.length); } }), keyShown);

  // Smoothing, with the loss of the train counts on train and dev
  const smoothingChart = element("div"), explained = element("p", { class: "note", "aria-live": "polite" }), s = data.smoothing;
  const best = s && s.dev.reduce((low, value, g) => (value !== null && (s.dev[low] === null || value < s.dev[low]) ? g : low), 0);
  const smoothing = s && page.slider("added to each count", s.smoothing.length, 0, (index) => {
    if (state.smoothing !== s.smoothing[index]) showCounted(); // the learned table has none
    state.smoothing = s.smoothing[index];
    const curve = (kind) => s.smoothing.map((x, g) => [x || s.smoothing[1] / 2, s[kind][g] === null ? Infinity : s[kind][g]]);
    fill(smoothingChart, page.chart({ curves: [{ name: `train ${format(s.train[index], 4)}`, kind: "a", points: curve("train") }, { name: `dev ${format(s.dev[index], 4)}`, kind: "b", points: curve("dev"), lowest: true }], xlabel: "smoothing", ylabel: "nats per character", xlog: true, xticks: [0.01, 1, 100, 10000], marker: state.smoothing || s.smoothing[1] / 2, height: 150 }));
    fill(explained, s.dev[index] === null ? "The loss on dev is infinite: a dev line holds a pair that train never shows, and its probability is 0. Whatever is added to each count makes it finite." : `Lowest on dev: ${format(s.dev[best], 4)}, with ${s.smoothing[best]} added to each count.`);
    if (walk.place) restart(walk.key); // its row is another now
    else drawStack(runningSum(0));
    refresh();
    return state.smoothing.toLocaleString("en-US");
  });

  // The same table, learned
  let small = null;
  const told = element("p", { class: "note", "aria-live": "polite" });
  const l = data.learned;
  const steps = l && page.slider("gradient steps", l.steps.length, state.step, (index) => {
    state.step = index;
    if (small) small.update();
    fill(told, `loss ${l.nats[index].toFixed(4)}; counting reaches ${l.counted.toFixed(4)} nats per character`);
    if (state.source === "learned") refresh();
    return count(l.steps[index]);
  });
  if (l) {
    small = page.heat({ rows: symbols, columns: symbols, texts: false, extra: "small", label: "The table learned by gradient descent",
      cell: (i, j) => ({ v: inked(learned(i, j)), spoken: `${symbols[i]}${symbols[j]}: learned ${percent(learned(i, j))}` }),
      onhover: (i, j) => { heat.light(i, j); showPair(i, j); }, onpick: (i, j) => listLines(i, j) });
  }
  let learning = null;
  const stopLearning = () => {
    clearInterval(learning);
    learning = null;
    replay.textContent = "Play the steps";
  };
  const replay = element("button", { text: "Play the steps", onclick: () => {
    if (learning) return stopLearning();
    replay.textContent = "Pause";
    let index = state.step === l.steps.length - 1 ? 0 : state.step;
    steps.set(index);
    learning = setInterval(() => {
      index += 1;
      steps.set(index);
      if (index === l.steps.length - 1) stopLearning();
    }, 700);
  } });

  const refresh = () => {
    scaleTop = asCount() ? 1 : Math.max(...symbols.map((_, i) => Math.max(...symbols.map((__, j) => counted(i, j)))));
    heat.update();
    if (small) small.update();
    if (state.pair) showPair(...state.pair);
    if (row) listRow(...row);
    const added = state.smoothing ? `, with ${state.smoothing.toLocaleString("en-US")} added to each count` : "";
    const table = state.source === "learned" ? `${asCount() ? "The counts that the table expects" : "P(column | row)"} after ${count(l.steps[state.step])} steps of gradient descent` : `${asCount() ? "How often the column’s symbol follows the row’s" : "P(column | row)"}${added}`;
    fill(heading, `${table}. `, element("span", { class: "note" }, symbol(symbols[0], "chip"), " stands for the start and the end of a line."), cut ? element("strong", { text: ` The ${side} most frequent of ${count(vocab)} symbols.` }) : null);
  };
  const sources = page.choice("Table", [["counted", "counted"], ["learned", "learned"]], state.source, (value) => { state.source = value; restart(walk.key); refresh(); });
  const showCounted = () => {
    state.source = "counted";
    sources.select("counted");
  };
  const toolbar = element("div", { class: "toolbar" },
    page.choice("Show", [["count", "counts"], ["prob", "probabilities"]], state.show, (value) => { state.show = value; refresh(); }),
    page.choice("Shade", [["linear", "linear"], ["log", "log"]], state.scale, (value) => { state.scale = value; refresh(); }),
    l ? sources : null);

  fill(section, element("div", { class: "split" },
    element("div", { class: "main" }, heading, toolbar, element("div", { class: "wide" }, heat.table)),
    element("div", { class: "side" },
      card(null, pair, below, element("p", { class: "note", text: "Click a cell for its lines, a letter at the left for its row; arrow keys and Enter do the same." })),
      card("Draw a name", name, stack, said, buttons, cut ? element("p", { class: "note", text: `Names are drawn among the ${side} symbols shown.` }) : null),
      null),
    element("div", { class: "extra" },
      s ? card("Smoothing", element("p", { class: "note", text: `Counts of the ${count(s.lines[0])} train lines, scored on them and on ${count(s.lines[1])} dev lines.` }), smoothingChart, smoothing, explained, element("div", { class: "buttons" }, element("button", { text: "Lowest on dev", onclick: () => smoothing.set(best) }), element("button", { text: "None", onclick: () => smoothing.set(0) }))) : null,
      card("Learned by gradient descent", l ? element("div", { class: "tight" }, small.table, steps, told, element("div", { class: "buttons" }, replay)) : element("p", { class: "note", text: `With ${count(vocab)} symbols, learning the table would take long; it is left out.` })))));
  showPair(0, Math.min(1, side - 1));
  if (s) smoothing.show();
  if (l) steps.show();
  restart(Math.max(0, data.uniform.findIndex((_, key) => nameLength(key) >= 4 && nameLength(key) <= 8))); // a name worth showing
  refresh();
  const kept = () => ({ smoothing: state.smoothing, seed: walk.key });
  const restore = (values) => {
    const seed = Number(values.seed);
    if (s && values.smoothing !== undefined) smoothing.set(Math.max(0, s.smoothing.indexOf(Number(values.smoothing))));
    if (values.seed !== undefined && data.uniform[seed] && seed !== walk.key) restart(seed);
  };
  const back = () => { stop(); restart(walk.key); };
  return { kept, restore, back, forward: () => { stop(); step(); }, play: () => play.click() };
};
