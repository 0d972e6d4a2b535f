"""An article judged by four criteria at once, each with a score and an explanation."""

from fanfold import evaluate

judge = evaluate(["accuracy", "clarity", "completeness", "tone"], scale=(1, 10), name="judge")
