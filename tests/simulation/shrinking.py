"""The least of a failing scenario that still fails.

Not Hypothesis's work: a scenario is drawn from one seed, whose bits mean nothing by themselves.
But it is lists of parts that mean the same without their neighbours, so leaving out is enough.
"""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import attrs
from msgspec import structs

from tests.simulation.scenario import CallTool, Response, Scenario, Surroundings, ToolScript

T = TypeVar("T")
MOST_RUNS: Final = 400


@attrs.define
class Shrinker:
    """Tries smaller scenarios for as long as it may."""

    best: Scenario
    fails: Callable[[Scenario], bool]
    runs_left: int = MOST_RUNS

    def shrink(self) -> Scenario:
        """Return a scenario of which nothing can be left out, or what was reached by the end."""
        while self.runs_left > 0 and self._pass():
            pass
        return self.best

    def _pass(self) -> bool:
        """Try everything once; say whether something could go."""
        before = self.best
        for field in ("acts", "responses", "answers", "summaries"):
            self._leave_out(field)
        for make in (_plainer_responses, _plainer_calls, _plainer_surroundings):
            self._replace(make)
        return self.best != before

    def _try(self, candidate: Scenario) -> bool:
        if candidate == self.best or self.runs_left <= 0:
            return False
        self.runs_left -= 1
        if not self.fails(candidate):
            return False
        self.best = candidate
        return True

    def _leave_out(self, field: str) -> None:
        size = len(getattr(self.best, field))
        while size >= 1:
            at = 0
            while at < len(whole := getattr(self.best, field)):
                rest = whole[:at] + whole[at + size :]
                if not self._try(structs.replace(self.best, **{field: rest})):
                    at += size
            size //= 2

    def _replace(self, candidates: Callable[[Scenario], Iterator[Scenario]]) -> None:
        while any(self._try(candidate) for candidate in candidates(self.best)):
            pass


def _with(whole: tuple[T, ...], at: int, *parts: T) -> tuple[T, ...]:
    return (*whole[:at], *parts, *whole[at + 1 :])


def _plainer_responses(scenario: Scenario) -> Iterator[Scenario]:
    for number, response in enumerate(scenario.responses):
        plainer = [
            structs.replace(response, parts=_with(response.parts, at))
            for at in range(len(response.parts))
        ]
        plainer += [structs.replace(response, pace_ms=0, unfinished="")]
        plainer += [structs.replace(response, end="completed", unfinished="")]
        for other in plainer:
            if other != response:
                yield structs.replace(scenario, responses=_with(scenario.responses, number, other))


def _plainer_calls(scenario: Scenario) -> Iterator[Scenario]:
    for number, response in enumerate(scenario.responses):
        for at, part in enumerate(response.parts):
            if isinstance(part, CallTool):
                for call in _plainer_call(part):
                    parts = _with(response.parts, at, call)
                    other: Response = structs.replace(response, parts=parts)
                    yield structs.replace(
                        scenario, responses=_with(scenario.responses, number, other)
                    )


def _plainer_call(part: CallTool) -> Iterator[CallTool]:
    for name, default in structs.asdict(ToolScript()).items():
        if getattr(part.script, name) != default:
            yield CallTool(structs.replace(part.script, **{name: default}), part.custom)
    if part.custom:
        yield CallTool(part.script)


def _plainer_surroundings(scenario: Scenario) -> Iterator[Scenario]:
    for name, default in structs.asdict(Surroundings()).items():
        if getattr(scenario.around, name) != default:
            around = structs.replace(scenario.around, **{name: default})
            yield structs.replace(scenario, around=around)
