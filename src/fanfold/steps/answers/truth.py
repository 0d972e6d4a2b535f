"""Reading yes or no."""

from __future__ import annotations

from fanfold.steps.answers.reading import Answer, Unreadable, wrapped
from fanfold.steps.answers.replies import plain
from fanfold.steps.answers.words import FINDER, Vocabulary, decide

_YES = ("yes", "true", "yeah", "yep", "y")
_NO = ("no", "false", "nope", "n")
_WORDS = Vocabulary(("yes", "no"), [(word, 0) for word in _YES[1:]] + [(word, 1) for word in _NO[1:]], mentions=False)


def truth() -> Answer[bool]:
    """The answer that is yes or no."""
    schema = {"type": "boolean"}
    return Answer(
        wanted="yes or no",
        reader=read,
        schema=wrapped(schema),
        item_schema=schema,
        instruction="Reply with exactly one word: yes or no.",
    )


def read(text: str) -> bool:
    """Read yes or no where a reply says it as its answer: "yes" in the middle of a sentence is none."""
    found = decide(_WORDS, text)
    bare = plain(text)
    first = _WORDS.first(bare)
    # "No. If it moved, the answer is yes." Only what is firmly named may overrule the first word.
    if first not in {None, found} and all(marker.grade != "firm" for marker in FINDER.markers(bare)):
        raise Unreadable("the reply says both")
    return found == 0
