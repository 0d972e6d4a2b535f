"""Typed answers: what `returns=` asks a model for, and how its reply is read."""

from fanfold.steps.answers.kinds import answer
from fanfold.steps.answers.reading import Answer

__all__ = ["Answer", "answer"]
