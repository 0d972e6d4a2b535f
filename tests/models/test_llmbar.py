"""The recorded judges: what was packaged, and how a request is known again and answered."""

from collections import Counter

import pytest

from fanfold.errors import NotRecorded
from fanfold.models import llmbar
from fanfold.models.llmbar import GUIDED, NO_VERDICT, PLAIN, SUBSETS, Pair, models, pairs, shown, verdict

JUDGES = ("ChatGPT", "ChatGPT-0301", "Falcon", "GPT-4", "LLaMA2", "PaLM2")


def request(task: str, one: str, other: str, labels: tuple[str, str] = ("K7", "C3"), mark: str = "5e1f") -> str:
    """A judge's request, as plain as can be."""
    texts = (("TASK", task), (labels[0], one), (labels[1], other))
    return "Which is better?\n\n" + "\n\n".join(f"{label}\nBEGIN {mark}\n{text}\nEND {mark}" for label, text in texts)


def in_order(pair: Pair, *, swapped: bool) -> str:
    """A judge's request about a pair, under the labels K7 and C3 as they stand."""
    outputs = (pair.output_2, pair.output_1) if swapped else (pair.output_1, pair.output_2)
    return request(pair.input, *outputs)


def test_content() -> None:
    """There are 209 pairs of five kinds, each judged by six judges in two ways, each way in two orders."""
    assert Counter(pair.subset for pair in pairs()) == dict(zip(SUBSETS, (52, 68, 40, 25, 24), strict=True))
    votes = {f"{judge}/{way}" for judge in JUDGES for way in (PLAIN, GUIDED)}
    assert all(set(pair.votes) == votes for pair in pairs())
    assert set(models()) == {f"llmbar/{name}" for name in votes}
    assert len({pair.id for pair in pairs()}) == len(pairs())
    assert all(pair.output_1 != pair.output_2 for pair in pairs())


def test_gold_is_on_both_sides() -> None:
    """Who always takes the first output is right in about half of the pairs."""
    assert 0.4 < sum(pair.gold == 1 for pair in pairs()) / len(pairs()) < 0.6


@pytest.mark.parametrize("swapped", [False, True])
def test_every_pair_is_known_in_both_orders(swapped: bool) -> None:
    """Each pair is found again, with the order it is shown in, and the labels of its own outputs 1 and 2."""
    for pair in pairs():
        found = shown(in_order(pair, swapped=swapped))
        assert found is not None
        assert found.pair is pair
        assert found.swapped is swapped
        assert found.labels == (("C3", "K7") if swapped else ("K7", "C3"))


@pytest.mark.parametrize("swapped", [False, True])
def test_the_verdict_is_the_recorded_one_for_that_order(swapped: bool) -> None:
    """The reply names the label under which the recorded choice stands in this request."""
    for pair in pairs():
        text = in_order(pair, swapped=swapped)
        for name, orders in pair.votes.items():
            winner = orders[swapped]
            label = {None: None, "1": "C3" if swapped else "K7", "2": "K7" if swapped else "C3"}[winner]
            assert verdict(f"llmbar/{name}", text) == (NO_VERDICT if label is None else f"Answer: {label}")


def test_some_replies_were_no_verdict() -> None:
    """A few recorded replies nobody could read; they are kept as none."""
    none = [orders for pair in pairs() for orders in pair.votes.values() if None in orders]
    assert 0 < len(none) < 30


def test_what_is_not_a_judges_request() -> None:
    """Other texts, other pairs, other forms are no recorded pair: an error that says so, never a guess."""
    pair = pairs()[0]
    others = [
        "",
        pair.input,
        request(pair.input, pair.output_1, "something else"),
        request("something else", pair.output_1, pair.output_2),
        request(pair.input, pair.output_1, pair.output_1),
        in_order(pair, swapped=False) + "\n\nL9\nBEGIN 5e1f\nand a third\nEND 5e1f",
        in_order(pair, swapped=False).replace("END 5e1f", "END 5e10", 1),
    ]
    for text in others:
        assert shown(text) is None
        with pytest.raises(NotRecorded, match=r"no recorded LLMBar pair .* 'llmbar/GPT-4/Vanilla_NoRules'"):
            verdict("llmbar/GPT-4/Vanilla_NoRules", text)


def test_data_is_read_once() -> None:
    """A second call returns the same records."""
    assert pairs() is pairs()
    assert llmbar.models() is llmbar.models()
