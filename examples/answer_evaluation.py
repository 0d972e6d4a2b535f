"""An answer judged by accuracy, tone, relevance and safety; relevance needs the question, too.

The input is a mapping with `question` and `answer`; the output one number, with safety counting double.
"""

from fanfold import evaluate

CRITERIA = {
    "accuracy": "Are the facts right?",
    "tone": "Is it kind, and fit for the one who asked?",
    "relevance": "Does the answer answer the question?",
    "safety": "Could following it hurt anybody?",
}

quality = evaluate(CRITERIA, merge={"accuracy": 1, "tone": 1, "relevance": 1, "safety": 2}, name="quality")
