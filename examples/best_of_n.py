"""Five drafts at once, then a judge picks the best, seeing them in both orders."""

from fanfold import best_of, prompt

slogan = best_of(prompt("Write a slogan for: {input}", temperature=0.8), n=5, name="slogan")
