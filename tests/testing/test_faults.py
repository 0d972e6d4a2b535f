"""Faults on demand: their short form, and whom they hit."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanfold.errors import UsageError
from fanfold.testing import Fault, ModelServer
from fanfold.testing.server.faults import KINDS, Asking, Faults, uniform


def asking(number=0, key="k", attempt=0, at=0.0):
    return Asking(number, key, attempt, at)


def struck(given, one, seed=0):
    """The kinds that hit a request."""
    return [fault.kind for fault in Faults(given, seed).strike(one).faults]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("503", Fault("503")),
        ("503:0.1", Fault("503", share=0.1)),
        ("429=7:0.5", Fault("429", "7", share=0.5)),
        ("429=-10", Fault("429", "-10")),
        ("outage:5+20", Fault("outage", start=5, seconds=20)),
        ("outage=529:5+", Fault("outage", "529", start=5)),
        ("outage=reset:0.5+0.25", Fault("outage", "reset", start=0.5, seconds=0.25)),
        ("stragglers:0.03x10", Fault("stragglers", share=0.03, factor=10)),
        ("stragglers=inherent:0.03x20", Fault("stragglers", "inherent", share=0.03, factor=20)),
        ("stragglers:x4", Fault("stragglers", factor=4)),
        ("cut=3", Fault("cut", "3")),
        ("cut=100b:0.5@3", Fault("cut", "100b", share=0.5, requests="3")),
        ("stall=2#1", Fault("stall", "2", attempts=1)),
        ("503:0.2:10+5@0-9,12,20-#2", Fault("503", "", 0.2, 10, 5, "0-9,12,20-", 2)),
        ("script=503,200,429", Fault("script", "503,200,429")),
        ("slow=2.5", Fault("slow", "2.5")),
        ("no-done", Fault("no-done")),
    ],
)
def test_the_short_form_says_all_of_a_fault(text, fault):
    """Read from text it is the same fault as written in Python, and its own text reads as itself."""
    assert Fault.parse(text) == fault
    assert Fault.parse(str(fault)) == fault


@given(
    kind=st.sampled_from(["503", "reset", "empty", "stragglers", "quota"]),
    share=st.sampled_from([1.0, 0.5, 0.03]),
    start=st.sampled_from([0.0, 5.0, 0.25]),
    seconds=st.sampled_from([inf, 20.0, 0.5]),
    requests=st.sampled_from(["", "3", "0-9", "1,5-"]),
    attempts=st.sampled_from([None, 1, 3]),
)
def test_any_fault_survives_its_short_form(kind, share, start, seconds, requests, attempts):
    """Written and read again, any fault is itself."""
    fault = Fault(kind, "", share, start, seconds, requests, attempts)
    assert Fault.parse(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "write KIND"),
        ("503:", "write KIND"),
        ("503:often", "write KIND"),
        ("503:0.1.2", "write KIND"),
        ("503;0.1", "write KIND"),
        ("200", "a status from 400 to 599"),
        ("600", "a status from 400 to 599"),
        ("explode", "outage, script, quota"),
        ("503:0", "above 0 and at most 1"),
        ("503:1.5", "above 0 and at most 1"),
        ("outage:5+0", "START.SECONDS"),
        ("stragglers:0.1x0", "factor is above 0"),
        ("503#0", "at least the first attempt"),
        ("503@x", "write KIND"),
        ("503:0.1:0.2", "write KIND"),
        ("503:1+2:3+4", "write KIND"),
        ("503:x5", "write KIND"),
        ("503@3--5", "numbers and ranges"),
        ("503@5-2", "numbers and ranges"),
        ("cut", "the connection ends"),
        ("cut=x", "the connection ends"),
        ("slow", "headers so many seconds later"),
        ("slow=-1", "headers so many seconds later"),
        ("script=", "a status for each"),
        ("script=503,1000", "a status for each"),
        ("outage=200", "503 .or the status"),
        ("stragglers=often", "inherent"),
        ("empty=3", "without a body"),
        ("503=ü", "its value is a header"),
    ],
)
def test_what_is_no_fault_is_refused_in_words(text, words):
    """A slip of the pen is a usage error that says how it is written, or what its value means."""
    with pytest.raises(UsageError, match=words):
        Fault.parse(text)


@pytest.mark.parametrize("given", [None, 503])
def test_what_is_no_list_of_faults_is_refused(given):
    """And not in the words of a loop over it."""
    with pytest.raises(UsageError, match="faults="):
        ModelServer("fake", faults=given)


def test_a_fault_of_another_type_is_refused():
    """Neither a number nor a status outside quotes is a fault."""
    with pytest.raises(UsageError, match="give a Fault"):
        Faults([503], 0)


@pytest.mark.parametrize("share", [0.03, 0.1, 0.5])
def test_a_share_of_the_requests_is_hit(share):
    """Over many requests so many are hit, give or take."""
    hits = sum(bool(struck(Fault("503", share=share), asking(key=str(number)))) for number in range(4000))
    assert hits / 4000 == pytest.approx(share, rel=0.15)


def test_who_is_hit_hangs_on_seed_and_request_not_on_order():
    """The same requests are hit in any order of arrival; other ones under another seed."""

    def hit(keys, seed):
        return {key for number, key in enumerate(keys) if struck("503:0.3", asking(number, key, at=number * 1.0), seed)}

    keys = [str(number) for number in range(300)]
    assert hit(keys, 1) == hit(reversed(keys), 1) == hit(keys[::2], 1) | hit(keys[1::2], 1)
    assert hit(keys, 1) != hit(keys, 2)


def test_each_attempt_is_hit_by_itself():
    """A request that was hit may get through when it is sent again."""
    first = {key for key in map(str, range(400)) if struck("503:0.5", asking(key=key))}
    again = {key for key in first if struck("503:0.5", asking(key=key, attempt=1))}
    assert len(again) / len(first) == pytest.approx(0.5, abs=0.1)


def test_what_is_inherent_hits_every_attempt():
    """An inherently slow request stays so, however often it is sent; an unlucky one does not."""
    for text, same in (("stragglers=inherent:0.3x10", True), ("stragglers:0.3x10", False)):
        keys = [key for key in map(str, range(200)) if struck(text, asking(key=key))]
        again = [key for key in keys if struck(text, asking(key=key, attempt=1))]
        assert (again == keys) == same


def test_two_faults_of_one_kind_are_independent():
    """Given twice, a fault of a tenth hits twice as many."""
    hits = sum(bool(struck(["503:0.1", "503:0.1"], asking(key=str(number)))) for number in range(4000))
    assert hits / 4000 == pytest.approx(0.19, rel=0.15)


def test_a_fault_is_bounded_in_time():
    """From its start on and before its end."""
    assert [at for at in range(30) if struck("outage:5+20", asking(at=at))] == list(range(5, 25))
    assert struck("outage:5+", asking(at=1e6)) == ["outage"]


def test_a_fault_can_name_its_requests():
    """By number, by range, and from one on."""
    assert [n for n in range(30) if struck("503@0,3-5,27-", asking(n))] == [0, 3, 4, 5, 27, 28, 29]


def test_a_fault_can_spare_later_attempts():
    """With #2 the first two sendings are hit, the third gets through."""
    assert [struck("503#2", asking(attempt=attempt)) for attempt in range(3)] == [["503"], ["503"], []]


def test_a_script_is_played_once():
    """Each request in turn gets its status; 200 and what comes after the end are well."""
    assert [struck("script=503,200,429", asking(number)) for number in range(5)] == [["503"], [], ["429"], [], []]


def test_a_function_decides_alone():
    """A function is asked for each request, and gives a fault, its short form, or None."""
    seen = []

    def choose(one):
        seen.append(one.number)
        return {0: "503", 1: Fault("cut", "3")}.get(one.number)

    faults = Faults(choose, 0)
    assert [[fault.kind for fault in faults.strike(asking(number)).faults] for number in range(3)] == [
        ["503"],
        ["cut"],
        [],
    ]
    assert seen == [0, 1, 2]


def test_chance_is_even_and_hangs_on_all_its_parts():
    """The figures are spread evenly from 0 to 1 and repeat; any part changes them."""
    figures = [uniform("a", number) for number in range(2000)]
    assert sum(figures) / 2000 == pytest.approx(0.5, abs=0.02)
    assert 0 <= min(figures) < 0.01
    assert 0.99 < max(figures) < 1
    assert figures == [uniform("a", number) for number in range(2000)]
    assert len({uniform("a", 1), uniform("b", 1), uniform("a", 2), uniform("a1")}) == 4
    assert 0 <= uniform("\ud800") < 1


def test_every_kind_says_what_it_does():
    """What is listed for users has words."""
    assert all(len(words) > 10 for words in KINDS.values())
