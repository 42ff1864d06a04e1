"use strict";
// Text as tokens and back, as makemore_jax.data does it: characters, words, bytes and byte pairs.

page.MARK = 0;

// A symbol made visible, as in shared/symbols.py
page.label = (symbol) => {
  if (symbol === " ") return "␣";
  if (/[\p{C}\p{Z}]/u.test(symbol)) return Array.from(symbol, (c) => `U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`).join(" ");
  return /^\p{M}/u.test(symbol) ? `◌${symbol}` : symbol;
};

page.vocabulary = ({ tokens, symbols, lowercase, merges = [] }) => {
  const numbers = new Map(symbols.map((symbol, number) => [symbol, number]));
  numbers.delete(symbols[page.MARK]);
  const normalize = (text) => (lowercase ? text.normalize("NFC").toLowerCase().normalize("NFC") : text.normalize("NFC"));
  return { symbols, normalize, ...page.tokenizers[tokens](symbols, numbers, merges) };
};

// Each tokenizer: `pieces` cuts a text, `encode` gives the tokens of a piece (undefined for an unknown one), `decode` gives
// the text of tokens.
page.tokenizers = {
  character: (symbols, numbers) => ({
    kind: "symbol",
    pieces: (text) => Array.from(text),
    encode: (piece) => (numbers.has(piece) ? [numbers.get(piece)] : undefined),
    decode: (ids) => ids.map((id) => symbols[id]).join(""),
  }),

  word: (symbols, numbers) => {
    numbers.delete(symbols[1]); // the unknown word
    return { ...page.tokenizers.character(symbols, numbers), kind: "word", pieces: page.splitWords, decode: (ids) => page.joinWords(ids.map((id) => symbols[id])) };
  },

  byte: (symbols) => { // token 1 is byte 0; the line end is the last one
    const bytes = [...Array(256).keys()].filter((byte) => byte !== 10).concat(10), numbers = new Map(bytes.map((byte, k) => [byte, k + 1]));
    return {
      kind: "symbol",
      pieces: (text) => [text],
      encode: (piece) => Array.from(new TextEncoder().encode(piece), (byte) => numbers.get(byte)),
      decode: (ids) => page.utf8(ids.map((id) => bytes[id - 1])),
    };
  },

  bpe: (symbols, numbers, merges) => {
    const ranks = new Map(merges.map((merge, rank) => [merge, rank])), spelling = page.spelling();
    const best = (parts) => { // of all neighbours that can be merged, the first in the list of merges
      const pairs = parts.slice(1).map((part, k) => `${parts[k]} ${part}`).filter((pair) => ranks.has(pair));
      return pairs.length ? pairs.reduce((found, pair) => (ranks.get(pair) < ranks.get(found) ? pair : found)) : null;
    };
    const merge = (parts) => {
      for (let pair = best(parts); pair; pair = best(parts)) {
        const merged = [];
        for (let k = 0; k < parts.length; k++) merged.push(`${parts[k]} ${parts[k + 1]}` === pair ? parts[k] + parts[++k] : parts[k]);
        parts = merged;
      }
      return parts;
    };
    return {
      kind: "symbol",
      pieces: (text) => text.match(page.PIECE) ?? [],
      encode: (piece) => merge(Array.from(new TextEncoder().encode(piece), (byte) => spelling[byte])).map((symbol) => numbers.get(symbol)),
      decode: (ids) => page.utf8(Array.from(ids.map((id) => symbols[id]).join(""), (c) => spelling.indexOf(c))),
    };
  },
};

page.utf8 = (bytes) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));

// GPT-2's pieces, and its character for each byte: itself if it is printable Latin-1, otherwise one from U+0100
page.PIECE = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
page.spelling = () => {
  let other = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(/[!-~¡-¬®-ÿ]/.test(String.fromCharCode(byte)) ? byte : other++));
};

// A word is letters, with ' and - inside; a number; or another character that is no space
page.splitWords = (text) => {
  const letters = "[\\p{L}\\p{Nl}\\p{No}][\\p{L}\\p{Nl}\\p{No}\\p{M}\\u200c\\u200d]*", space = "\\p{White_Space}\\x1c-\\x1f";
  return text.match(new RegExp(`\\n|${letters}(?:['’-]${letters})*|\\p{Nd}+(?:[.,]\\p{Nd}+)*|[^${space}]`, "gu")) ?? [];
};
page.joinWords = (words) => {
  let text = "", tight = true, quoted = false;
  for (const word of words) {
    const quote = word === '"', closes = ".,;:!?%)]}'’”»…\n".includes(word) || (quote && quoted);
    text += tight || closes ? word : ` ${word}`;
    tight = "([{“‘«¿¡\n".includes(word) || (quote && !quoted);
    quoted = quoted !== quote;
  }
  return text;
};
