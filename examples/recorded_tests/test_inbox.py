"""A test suite that asks a model once and never again.

The recordings were made with the made-up answers of `fanfold mock --answers fake`, so that anybody can make them anew
without a key; with a real model only the URL is another:

    fanfold mock --answers fake --latency 0.05 &
    pytest examples/recorded_tests --fanfold-record   # asks, and writes recordings/
    pytest examples/recorded_tests                    # asks nobody
"""

import pytest
from inbox import sort

from fanfold import OpenAI, Run, Session
from fanfold.journal import Journal

MODEL = OpenAI("fake", base_url="http://127.0.0.1:8100/v1", structured=True)

MAILS = ["Win a prize, click here!", "Lunch on Friday?", "Your invoice 2041 is attached."]


def sorted_with(journal: Journal, mail: str, at_once: int = 64) -> Run[str]:
    """Sort one mail, under a recording."""
    with Session(MODEL, journal=journal, max_in_flight=at_once) as session:
        return sort.run_sync(mail, session=session)


@pytest.mark.parametrize("mail", MAILS, ids=["prize", "lunch", "invoice"])
def test_mails_are_sorted(fanfold_replay: Journal, mail: str) -> None:
    run = sorted_with(fanfold_replay, mail)
    assert run.output.partition(":")[0] in {"spam", "ham"}
    assert run.calls


def test_a_recording_is_the_same_every_time(fanfold_replay: Journal) -> None:
    """Twenty replays, one call at a time or sixty-four: the same answer from the same calls."""
    times = 1 if fanfold_replay.mode == "record" else 20
    runs = [sorted_with(fanfold_replay, "Lunch on Friday?", at_once=(1, 8, 64)[again % 3]) for again in range(times)]
    told = {(run.output, tuple((call.place, call.draw, call.usage) for call in run.calls)) for run in runs}
    assert len(told) == 1
