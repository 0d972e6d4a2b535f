"""One product described for several audiences at once."""

from fanfold import prompt, sections

AUDIENCES = ("beginners", "professionals", "gift buyers")

describe = sections(
    {audience: prompt(f"Describe this product for {audience}:\n\n{{input}}") for audience in AUDIENCES}, name="describe"
)
