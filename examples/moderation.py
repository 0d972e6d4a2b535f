"""Evaluators that each look at one dimension of risk; two of four have to flag it."""

from fanfold import prompt, rules, vote

DIMENSIONS = ("violence", "harassment", "self-harm", "sexual content")

moderate = vote(
    {risk: prompt(f"Does this text show {risk}? Answer YES or NO.\n\n{{input}}", returns=bool) for risk in DIMENSIONS},
    rule=rules.at_least(2, True),
    name="moderate",
)
