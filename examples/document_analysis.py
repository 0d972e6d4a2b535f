"""Tone, facts and bias of a document at the same time, merged into one report."""

from fanfold import prompt, sections

analyze = sections(
    {
        "tone": prompt("Analyze the tone of this document:\n\n{input}"),
        "facts": prompt("Extract the key facts from this document:\n\n{input}", returns=list[str]),
        "bias": prompt("Check this document for bias:\n\n{input}"),
    },
    merge=prompt("Write one report on the document from these:\n\nTone: {tone}\n\nFacts:\n{facts}\n\nBias: {bias}"),
    name="analyze",
)
