"""What is tested: a mail is sorted by a vote, and answered only if it is not spam.

fanfold run examples/recorded_tests/inbox.py:sort "Win a prize, click here!" --model openai:gpt-4o-mini
"""

from typing import Literal

from fanfold import prompt, step, vote

label = vote(prompt("Is this email spam or ham?\n\n{input}", returns=Literal["spam", "ham"]), n=5, name="label")
reply = prompt("Answer this email in one sentence:\n\n{input}", name="reply")


@step
async def sort(mail: str) -> str:
    """The label of a mail, with the answer to one that is no spam."""
    found = await label(mail)
    return found if found == "spam" else f"{found}: {await reply(mail)}"
