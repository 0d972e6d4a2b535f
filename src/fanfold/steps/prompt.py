"""The prompt: a step that asks one model once, and reads the reply as the type that was asked for."""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import msgspec

from fanfold.calls.amounts import check_budget
from fanfold.calls.budget import ceiling
from fanfold.calls.estimates import UNSEEN, Estimate, Outlook, one_call, unseen_call
from fanfold.calls.hedging import Hedge
from fanfold.calls.policy import check_hedge
from fanfold.core.numbers import is_count, is_number
from fanfold.core.records import Message, Reply, Request
from fanfold.core.scope import Scope, current
from fanfold.core.timeouts import check_seconds
from fanfold.errors import LoopError, ParseError, TemplateError, UsageError
from fanfold.models.names import Line, ModelLike
from fanfold.steps.answers import answer
from fanfold.steps.answers.reading import Answer
from fanfold.steps.step import Step
from fanfold.steps.templates import Template, fields_of

if TYPE_CHECKING:
    from typing_extensions import TypeForm

    from fanfold.calls.amounts import Budget


T = TypeVar("T")
Out_co = TypeVar("Out_co", covariant=True)


REFUSED = "That was not accepted. Answer again, better."
"""What a prompt is told where the check gave no reason."""


class Options(msgspec.Struct, frozen=True):
    """What a prompt was told beside its text and type."""

    model: ModelLike | None
    temperature: float | None
    max_tokens: int | None
    extra_body: Mapping[str, Any] | None
    structured: bool | None
    retries: int
    idle_timeout: float | None
    hedge: Hedge | Literal[False] | None


class Prompt(Step[Any, Out_co]):
    """One call of one model. `needs` are the fields that its input has to offer."""

    kind = "prompt"

    def __init__(
        self, name: str, timeout: float | None, frames: Sequence[Frame], returns: Any, options: Options
    ) -> None:
        super().__init__(name, timeout)
        self.frames = tuple(frames)
        self.needs = frozenset(field for frame in frames for field in frame.needs)
        self.answer: Answer[Out_co] = returns if isinstance(returns, Answer) else answer(returns)
        self.choices = self.answer.choices
        self.returns = None if isinstance(returns, Answer) else returns
        self.options = options

    def bounded(self, given: Any) -> Awaitable[Out_co]:
        """A prompt's timeout is its call's: it starts when the call has its slot."""
        return self.execute(given)

    def foresee(self, given: Any, outlook: Outlook) -> Estimate:
        """One call, or as many as its retries allow."""
        quote = outlook.session.quote(self.options.model)
        tries = 1 + self.options.retries
        if given is UNSEEN:
            return unseen_call(quote).times(1, tries)
        fields = fields_of(given)
        # Whether the model takes a schema shows when it is opened.
        requests = [self.request(fields, structured=ways, ceiling=outlook.ceiling) for ways in (True, False)]
        return one_call(requests, quote).times(1, tries)

    async def execute(self, given: Any) -> Out_co:
        """Ask; a reply that does not parse is asked for again, `retries` times."""
        scope = current()
        if scope is None:
            raise LoopError("a prompt needs a run around it: await it, or its .run()")
        fields = fields_of(given)
        retries = self.options.retries
        while True:
            request, line, key = self._asked(fields, scope)
            policy = scope.run.session.road.policy.but(self.options.hedge, self.options.idle_timeout)
            reply: Reply = await scope.run.session.road.call(
                line.model, line.rate, request, timeout=self.timeout, policy=policy, key=key
            )
            scope.said = text = reply.text
            try:
                return self.answer.read(text)
            except ParseError:
                if not retries:
                    raise
                retries -= 1

    def again(self, answer: str, reason: str) -> Prompt[Out_co]:
        """The same prompt, told that its last answer was not accepted, and why; both are data, not templates."""
        why = f"That was not accepted: {reason}\n\nAnswer again, better." if reason else REFUSED
        told = [Frame("assistant", Template.literal(answer)), Frame("user", Template.literal(why))]
        made = copy.copy(self)
        made.frames = (*self.frames, *told)
        return made

    def _asked(self, fields: Mapping[str, Any], scope: Scope) -> tuple[Request, Line, bytes | None]:
        """What to send, as the next sample of it, to which model; and the request's key for a journal."""
        line = scope.run.session.line(self.options.model)
        read = scope.run.streaming or (scope.hold is not None and scope.hold.watched)
        stream = self.answer.is_text and scope.tail and read
        try:
            request = self.request(fields, structured=line.model.structured, ceiling=ceiling(scope.purse))
            key = request.mark() if scope.book is None else request.key()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"the input holds what is no text ({error.reason}): read it with errors='replace', say"
            ) from None
        asked = msgspec.structs.replace(request, draw=scope.draw(key), stream=stream)
        return asked, line, None if scope.book is None else key  # as long as the prompt: kept by nobody else

    def request(self, fields: Mapping[str, Any], *, structured: bool, ceiling: int | None) -> Request:
        """The request; what the model cannot be told by a schema is said in words at the prompt's end.

        `ceiling` is the `max_tokens` of one that names none.
        """
        options = self.options
        wished = structured if options.structured is None else options.structured
        by_schema = wished and self.answer.schema is not None
        ending = "" if by_schema or not self.answer.instruction else f"\n\n{self.answer.instruction}"
        messages = [frame.fill(fields) for frame in self.frames]
        if ending:
            messages[-1] = _ended(messages[-1], ending)
        return Request(
            tuple(messages),
            options.temperature,
            ceiling if options.max_tokens is None else options.max_tokens,
            self.answer.schema if by_schema else None,
            self.answer.name,
            options.structured,
            options.extra_body,
        )


class Frame:
    """One message as a template: a role, and text or parts with fields in them."""

    def __init__(self, role: str, content: Any) -> None:
        self.role = role
        self.content = _compiled(content)
        self.needs = frozenset(_needs(self.content))

    def fill(self, fields: Mapping[str, Any]) -> Message:
        """The message."""
        return Message(self.role, _filled(self.content, fields))


def _ended(message: Message, ending: str) -> Message:
    """The message with `ending` after its text."""
    if isinstance(message.content, str):
        return Message(message.role, message.content + ending)
    return Message(message.role, [*message.content, {"type": "text", "text": ending.lstrip()}])


def _compiled(content: Any) -> Any:
    """Every text inside a content becomes a template; part types and the like hold no fields and stay."""
    if isinstance(content, Template):
        return content
    if isinstance(content, str):
        return Template(content)
    if isinstance(content, Mapping):
        return {str(key): _compiled(value) for key, value in content.items()}
    if isinstance(content, Sequence):
        return [_compiled(item) for item in content]
    return content


def _needs(compiled: Any) -> set[str]:
    if isinstance(compiled, Template):
        return set(compiled.fields)
    inner = compiled.values() if isinstance(compiled, dict) else compiled if isinstance(compiled, list) else ()
    return {field for item in inner for field in _needs(item)}


def _filled(compiled: Any, fields: Mapping[str, Any]) -> Any:
    if isinstance(compiled, Template):
        return compiled.fill(fields)
    if isinstance(compiled, dict):
        return {key: _filled(value, fields) for key, value in compiled.items()}
    if isinstance(compiled, list):
        return [_filled(item, fields) for item in compiled]
    return compiled


@overload
def prompt(
    template: str | None = None,
    /,
    *,
    system: str | None = None,
    messages: Sequence[Mapping[str, Any]] | None = None,
    context: str | None = None,
    model: ModelLike | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    extra_body: Mapping[str, Any] | None = None,
    structured: bool | None = None,
    retries: int = 0,
    timeout: float | None = None,
    idle_timeout: float | None = None,
    hedge: Hedge | Literal[False] | None = None,
    budget: Budget | None = None,
    name: str = "prompt",
) -> Prompt[str]: ...
@overload
def prompt(
    template: str | None = None,
    /,
    *,
    returns: TypeForm[T],
    system: str | None = None,
    messages: Sequence[Mapping[str, Any]] | None = None,
    context: str | None = None,
    model: ModelLike | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    extra_body: Mapping[str, Any] | None = None,
    structured: bool | None = None,
    retries: int = 0,
    timeout: float | None = None,
    idle_timeout: float | None = None,
    hedge: Hedge | Literal[False] | None = None,
    budget: Budget | None = None,
    name: str = "prompt",
) -> Prompt[T]: ...
def prompt(
    template: str | None = None,
    /,
    *,
    returns: Any = str,
    system: str | None = None,
    messages: Sequence[Mapping[str, Any]] | None = None,
    context: str | None = None,
    model: ModelLike | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    extra_body: Mapping[str, Any] | None = None,
    structured: bool | None = None,
    retries: int = 0,
    timeout: float | None = None,
    idle_timeout: float | None = None,
    hedge: Hedge | Literal[False] | None = None,
    budget: Budget | None = None,
    name: str = "prompt",
) -> Step[Any, Any]:
    """Ask a model; `template` is the user message, with ``{field}`` for what the input has.

    A text input fills ``{input}``; a mapping, dataclass or model fills its own names, and ``{input}`` as a whole.

    `returns` is the type of the value: ``str`` (default), ``int``, ``float``, ``bool``, ``Literal[...]``, an
    Enum, ``list[...]``, a pydantic model, dataclass or TypedDict. `messages` (role and content, with image parts if
    you like) stand before the template, `system` before those, and `context` (a long text that many prompts
    share, so that a provider's prefix cache can work; it holds no fields) before the template's text. `model` is
    ``provider:name`` or an object, default the session's. `max_tokens` is the ceiling of the reply. `structured`
    sends the type as a JSON Schema or does not; by default it is sent where the model honours it. `extra_body` goes
    into the request as it is. `retries` asks again that often when the reply does not parse. `timeout` is seconds a
    call, with all its sends and backoffs; `idle_timeout` and `hedge` replace the session's, and ``hedge=False`` is
    none. One execution, with its retries, spends at most `budget`.

    Raises (when run) `ParseError`, `CallError`, `StepTimeout`, `TemplateError`, `ModelError`.
    """
    if not is_count(retries, 0):
        raise UsageError(f"retries={retries!r}: it is how often to ask again, 0 or more")
    if max_tokens is not None and not is_count(max_tokens):
        raise UsageError(f"max_tokens={max_tokens!r}: a reply has at least one token")
    if temperature is not None and not is_number(temperature):
        raise UsageError(f"temperature={temperature!r}: it is a number, or None for the model's own")
    check_seconds(timeout)
    check_seconds(idle_timeout, "idle_timeout")
    check_hedge(hedge)
    frames = _frames(template, system, messages, context)
    body = None if extra_body is None else _body(extra_body)
    options = Options(model, temperature, max_tokens, body, structured, retries, idle_timeout, hedge)
    made: Prompt[Any] = Prompt(name, timeout, frames, returns, options)
    made.budget = None if budget is None else check_budget(budget)
    return made


def _body(given: object) -> dict[str, Any]:
    """What goes into the request as it is: an object of JSON."""
    if not isinstance(given, Mapping):
        raise UsageError(f"extra_body={given!r:.60}: give a mapping of what the request has to have, as {{'seed': 1}}")
    body = dict(given)
    try:
        msgspec.json.encode(body, order="sorted")
        json.dumps(msgspec.to_builtins(body), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"extra_body= holds what JSON cannot say: {error}") from None
    return body


def _frames(
    template: str | None,
    system: str | None,
    messages: Sequence[Any] | None,
    context: str | None,
) -> list[Frame]:
    for text in (template, system, context):
        if text is not None and not isinstance(text, str):
            raise TemplateError(f"a template is text, not {type(text).__name__}")
    frames = [Frame("system", system)] if system is not None else []
    for message in messages or ():
        if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
            raise TemplateError(f"a message is a mapping, and needs a role and a content: {message!r:.60}")
        frames.append(Frame(message["role"], message["content"]))
    if template is not None:
        asked = Template(template)
        frames.append(Frame("user", asked if context is None else asked.after(f"{context}\n\n")))
    elif context is not None:
        frames.append(Frame("user", Template.literal(context)))
    if template is None and not messages:
        raise UsageError("prompt() needs a template, or messages=")
    return frames
