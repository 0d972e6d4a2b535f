"""Is this email spam? The same question three times; two that agree decide, and the third is cancelled."""

from typing import Literal

from fanfold import prompt, vote

spam = vote(prompt("Is this email spam?\n\n{input}", returns=Literal["spam", "ham"]), n=3, name="spam")
