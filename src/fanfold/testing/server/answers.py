"""What the server answers with: recorded answers, or a model of this process, as a rule a fake one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from fanfold.core.records import Reply
from fanfold.errors import FanfoldError, ModelError, UsageError
from fanfold.models import llmbar, recordings, xstest
from fanfold.models.fake import FakeModel
from fanfold.models.recorded import message_text, recorded_reply
from fanfold.testing.server.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from fanfold.core.records import Limits, Model, Request

    Answers = Literal["recorded", "fake"] | Model | list[str] | Callable[[Request], str | Exception]


class Answerer(Protocol):
    """Gives the texts and the usage for a request; the draw in it says which sample is meant."""

    kind: str
    """One word for what makes the answers."""

    def load(self) -> None:
        """Read what it needs; called off the event loop, since it may block."""
        ...

    def models(self) -> tuple[str, ...]:
        """The names it lists."""
        ...

    async def answer(self, name: str, request: Request) -> Reply:
        """The reply of the model called `name`; raises `Refusal` or `FanfoldError`."""
        ...


def answerer_of(answers: Any, seed: int | str) -> Answerer:
    """The answerer that `answers` describes; raises `UsageError`."""
    if answers == "recorded":
        return RecordedAnswers()
    if answers == "fake":
        return MadeUpAnswers(seed)
    if callable(getattr(answers, "send", None)):
        return ModelAnswers(answers)
    if callable(answers) or isinstance(answers, list):
        return ModelAnswers(FakeModel(answers))
    raise UsageError(
        f"answers={answers!r}: give 'recorded', 'fake', a list of texts, a function from a Request to one, or a model"
    )


class RecordedAnswers:
    """Real answers that were recorded; a question that was not is refused.

    Beside models that answered exam questions these are models of which only a label is known (`models/xstest.py`) and
    judges of which only the verdict is (`models/llmbar.py`): what they reply is that, and their tokens are unknown.
    """

    kind = "recorded"

    def load(self) -> None:
        """Unpack the recordings and index them."""
        recordings.question_known("")
        self.models()

    def models(self) -> tuple[str, ...]:
        """The recorded models."""
        return (*recordings.models(), *llmbar.models(), *xstest.models())

    async def answer(self, name: str, request: Request) -> Reply:
        """The recorded samples from the draw's on; of a label or a verdict there is one."""
        bare = name.removeprefix("recorded:")
        message = message_text(request)
        if bare in recordings.models():
            return recorded_reply(bare, message, request.draw.ordinal, request.n)
        if bare in llmbar.models():
            return Reply((llmbar.verdict(bare, message),) * request.n, None, model=bare)
        if bare in xstest.models():
            return Reply((xstest.labelled(bare, message),) * request.n, None, model=bare)
        raise ModelError(f"no recordings of {name!r}: recorded models are {', '.join(self.models())}")


class ModelAnswers:
    """The answers of one model of this process, under whatever name it is asked for."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.kind = "made-up" if model.made_up else "model"

    def load(self) -> None:
        """Nothing to read."""

    def models(self) -> tuple[str, ...]:
        """Its label, for want of a better name."""
        return (self.model.label,)

    async def answer(self, name: str, request: Request) -> Reply:
        """What the model says, asked whole: the server does the streaming."""
        reply = await self.model.send(msgspec.structs.replace(request, stream=False), _Unwatched())
        return msgspec.structs.replace(reply, model=name)


class MadeUpAnswers:
    """Seeded made-up text of the type asked for; every name is a model of its own."""

    kind = "made-up"

    def __init__(self, seed: int | str) -> None:
        self.seed = seed

    def load(self) -> None:
        """Nothing to read."""

    def models(self) -> tuple[str, ...]:
        """One name to try; any other works as well."""
        return ("fake",)

    async def answer(self, name: str, request: Request) -> Reply:
        """What a fake model of this name says; a schema it cannot fill is refused."""
        answers = ModelAnswers(FakeModel(seed=f"{self.seed}|{name}"))
        try:
            return await answers.answer(name, request)
        except FanfoldError:
            raise
        except Exception as error:
            if request.schema is None:
                raise
            reason = f"no value can be made up for this JSON Schema ({type(error).__name__}: {error})"
            raise Refusal(400, reason, param="response_format", code="invalid_schema") from error


class _Unwatched:
    """Nobody watches: the server's own records are enough."""

    def sent(self) -> None:
        pass

    def alive(self) -> None:
        pass

    def limits(self, told: Limits) -> None:
        pass

    def text(self, piece: str) -> None:
        pass

    def done(self, reply: Reply) -> None:
        pass
