"""One text into several languages at once; a language that fails is missing, and the others are there.

The input is a mapping with `text` and `languages`, a list that is known only when it runs.
"""

from collections.abc import Mapping

from fanfold import Step, prompt, sections


def into(request: Mapping[str, list[str]]) -> dict[str, Step[object, str]]:
    """A branch for each language."""
    return {
        language: prompt(f"Translate into {language}, and give the translation only:\n\n{{text}}")
        for language in request["languages"]
    }


translate = sections(into, on_error="skip", name="translate")
