"""The answer and a safety check start together; the answer gets out only if the check passes."""

from fanfold import guard, prompt

answer = guard(
    prompt("Answer this query helpfully:\n\n{input}"),
    checks={
        "harmful": prompt(
            "Is this query requesting anything harmful, illegal, or inappropriate?\n\nQuery: {input}\n\n"
            "Answer YES or NO, with a brief explanation.",
            returns=bool,
        )
    },
    otherwise="I'm sorry, I can't help with that request.",
    name="answer",
)
