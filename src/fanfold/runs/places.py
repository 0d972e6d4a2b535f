"""The places of a run as a tree: the steps and branches that its events tell of, and the calls made in each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from fanfold.core.records import Call, Cost, Event, Why

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

End = Literal["ok", "error", "cancelled", "late", "held", "unfinished"]
"""How a step or branch ended.

Late: it came when the fan had its answer, and was not folded. Held: how it ended was held back, and never released.
Unfinished: the run was broken off before.
"""


SAID: dict[str, End] = {"branch.late": "late", "branch.cancelled": "cancelled"}
"""Kinds of event that say themselves how it ended."""


class Span(msgspec.Struct, frozen=True, array_like=True):
    """One time that a step or branch ran."""

    start: float
    end: float
    state: End

    def moved(self, by: float) -> Span:
        """The same, `by` seconds later."""
        return Span(round(self.start + by, 6), round(self.end + by, 6), self.state)


class Fanned(msgspec.Struct, frozen=True):
    """The end of a fan: `why`, how many branches of how many it took in, and when.

    `decided` is when its answer was there; until `at` it cancelled the rest and waited until that was gone.
    """

    why: Why
    decided: float
    at: float
    folded: int
    late: int
    launched: int
    branches: int

    def moved(self, by: float) -> Fanned:
        """The same, `by` seconds later."""
        return msgspec.structs.replace(self, decided=round(self.decided + by, 6), at=round(self.at + by, 6))


class Node:
    """One place: what ran there, the calls made there, the places under it; sums are over all that is under it."""

    def __init__(self, name: str, place: str, around: Node | None = None) -> None:
        self.name = name
        self.place = place
        self.around = around
        self.kind = ""
        self.state: End = "ok"
        self.error: str | None = None
        self.spans: list[Span] = []
        self.fans: list[Fanned] = []
        self.calls: list[Call] = []
        self.nodes: dict[str, Node] = {}
        self.opened: list[tuple[str, float]] = []
        self.folded_at = 0.0
        self.start = float("inf")
        self.end = 0.0
        self.calls_below = 0
        self.tokens = 0
        self.cost = Cost()
        self.made_up = True

    @property
    def alone(self) -> Call | None:
        """The call, where that is all there is."""
        return self.calls[0] if len(self.calls) == 1 and not self.nodes and not self.fans else None

    def under(self) -> list[Node | Call]:
        """The places and calls directly under it, by the time they began; equal ones stay in their order."""
        return sorted([*self.nodes.values(), *self.calls], key=_began)

    def touch(self, at: float) -> None:
        """Something happened here."""
        self.start = min(self.start, at)
        self.end = max(self.end, at)


class Tree:
    """The places of a run, from its root."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self._found = {root.place: root}

    def at(self, place: str) -> Node:
        """The node of a place; what is not under the root is shown there all the same."""
        found = self._found.get(place)
        if found is not None:
            return found
        outer, _, name = place.rpartition("/")
        around = self.at(outer) if outer else self.root
        node = around.nodes[name] = self._found[place] = Node(name.replace("%2F", "/"), place, around)
        return node

    def nodes(self) -> Iterator[Node]:
        """Every node, each after the one around it."""
        waiting = [self.root]
        while waiting:
            yield (node := waiting.pop())
            waiting += node.nodes.values()


def grow(name: str, events: Sequence[Event], calls: Sequence[Call]) -> Tree:
    """The tree of a run called `name`."""
    places = [event.place for event in events[:1]] or [call.place.partition("/")[0] for call in calls[:1]]
    tree = Tree(Node(name, places[0] if places else name.replace("/", "%2F")))
    for event in events:
        _take(tree, event)
    for call in calls:
        node = tree.at(call.place)
        node.calls.append(call)
        node.touch(call.queued)
        node.touch(call.ended)
    _sum_up(tree)
    return tree


def _take(tree: Tree, event: Event) -> None:
    """One event; those of calls say nothing that their records do not."""
    what, _, happened = event.kind.partition(".")
    if what == "call":
        return
    node = tree.at(event.place)
    node.touch(event.at)
    if what == "fan":
        node.fans.append(_fanned(node, event.at, event.value))
    elif happened == "started":
        node.opened.append((what, event.at))
        node.kind = node.kind or (event.value if isinstance(event.value, str) else what)
    else:
        _close(node, what, event)
        if event.kind == "branch.ended" and node.around is not None:
            node.around.folded_at = event.at


def _close(node: Node, what: str, event: Event) -> None:
    """The first of its kind that is open here has ended: two that run in one place cannot be told apart."""
    mine = next((one for one in node.opened if one[0] == what), None)
    if mine is not None:
        node.opened.remove(mine)
    node.state = SAID.get(event.kind) or ending(event.error)
    node.error = None if event.error is None else type(event.error).__name__
    node.spans.append(Span(event.at if mine is None else mine[1], event.at, node.state))


def ending(error: BaseException | None) -> End:
    """How what ended with this error ended."""
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt):
        return "cancelled"
    return "ok" if error is None else "error"


def _fanned(node: Node, at: float, told: dict[str, Any]) -> Fanned:
    decided = node.folded_at if told["why"] == "enough" and told["folded"] else at
    return Fanned(told["why"], decided, at, len(told["folded"]), len(told["late"]), told["launched"], told["branches"])


def _sum_up(tree: Tree) -> None:
    """Times and sums of every node, from the leaves up."""
    order = list(tree.nodes())
    broken = max(node.end for node in order) if tree.root.opened else None
    for node in reversed(order):
        below = list(node.nodes.values())
        node.start = min([node.start, *(one.start for one in below)])
        node.end = max([node.end, *(one.end for one in below)])
        _leave_open(node, broken)
        node.calls_below = len(node.calls) + sum(one.calls_below for one in below)
        node.tokens = sum(call.usage.total_tokens for call in node.calls if call.usage is not None)
        node.tokens += sum(one.tokens for one in below)
        node.cost = sum([*(call.cost for call in node.calls), *(one.cost for one in below)], Cost())
        node.made_up = all(call.made_up for call in node.calls) and all(one.made_up for one in below)
    if tree.root.start == float("inf"):
        tree.root.start = 0.0


def _leave_open(node: Node, broken: float | None) -> None:
    """What never said its end: the run was broken off, or its end was held back; then its last sign of life is it."""
    for _, start in node.opened:
        node.state = "held" if broken is None else "unfinished"
        node.end = node.end if broken is None else broken
        node.spans.append(Span(start, node.end, node.state))


def _began(this: Node | Call) -> float:
    return this.queued if isinstance(this, Call) else this.start
