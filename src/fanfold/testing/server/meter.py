"""Who is admitted: the windows of one key, taken together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fanfold.testing.server.windows import Bucket, Fixed, Sliding

if TYPE_CHECKING:
    from fanfold.testing.server.limits import Limits
    from fanfold.testing.server.windows import Window


class Standing(msgspec.Struct, frozen=True):
    """How one window stands: its limit, what is left of it, and the seconds until it is whole again."""

    name: str
    limit: float
    remaining: float
    reset: float


class Excess(msgspec.Struct, frozen=True):
    """Why a request was not admitted: the window that it has to wait for longest, and how long."""

    name: str
    limit: float
    remaining: float
    requested: float
    wait: float


class Meter:
    """The windows of those who share them. A request is admitted if it fits all of them; else it takes nothing,
    unless rejected requests count.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.windows = _windows(limits, now)

    def admit(self, given: int, ceiling: int | None, now: float) -> Excess | None:
        """Take what a request of `given` input tokens and at most `ceiling` output tokens needs, or say why not."""
        costs = self._costs(given, ceiling)
        found = self._excess(costs, now)
        if found is None:
            for name, window in self.windows.items():
                window.take(costs[name], now)
        elif self.limits.count_rejected and "requests" in self.windows:
            self.windows["requests"].refuse(1, now)
            # It may have to wait longer now that it counts itself.
            found = self._excess(costs, now) or found
        return found

    def settle(self, made: int, now: float) -> None:
        """Take the output tokens that were made, where these count and not what might have been."""
        if self.limits.meter == "used" and made:
            for name in ("tokens", "output-tokens"):
                if name in self.windows:
                    self.windows[name].take(made, now)

    def standings(self, now: float) -> list[Standing]:
        """How each window stands."""
        return [
            Standing(name, window.limit, window.remaining(now), window.reset(now))
            for name, window in self.windows.items()
        ]

    def change(self, limits: Limits, now: float) -> None:
        """Other limits from now on; what was counted stays, unless the windows are of another kind."""
        old, self.limits = self.limits, limits
        fresh = _windows(limits, now)
        if (old.window, old.per, old.burst, old.burst_tokens) == (
            limits.window,
            limits.per,
            limits.burst,
            limits.burst_tokens,
        ):
            for name in fresh.keys() & self.windows.keys():
                self.windows[name].resize(fresh[name].limit, now)
                fresh[name] = self.windows[name]
        self.windows = fresh

    def _costs(self, given: int, ceiling: int | None) -> dict[str, int]:
        made = 0
        if self.limits.meter == "admission":
            made = self.limits.assumed_output if ceiling is None else ceiling
        return {"requests": 1, "tokens": given + made, "input-tokens": given, "output-tokens": made}

    def _excess(self, costs: dict[str, int], now: float) -> Excess | None:
        # Output that is counted later still needs a window that has something left.
        waits = {name: window.wait(max(1, costs[name]), now) for name, window in self.windows.items()}
        if not any(waits.values()):
            return None
        name = max(waits, key=lambda name: waits[name])
        window = self.windows[name]
        return Excess(name, window.limit, window.remaining(now), costs[name], waits[name])


def _windows(limits: Limits, now: float) -> dict[str, Window]:
    made: dict[str, Window] = {}
    for name, (limit, burst) in limits.rates().items():
        if limits.window == "bucket":
            made[name] = Bucket(limit, limits.per, now, burst)
        else:
            made[name] = (Fixed if limits.window == "fixed" else Sliding)(limit, limits.per, now)
    return made
