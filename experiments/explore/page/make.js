"use strict";
// New lines, as they are drawn; each replayed letter by letter.

// A log-probability as a chance: 1 in so many
page.oneIn = (logProb) => {
  const many = Math.exp(-logProb);
  return many < 1e12 ? `1 in ${page.count(Number(many.toPrecision(2)))}` : `1 in 10^${Math.round(-logProb / Math.LN10)}`;
};

page.makeView = (section, shared) => {
  const { element, symbol, word, fill, card, format, ask } = page;
  const runs = element("select", { "aria-label": "Run" }), runsLabel = element("label", { class: "plain" }, element("span", { text: "run" }), runs);
  const text = (label, attributes) => {
    const input = element("input", { "aria-label": label, ...attributes });
    return [input, element("label", { class: "plain" }, element("span", { text: label }), input)];
  };
  const [prefix, prefixLabel] = text("prefix", { type: "text", maxlength: 200, spellcheck: "false", autocomplete: "off", autocapitalize: "off" });
  const [seed, seedLabel] = text("seed", { type: "number", min: 0, max: 4294967295, step: 1, value: 1 });
  const [n, nLabel] = text("lines", { type: "number", min: 1, max: shared.maxLines, step: 1, value: 24 });
  const wanted = { temperature: 1, top_k: null, top_p: 1 };
  const temperature = page.slider("temperature", 41, 20, (index) => { wanted.temperature = index / 20; return wanted.temperature.toFixed(2); });
  const K = [null, 20, 15, 10, 8, 6, 5, 4, 3, 2, 1];
  const topK = page.slider("top-k", K.length, 0, (index) => { wanted.top_k = K[index]; return K[index] === null ? "all" : String(K[index]); });
  const topP = page.slider("top-p", 20, 0, (index) => { wanted.top_p = Math.round(100 - 5 * index) / 100; return wanted.top_p.toFixed(2); });
  const told = element("p", { class: "lead", "aria-live": "polite" }), changed = element("p", { class: "notice", role: "status", hidden: true, text: "The run has changed since these lines were drawn; draw again." }), heading = element("p", { class: "note" }), list = element("ol", { class: "made-list" }), replayed = element("div", { class: "replay" });
  let timer = null, arriving = [], wished = null, drawn = null, asked = 0, replays = 0, walk = null; // the line that is replayed

  const stop = () => {
    clearInterval(timer);
    timer = null;
  };
  const request = () => ({ run: runs.value, ...wanted, prefix: prefix.value, seed: Number(seed.value), n: Number(n.value) });
  const make = async () => {
    stop();
    for (const waiting of arriving) clearTimeout(waiting);
    fill(replayed);
    walk = null;
    replays += 1;
    let found;
    const mine = ++asked, now = wished = request();
    try {
      found = await ask("make", now);
      if (mine !== asked) return; // somebody has asked for others meanwhile
      drawn = { ...now, version: found.version };
      refresh();
    } catch (error) {
      if (mine !== asked) return;
      drawn = null;
      refresh();
      fill(list);
      fill(heading);
      fill(told, element("span", { class: "notice", text: error.message }));
      return;
    }
    fill(list);
    const news = found.novelty;
    const one = found.lines.find((line) => line.log_prob !== null);
    fill(heading, "Beside each line stands its log-probability, ln P(line), in nats", one ? `: ${format(one.log_prob, 2)} is ${page.oneIn(one.log_prob)}` : "", ".", now.temperature === 0 || now.top_k === 1 ? element("strong", { text: ` ${now.temperature === 0 ? "At temperature 0" : "With top-k 1"} the most likely symbol is always taken and the random number changes nothing, so all lines are equal.` }) : null);
    const many = `${found.lines.length} ${found.lines.length === 1 ? "line" : "lines"}`;
    fill(told, news ? `${many}: ${news.new} new, ${news.in_train} in train, ${news.in_held_out} held out. ` : `${many}. `, element("span", { class: "note", text: `${news ? "" : "The data of this run is not at hand, so which of them are new is not known. "}Click a line to see how it was drawn.` }));
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    arriving = found.lines.map((line, index) => setTimeout(() => list.append(row(line, index)), still ? 0 : 45 * index));
  };
  const between = () => (shared.runs.find((run) => run.name === drawn.run)?.tokens === "word" ? " " : "");
  const row = (line, index) => {
    const tag = line.where ? element("span", { class: `tag ${line.where.split(" ")[0]}`, text: line.where }) : null;
    const button = element("button", { class: "made", "aria-pressed": "false", onclick: () => replay(index, button) },
      word([...line.symbols, ...(line.ended ? [] : ["…"])], "", between()), element("span", { class: "number", title: "log-probability in nats", text: format(line.log_prob, 2) }), tag);
    return element("li", {}, button);
  };

  const replay = async (index, button) => {
    stop();
    for (const other of list.querySelectorAll(".made")) other.setAttribute("aria-pressed", String(other === button));
    let steps;
    const mine = ++replays;
    try {
      steps = (await ask("replay", { ...drawn, index })).steps;
      if (mine !== replays) return; // another line, or other lines, are wanted meanwhile
    } catch (error) {
      if (mine !== replays) return;
      fill(replayed, element("p", { class: "notice", text: error.message }));
      return;
    }
    let place = 0;
    const line = element("div", { class: "strip", dir: "ltr" }), body = element("div"), said = element("p", { class: "walked", "aria-live": "polite" });
    const show = (at) => {
      place = at;
      const step = steps[place];
      fill(line, ...steps.map((one, t) => element("button", { class: "letter shade", style: { "--v": 0 }, "aria-pressed": String(t === place), "aria-label": `step ${t + 1}, ${one.symbol}`, onclick: () => { stop(); show(t); } }, symbol(t > place ? "·" : one.symbol))));
      const items = step.bars.map((label, k) => ({ label, p: step.prob[k], q: step.cut[k], chosen: k === step.chosen }));
      const now = items[step.chosen];
      if (step.given) fill(said, symbol(step.symbol), " was given by the prefix; the bars are what the model would have drawn from.");
      else fill(said, `Random number ${step.random.toFixed(4)}. The symbols before `, symbol(step.symbol), ` sum to ${step.below.toFixed(4)}; with it, ${(step.below + (now.q ?? 0)).toFixed(4)}. So `, symbol(step.symbol), " is drawn.");
      fill(body, page.bars(items, { second: "after the cut", label: "the distribution, before and after temperature, top-k and top-p" }));
    };
    const play = element("button", { class: "primary", text: "Play", onclick: () => {
      if (timer) {
        stop();
        play.textContent = "Play";
        return;
      }
      play.textContent = "Pause";
      if (place === steps.length - 1) show(0);
      timer = setInterval(() => {
        if (place === steps.length - 1) {
          stop();
          play.textContent = "Play";
        } else show(place + 1);
      }, 900);
    } });
    const move = (by) => { stop(); play.textContent = "Play"; show(Math.max(0, Math.min(steps.length - 1, place + by))); };
    fill(replayed, card("How it was drawn", line, body, said, element("p", { class: "note", text: "Pale: what the model says. Full: what temperature, top-k and top-p leave of it." }),
      element("div", { class: "buttons" }, element("button", { text: "Back", onclick: () => move(-1) }), element("button", { text: "Step", onclick: () => move(1) }), play)));
    walk = { move, play: () => play.click() };
    show(0);
    replayed.scrollIntoView({ block: "nearest" });
  };

  const fillRuns = () => {
    const before = runs.value, names = shared.runs.map((run) => run.name);
    if ([...runs.options].map((option) => option.value).join("\n") === names.join("\n")) return;
    fill(runs, ...names.map((name) => element("option", { value: name, text: name })));
    if (names.includes(before)) runs.value = before;
    runsLabel.hidden = names.length < 2;
  };
  const kept = () => ({ run: runs.value, text: prefix.value, seed: seed.value, lines: n.value, temperature: wanted.temperature, top_k: wanted.top_k, top_p: wanted.top_p });
  const restore = (values) => {
    fillRuns();
    if (!Object.keys(values).length) return;
    if (values.run && shared.runs.some((run) => run.name === values.run[0])) runs.value = values.run[0];
    for (const [input, name] of [[prefix, "text"], [seed, "seed"], [n, "lines"]]) input.value = values[name] ?? input.value;
    const at = { temperature: 20 * (values.temperature ?? 1), top_k: Math.max(0, K.indexOf(Number(values.top_k))), top_p: 20 * (1 - (values.top_p ?? 1)) };
    [[temperature, at.temperature], [topK, at.top_k], [topP, at.top_p]].forEach(([slider, index]) => slider.set(Math.round(index) || 0));
    const now = request();
    if (wished && Object.keys(now).some((name) => now[name] !== wished[name])) make(); // also if it is not answered yet
  };
  const refresh = () => {
    fillRuns();
    if (!asked && runs.value) make();
    changed.hidden = !drawn || shared.runs.some((run) => run.name === drawn.run && run.version === drawn.version);
  };
  runs.addEventListener("change", make);
  const form = element("form", { onsubmit: (event) => { event.preventDefault(); make(); } },
    element("div", { class: "controls" }, runsLabel, temperature, topK, topP, prefixLabel, seedLabel, nLabel,
      element("div", { class: "buttons" }, element("button", { class: "primary", type: "submit", text: "Draw" }), element("button", { type: "button", text: "Next seed", onclick: () => { seed.value = Number(seed.value) + 1; make(); } }))));
  for (const slider of [temperature, topK, topP]) {
    slider.show();
    slider.input.addEventListener("change", make);
  }
  fill(section, form, told, heading, changed, list, replayed);
  const move = (by) => (walk ? walk.move(by) : list.querySelector(".made")?.click());
  return { refresh, kept, restore, focus: () => prefix.focus(), forward: () => move(1), back: () => move(-1), play: () => (walk ? walk.play() : move(1)) };
};
