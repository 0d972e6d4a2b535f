"""Safe or unsafe, by three votes."""

from typing import Literal

from fanfold import prompt, vote

safety = vote(
    prompt("Is this content safe or unsafe?\n\n{input}", returns=Literal["safe", "unsafe"]), n=3, name="safety"
)
