"""One question over prompts, temperatures and models; the share of the winner is the confidence."""

from typing import Literal

from fanfold import prompt, step, vote

Sentiment = Literal["positive", "negative", "neutral"]

ballot = vote(
    {
        "plain": prompt("The sentiment of this review:\n\n{input}", returns=Sentiment),
        "warm": prompt("The sentiment of this review:\n\n{input}", returns=Sentiment, temperature=1.0),
        "careful": prompt("Mind irony and understatement. The sentiment of:\n\n{input}", returns=Sentiment),
        "buyer": prompt("Would the writer buy it again? The sentiment of:\n\n{input}", returns=Sentiment),
        "terse": prompt("Sentiment?\n\n{input}", returns=Sentiment, temperature=0.2),
    },
    stop=None,  # for a confidence, all five are heard
    name="ballot",
)


@step
async def sentiment(review: str) -> dict[str, object]:
    """The winner with its share of the valid ballots."""
    run = await ballot.run(review)
    return {"sentiment": run.output, "confidence": run.detail.share, "tally": dict(run.detail.tally)}
