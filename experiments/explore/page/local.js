"use strict";
// Answers, in the page itself, what views.py answers on a server: how a model reads a line, new lines, how one was drawn.

page.BARS = 40; // the most likely symbols of a large vocabulary, whose probabilities are shown
page.MAX_ALL = 64; // symbols of a vocabulary that is shown whole, in its own order
page.MAX_LINES = 100;
page.MAX_TEXT = 5000;

page.require = (ok, message) => {
  if (!ok) throw new Error(message);
};

// Lets the browser draw while there is much to compute
page.pause = (() => {
  let last = 0;
  return async () => {
    if (performance.now() - last > 50) {
      await new Promise((resolve) => { setTimeout(resolve); });
      last = performance.now();
    }
  };
})();

page.logSoftmax = (logits) => {
  const top = logits.reduce((most, value) => Math.max(most, value), -Infinity);
  const rest = Math.log(logits.reduce((total, value) => total + Math.exp(value - top), 0));
  return Array.from(logits, (value) => value - top - rest);
};
page.softmax = (logits) => page.logSoftmax(logits).map(Math.exp);

// What temperature, top-k and top-p leave of the logits; ties go to the lower symbol
page.filterLogits = (logits, { temperature, top_k, top_p }) => {
  const top = logits.reduce((most, value) => Math.max(most, value), -Infinity);
  const scaled = logits.map((value) => (value - top) / (temperature || 1));
  if (temperature > 0 && top_k === null && top_p >= 1) return scaled;
  const order = [...scaled.keys()].sort((i, j) => scaled[j] - scaled[i] || i - j).slice(0, temperature === 0 ? 1 : top_k ?? undefined);
  const prob = page.softmax(order.map((i) => scaled[i])), left = new Set();
  let sum = 0;
  order.forEach((i, rank) => {
    if (rank === 0 || top_p >= 1 || sum < top_p) left.add(i);
    sum += prob[rank];
  });
  return scaled.map((value, i) => (left.has(i) ? value : -Infinity));
};

// The first symbol whose cumulative probability exceeds the random number
page.inverseCdf = (uniform, prob) => {
  const total = prob.reduce((sum, p) => sum + p, 0);
  let sum = 0;
  const found = prob.findIndex((p) => (sum += p) > uniform * total);
  return found < 0 ? prob.findLastIndex((p) => p > 0) : found;
};

// The random numbers of one line: sfc32 by Chris Doty-Humphrey, from PractRand
page.uniforms = (seed, line) => {
  let [a, b, c, count] = [seed, line, 0x9e3779b9, 1];
  const next = () => {
    const found = (a + b + count++) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + found) | 0;
    return (found >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 16; i++) next(); // mixes seed and line
  return next;
};

page.models = new Map(); // by name

page.openModel = async (saved) => {
  const zipped = Uint8Array.from(atob(saved.constants), (c) => c.charCodeAt(0));
  const bytes = await new Response(new Blob([zipped]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  const vocabulary = page.vocabulary(saved.vocabulary), labels = vocabulary.symbols.map(page.label);
  return { ...saved, ...loadModel(saved, bytes), vocabulary, labels, barred: new Set(saved.barred) };
};

page.reading = ({ vocabulary, context }, typed) => {
  const pieces = vocabulary.pieces(vocabulary.normalize(typed.replaceAll("\n", " "))), tokens = pieces.map(vocabulary.encode);
  const unknown = tokens.includes(undefined) ? tokens.indexOf(undefined) : pieces.length, ids = tokens.slice(0, unknown).flat();
  const unread = pieces.slice(unknown).join(vocabulary.kind === "word" ? " " : "");
  if (ids.length >= context) {
    return { ids: ids.slice(0, context - 1), unread: vocabulary.decode(ids.slice(context - 1)) + unread, problem: `this model reads up to ${page.count(context - 1)} symbols` };
  }
  return { ids, unread, problem: unknown < pieces.length ? `this model does not know the ${vocabulary.kind} '${page.label(pieces[unknown])}'` : null };
};

// The log-probabilities of the symbol after the mark and after each symbol; what was read before is not read again
page.logProbs = async (model, ids) => {
  const line = [page.MARK, ...ids];
  if (!model.read || !model.read.line.every((id, t) => id === line[t])) model.read = { line: [], rows: [], memory: model.start };
  const read = { line, rows: [...model.read.rows], memory: model.read.memory };
  for (const id of line.slice(read.rows.length)) {
    const [logits, memory] = model.step(read.memory, id);
    read.rows.push(page.logSoftmax(logits));
    read.memory = memory;
    await page.pause();
  }
  model.read = read;
  return read.rows;
};

page.finite = (value) => (Number.isFinite(value) ? value : null);

page.barTokens = (logProb) => {
  const all = [...logProb.keys()];
  return all.length <= page.MAX_ALL ? all : all.sort((i, j) => logProb[j] - logProb[i] || i - j).slice(0, page.BARS);
};

page.checkWanted = (model, { n, seed, prefix }) => {
  page.require(Number.isInteger(n) && n >= 1 && n <= page.MAX_LINES, `the number of lines must be from 1 to ${page.MAX_LINES}`);
  page.require(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32, `the seed must be from 0 to ${2 ** 32 - 1}`);
  const { ids, problem } = page.reading(model, prefix);
  page.require(!problem, problem);
  return ids;
};

// One line, symbol by symbol: its distribution, what the settings leave of it, the random number and the symbol drawn
page.drawing = function* (model, wanted, index) {
  const given = page.checkWanted(model, wanted), random = page.uniforms(wanted.seed, index);
  let token = page.MARK, memory = model.start, logits;
  for (let t = 0; t < model.context && (t === 0 || token !== page.MARK); t++) {
    [logits, memory] = model.step(memory, token);
    const logProb = page.logSoftmax(logits), uniform = random();
    const cut = page.softmax(page.filterLogits(logProb.map((value, i) => (model.barred.has(i) ? -Infinity : value)), wanted));
    token = given[t] ?? page.inverseCdf(uniform, cut);
    yield { token, given: t < given.length, uniform, logProb, cut };
  }
};

page.answers = {
  async type(model, { text }) {
    const { ids, unread, problem } = page.reading(model, text), rows = await page.logProbs(model, ids);
    const nats = ids.map((id, t) => -rows[t][id]), sum = nats.reduce((total, value) => total + value, 0), end = -rows.at(-1)[page.MARK];
    const bars = page.barTokens(rows.at(-1)), rest = Array.from(unread, page.label);
    return {
      symbols: ids.map((id) => model.labels[id]), nats: nats.map(page.finite), end: page.finite(end), sum: page.finite(sum), total: page.finite(sum + end),
      unread: rest.length > 200 ? [...rest.slice(0, 200), "…"] : rest, problem,
      bars: bars.map((id) => [id, model.labels[id]]), first: 0, prob: rows.map((row) => bars.map((id) => Math.exp(row[id]))),
    };
  },

  async append(model, { text, token }) {
    const { ids, problem } = page.reading(model, text);
    page.require(!problem, problem);
    return { text: model.vocabulary.decode([...ids, token]) };
  },

  async make(model, wanted) {
    page.checkWanted(model, wanted);
    const lines = [];
    for (let index = 0; index < wanted.n; index++) {
      const line = { symbols: [], log_prob: 0, ended: false, where: null };
      for (const { token, logProb } of page.drawing(model, wanted, index)) {
        line.log_prob += logProb[token];
        line.ended = token === page.MARK;
        if (!line.ended) line.symbols.push(model.labels[token]);
        await page.pause();
      }
      lines.push({ ...line, log_prob: page.finite(line.log_prob) });
    }
    return { lines, novelty: null };
  },

  async replay(model, wanted) {
    const steps = [];
    for (const { token, given, uniform, logProb, cut } of page.drawing(model, wanted, wanted.index)) {
      const most = page.barTokens(logProb), bars = most.includes(token) ? most : [...most, token];
      steps.push({
        symbol: model.labels[token], given, random: uniform, bars: bars.map((id) => model.labels[id]), chosen: bars.indexOf(token),
        prob: bars.map((id) => Math.exp(logProb[id])), cut: bars.map((id) => cut[id]), below: cut.slice(0, token).reduce((sum, p) => sum + p, 0),
      });
    }
    return { steps };
  },
};

page.send = async (name, asked) => {
  const model = page.models.get(asked.run);
  return { version: model.version, ...(await page.answers[name](model, asked)) };
};
