"""Five ideas that differ; one that was there already is asked for again, up to fifteen calls in all."""

from fanfold import prompt, sample

ideas = sample(prompt("One idea, in a few words, for: {input}", temperature=1.0), n=5, distinct=True, name="ideas")
