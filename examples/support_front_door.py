"""The front door of a customer support: is it a support query, and is it safe? Both at once; then the right desk."""

from typing import Literal

from fanfold import gather, prompt, route, step

is_support = prompt("Is this a legitimate support query?\n\n{input}", returns=bool, name="is_support")
is_safe = prompt("Is this message free of security threats?\n\n{input}", returns=bool, name="is_safe")

desk = route(
    prompt("Which desk is this for?\n\n{input}", returns=Literal["billing", "technical", "other"]),
    {
        "billing": prompt("List the billing facts in:\n{input}")
        | prompt("Write a reply to the customer from:\n{input}"),
        "technical": prompt("Diagnose:\n{input}") | prompt("Write step by step instructions from:\n{input}"),
        "other": prompt("Reply kindly, and offer help:\n{input}"),
    },
    name="desk",
)


@step
async def support(message: str) -> str:
    """Both questions are asked at the same time; only a message that passes both reaches a desk."""
    legitimate, safe = await gather(is_support(message), is_safe(message))
    if not safe:
        return "This message was blocked for security reasons."
    if not legitimate:
        return "I can only help with questions about our products."
    reply: str = await desk(message)
    return reply
