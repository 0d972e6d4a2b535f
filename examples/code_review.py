"""Security, performance and style of a piece of code, each by its own expert, at the same time."""

from typing import TypedDict

from fanfold import prompt, sections


class Review(TypedDict):
    """One expert's words on each."""

    security: str
    performance: str
    style: str


review = sections(
    {
        "security": prompt(
            "Review this code for security vulnerabilities only:\n\n{input}",
            system="You are a security expert. Focus only on security issues.",
        ),
        "performance": prompt(
            "Review this code for performance issues only:\n\n{input}",
            system="You are a performance engineer. Focus only on performance.",
        ),
        "style": prompt(
            "Review this code for style and maintainability only:\n\n{input}",
            system="You are a senior engineer. Focus only on code quality.",
        ),
    },
    returns=Review,
    name="review",
)
