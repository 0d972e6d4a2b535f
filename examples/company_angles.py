"""A company from several angles; the list is made when the company is known, and one call puts all together."""

from fanfold import Step, chain, prompt, sections

ANGLES = {
    "finances": "the financial performance",
    "rivals": "the competitive landscape",
    "people": "the management team and corporate culture",
    "technology": "the technology and product roadmap",
}


def angles(company: str) -> dict[str, Step[str, str]]:
    """A start-up has no history to speak of: its finances are left out."""
    names = [name for name in ANGLES if name != "finances" or "start-up" not in company]
    return {name: prompt(f"Analyze {ANGLES[name]} of this company:\n\n{{input}}") for name in names}


study = chain(
    sections(angles, merge=prompt("Combine these into one coherent study of {input}:\n\n{parts}")),
    name="study",
)
