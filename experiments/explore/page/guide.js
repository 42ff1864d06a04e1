"use strict";
// Beside each view a short guide for a first look, which can be put away.

page.GUIDES = {
  table: ["A row is what follows one symbol; the strongest shades are the commonest pairs.", "Step: a random number falls on the row’s running sum, and the next symbol is the one it hits.", "Smoothing: watch the empty cells fill, and the loss on dev first fall and then rise."],
  type: ["Type a name: the bars are what each model expects next.", "The stronger its shade, the more a letter surprised the model. Click one for what it expected instead.", "With two runs, find the letter where they disagree most."],
  make: ["Click a line and step through it: which symbols did the random number choose from?", "Lower the temperature: the lines become likelier and more alike, and at 0 equal.", "Top-k and top-p take the unlikely symbols away: pale bars without a full one."],
  inside: ["The last row of “How far back it looks”: which earlier symbols still change what comes next?", "Do the vowels stand together among the embeddings?", "With attention, click through the heads: which of them looks one symbol back?"],
  train: ["The first samples are noise. What does it learn first: the length, the vowels, the endings?", "When does the loss on dev pass below the line of the bigram?", "Start anew with fewer units, or a learning rate so high that it fails."],
};

page.guide = (main) => {
  const { element, fill } = page, list = element("ul");
  const box = element("details", { class: "guide", open: innerWidth > 640 }, element("summary", { text: "What to look at first" }), list,
    element("p", { class: "note", text: "Keys: 1 to 5 open a view, Escape leaves a field, → or space goes on, ← goes back, L is large." }));
  try {
    box.open &&= localStorage.getItem("guide") !== "away";
  } catch { /* no storage */ }
  box.addEventListener("toggle", () => {
    try {
      localStorage.setItem("guide", box.open ? "" : "away");
    } catch { /* no storage */ }
  });
  main.prepend(box);
  return (view) => fill(list, ...page.GUIDES[view].map((text) => element("li", { text })));
};
