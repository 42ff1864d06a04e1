"use strict";
// A line that is typed, and how each model reads it: the surprisal of every letter, and what it expects next.

page.typeView = (section, shared) => {
  const { element, symbol, word, fill, format, percent, ask } = page;
  const input = element("input", { class: "typed", type: "text", value: shared.text, maxlength: shared.maxText, spellcheck: "false", autocomplete: "off", autocapitalize: "off", "aria-label": "A line", dir: "auto" });
  const chips = element("div", { class: "chips", role: "group", "aria-label": "Runs" });
  const differing = element("p", { class: "lead", "aria-live": "polite" }), readers = element("div", { class: "readers" });
  const chosen = new Set(), looked = new Map();
  let known = "", found = [];

  const update = page.latest(async () => {
    const text = shared.text, names = [...chosen];
    found = await Promise.all(names.map(async (run) => {
      try {
        const read = await ask("type", { run, text });
        return { run, ...read, smaller: await smaller(run, text, read) };
      } catch (error) {
        return { run, error: error.message };
      }
    }));
    draw();
  });

  // The line in lower-case letters, if the model reads more of it then
  const smaller = async (run, text, read) => {
    const lower = text.toLowerCase();
    if (!read.problem || lower === text) return null;
    return (await ask("type", { run, text: lower })).symbols.length > read.symbols.length ? lower : null;
  };

  // Where the models differ most in how surprised they are by the same letter
  const disagreement = () => {
    const read = found.filter((one) => !one.error);
    if (read.length < 2) return null;
    const length = Math.min(...read.map((one) => one.nats.length));
    let best = null;
    for (let t = 0; t < length; t++) {
      if (read.some((one) => one.symbols[t] !== read[0].symbols[t])) break;
      const nats = read.map((one) => one.nats[t] ?? Infinity), spread = Math.max(...nats) - Math.min(...nats);
      if (!best || spread > best.spread) best = { t, spread, nats: read.map((one) => [one.run, one.nats[t]]), label: read[0].symbols[t] };
    }
    return best;
  };

  const draw = () => {
    const most = disagreement();
    fill(differing, ...(most ? [`They disagree most at letter ${most.t + 1}, `, symbol(most.label), ": ", most.nats.map(([run, nats]) => `${run} ${format(nats, 2)}`).join(", "), " nats."] : chosen.size > 1 ? ["Type a line to see where they disagree."] : []));
    differing.hidden = chosen.size < 2;
    const held = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.key : null;
    const top = Math.max(0.05, ...found.filter((one) => !one.error).flatMap((one) => one.prob[placeIn(one) - one.first])); // one scale for all
    fill(readers, ...found.map((one) => reader(one, most, top)));
    if (held) readers.querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus();
  };

  // The place whose bars are shown: the one that was clicked, or the end
  const placeIn = (one) => {
    const last = one.nats.length, place = Math.min(looked.get(one.run) ?? last, last);
    return place < one.first ? last : place;
  };

  const reader = (one, most, top) => {
    const run = shared.runs.find((other) => other.name === one.run) || {};
    const title = element("h2", { text: one.run }), about = element("span", { class: "note", text: `${run.model === one.run ? "" : `${run.model}, `}${page.count(run.parameters || 0)} parameters` });
    if (one.error) return element("section", { class: "card" }, element("header", {}, title, about), element("p", { class: "notice", text: one.error }));
    const unit = run.tokens === "word" ? "word" : "symbol";
    const sum = element("span", { class: "sum", title: "the sum of the surprisals; with the end mark it is what mm.score gives", text: `${format(one.sum, 2)} nats; ${format(one.total, 2)} with the end mark` });
    const last = one.nats.length;
    const place = placeIn(one);
    const letter = (label, nats, t) => {
      const v = nats === null ? 1 : Math.min(1, nats / 7);
      const differs = most && t === most.t ? "differs" : "";
      return element("button", {
        class: `letter shade below ${page.isStrong(v) ? "strong" : ""} ${differs}`, style: { "--v": page.shade(v).toFixed(3) }, "data-key": `${one.run}/${t}`, "aria-pressed": t === place ? "true" : "false",
        title: "what the model expected here", "aria-label": `${label}: ${format(nats, 2)} nats`,
        onclick: () => { looked.set(one.run, t); draw(); },
      }, symbol(label), element("span", { class: "number", text: format(nats, nats !== null && nats >= 9.95 ? 1 : 2) }));
    };
    const next = element("button", { class: "letter shade", style: { "--v": 0 }, "data-key": `${one.run}/next`, "aria-pressed": place === last ? "true" : "false", title: "what comes next", "aria-label": "what comes next", onclick: () => { looked.delete(one.run); draw(); } }, symbol("?"), element("span", { class: "number", text: "next" }));
    const strip = element("div", { class: "strip", dir: "ltr" }, ...one.symbols.map((label, t) => letter(label, one.nats[t], t)), one.problem ? null : next,
      one.problem ? element("div", { class: "unknown" }, one.unread.length ? word(one.unread, "unread") : null, element("span", { class: "note", text: one.problem })) : null,
      one.smaller ? element("button", { class: "primary", text: `Read ${one.smaller.slice(0, 20)}`, onclick: () => setText(one.smaller) }) : null);
    const prob = one.prob[place - one.first];
    const items = one.bars.map(([token, label], k) => ({ token, label, p: prob[k], key: `${one.run}/bar/${token}`, fixed: token === 0, chosen: place < last && label === one.symbols[place] }));
    const onpick = async (item) => {
      try {
        setText((await ask("append", { run: one.run, text: shared.text, token: item.token, label: item.label })).text);
      } catch (error) {
        found = found.map((other) => (other === one ? { run: one.run, error: error.message } : other));
        draw();
      }
    };
    const here = items.find((item) => item.chosen);
    const likely = items.filter((item) => item !== here).sort((a, b) => b.p - a.p).slice(0, 3).map((item) => `${item.label} ${percent(item.p)}`).join(", ");
    const caption = place === last ? [`Next ${unit}: ${likely}.`, one.problem ? "" : " Click a bar to append it."] : [`Expected instead of `, symbol(one.symbols[place]), here ? ` (${percent(here.p)})` : "", `: ${likely}.`];
    return element("section", { class: "card reader" }, element("header", {}, title, about, sum), strip, element("p", { class: "note" }, ...caption),
      page.bars(items, { most: top, onpick: place === last && !one.problem ? onpick : null, numbers: true, label: `the next ${unit} for ${one.run}` }));
  };

  const setText = (text) => {
    shared.text = text;
    if (input.value !== text) input.value = text;
    looked.clear();
    update();
    section.dispatchEvent(new Event("change", { bubbles: true }));
  };
  input.addEventListener("input", () => setText(input.value));
  const kept = () => ({ run: [...chosen], text: shared.text });
  const restore = ({ run, text }) => {
    if (text !== undefined) shared.text = text;
    if (!run) return;
    chosen.clear();
    for (const name of run) chosen.add(name);
    known = ""; // the boxes are drawn anew
  };
  const move = (by) => {
    for (const one of found) if (!one.error) looked.set(one.run, Math.max(0, Math.min(one.nats.length, placeIn(one) + by)));
    draw();
  };

  const refresh = () => {
    const now = JSON.stringify(shared.runs.map((run) => [run.name, run.version]));
    if (input.value !== shared.text) input.value = shared.text;
    if (now !== known) {
      for (const name of chosen) if (!shared.runs.some((run) => run.name === name)) chosen.delete(name);
      if (!chosen.size) for (const run of shared.runs.slice(0, 2)) chosen.add(run.name);
      fill(chips, ...shared.runs.map((run) => element("label", {}, element("input", { type: "checkbox", checked: chosen.has(run.name), "aria-label": run.name, onchange: (event) => {
        if (event.target.checked) chosen.add(run.name);
        else chosen.delete(run.name);
        update();
      } }), element("span", { text: run.name }))));
      chips.hidden = shared.runs.length < 2;
      known = now;
    }
    update();
  };
  fill(section, element("div", { class: "asking" }, input, chips), differing, readers,
    element("p", { class: "note", text: "The number under a letter is its surprisal, −ln P(letter | what stands before it), in nats. Click a letter for what the model expected there. A number over a bar is a percentage." }));
  return { refresh, kept, restore, focus: () => input.focus(), forward: () => move(1), back: () => move(-1) };
};
