"""The core of compaction: when a conversation is replaced by a summary of it.

It always ends, and never makes the conversation larger: a summary that fails or does not help
gives way to a plain cut, and that to leaving everything as it is. What is replaced stays in the
log.
"""

from collections.abc import Iterator
from typing import Literal

from msgspec import structs

from turnlog.actors.core import texts
from turnlog.actors.core.history import TOLD_ONCE, USER
from turnlog.actors.core.replacement import (
    Parts,
    safe_begin,
    size_of,
    with_summary,
    without_summary,
)
from turnlog.actors.core.retries import delay_ms
from turnlog.actors.core.state import Compaction, State, Turn
from turnlog.protocol.calls import ErrorInfo
from turnlog.protocol.events import (
    Compacted,
    CompactionAsked,
    CompactionGivenUp,
    CompactionTrigger,
    ModelAsked,
    ModelFailed,
    RetryScheduled,
    SessionDecision,
    TurnStopping,
)
from turnlog.protocol.ids import effect_id
from turnlog.protocol.items import text_message
from turnlog.protocol.settings import CompactionLimits, TurnSettings


def due(state: State, turn: Turn) -> CompactionTrigger | None:
    """Say whether the conversation has grown too long for the request that comes next."""
    settings = turn.settings
    if turn.no_gain or _waits_for_the_provider(state, turn):
        return None
    limit = settings.compaction.at_tokens
    if limit is None or state.tokens < limit:
        return None
    if turn.prompted:
        return "in_turn"
    return "smaller_window" if _summarizer(state, settings) is not settings else "before_turn"


def _waits_for_the_provider(state: State, turn: Turn) -> bool:
    """Say whether a compaction has left more than the limit, and no response has come since.

    The size is an estimate then: the request is sent, and the provider's own answer counts.
    """
    return turn.over_limit


def _summarizer(state: State, settings: TurnSettings) -> TurnSettings:
    """Return the settings of the last turn where its model takes more than this one's."""
    last = state.asked_with
    if last is None or last.session.model == settings.session.model:
        return settings
    mine, theirs = settings.context_window, last.context_window
    return last if mine is not None and theirs is not None and theirs > mine else settings


def begin(state: State, turn: Turn, trigger: CompactionTrigger) -> Iterator[SessionDecision]:
    """Ask for a summary of what the conversation holds, but for a response with open calls."""
    settings = turn.settings
    if trigger != "manual" and (why := _stalled(state, turn, trigger, settings)) is not None:
        yield TurnStopping("failed", ErrorInfo("compaction_stalled", why))
        return
    if not possible(state, turn):
        yield from _give_up(turn, trigger, "there is nothing yet that could be summed up")
        return
    parts = _replaceable(state, turn)
    model = _summarizer(state, settings) if trigger == "smaller_window" else settings
    prompt = text_message("user", settings.compaction.prompt or texts.SUMMARIZE)
    yield CompactionAsked(
        effect_id(state.facts, "summary"),
        trigger,
        1,
        parts,
        _skipped(state, parts, model.context_window),
        state.tokens,
        prompt,
        model,
    )


def possible(state: State, turn: Turn) -> bool:
    """Say whether there is more in the conversation than what would stay of it."""
    parts = state.history.parts[: _replaceable(state, turn)]
    return any(part.kind in TOLD_ONCE and part.kind != USER for part in parts)


def _replaceable(state: State, turn: Turn) -> int:
    """Return how many parts can be replaced: not those of a response whose calls are open."""
    return turn.response_at if turn.calls else len(state.history.parts)


def _stalled(
    state: State, turn: Turn, trigger: CompactionTrigger, settings: TurnSettings
) -> str | None:
    limit, most = settings.compaction.at_tokens, settings.compaction.most_in_a_row
    if trigger == "in_turn" and turn.over_limit:
        return texts.STILL_ABOVE.format(tokens=state.tokens, limit=limit)
    return texts.NO_PROGRESS.format(times=most) if turn.compactions >= most else None


def _skipped(state: State, parts: int, window: int | None) -> int:
    """Return how many of the oldest parts are left out, so that the summary has room."""
    room = window * 9 // 10 if window is not None else state.tokens
    if state.tokens <= room:
        return 0
    return _without_oldest(state, parts, 0, room / state.tokens)


def _without_oldest(state: State, parts: int, skipped: int, share: float) -> int:
    """Return where about that share of the parts after `skipped` begins."""
    size = size_of(state.history, range(skipped, parts))
    begins = safe_begin(state.history, parts, int(size * share))
    return begins if begins < parts else skipped


def ask_again(state: State, compaction: Compaction) -> Iterator[SessionDecision]:
    """Ask once more, unless an answer, or the time for the next try, is being waited for."""
    if not state.open(CompactionAsked, RetryScheduled):
        yield _again(state, compaction.asked, compaction.asked.skipped)


def _again(state: State, asked: CompactionAsked, skipped: int) -> CompactionAsked:
    effect = effect_id(state.facts, "summary")
    return structs.replace(asked, effect=effect, attempt=asked.attempt + 1, skipped=skipped)


def can_begin(state: State, turn: Turn) -> bool:
    """Say whether a compaction that was asked for can be begun: no response is on its way."""
    is_busy = bool(state.open(ModelAsked, RetryScheduled))
    return not is_busy and not turn.items


def answered(state: State, turn: Turn, compaction: Compaction) -> Iterator[SessionDecision]:
    """Decide about an answer. One without a summary, such as a call of a tool, gets another try."""
    asked, summary = compaction.asked, (compaction.summary or "").strip()
    if not summary and compaction.empty <= 1:
        yield _again(state, asked, asked.skipped)
    else:
        yield from finish(state, turn, compaction, summary)


def failed(
    state: State, turn: Turn, compaction: Compaction, fact: ModelFailed
) -> Iterator[SessionDecision]:
    """Decide about a summary that did not come: with less to sum up, again, or without one."""
    asked, failure = compaction.asked, fact.failure
    limits = asked.settings.retry
    if failure.code == "context_window_exceeded":
        skipped = _without_oldest(state, asked.parts, asked.skipped, 0.5)
        if skipped > asked.skipped:
            yield _again(state, asked, skipped)
            return
    elif failure.retry != "never" and compaction.retries < limits.stream_max_retries:
        retry, most = compaction.retries + 1, limits.stream_max_retries
        effect, delay = effect_id(state.facts, "timer"), delay_ms(state, failure, retry, limits)
        yield RetryScheduled(effect, "stream", retry, most, delay, failure.message)
        return
    yield from finish(state, turn, compaction, "")


def finish(
    state: State, turn: Turn, compaction: Compaction, summary: str
) -> Iterator[SessionDecision]:
    """Put the summary in place, or a cut conversation, or nothing: whatever is smaller."""
    asked, history = compaction.asked, state.history
    limits = turn.settings.compaction  # of the model that is sent the rest
    old = size_of(history, range(asked.parts))
    for method, parts in _replacements(state, asked.parts, limits, summary):
        if (size := size_of(history, parts)) < old:
            after = _scaled(state, history.size - old + size)
            yield Compacted(asked.trigger, method, asked.parts, parts, state.tokens, after)
            return
    yield from _give_up(turn, asked.trigger, "nothing smaller could take its place")


def _replacements(
    state: State, parts: int, limits: CompactionLimits, summary: str
) -> Iterator[tuple[Literal["summary", "truncation"], Parts]]:
    """Yield what may take the place of the first `parts` parts, the best of it first."""
    history, words = state.history, limits.user_tokens
    for ledger in (True, False) if summary else ():
        yield "summary", with_summary(history, parts, words, summary, ledger=ledger)
    for ledger in (True, False):
        yield "truncation", without_summary(history, parts, words, ledger=ledger)


def _scaled(state: State, size: int) -> int:
    """Return how many tokens so many bytes have, if they have as many as they had before."""
    return state.tokens * size // max(1, state.history.size)


def _give_up(turn: Turn, trigger: CompactionTrigger, why: str) -> Iterator[SessionDecision]:
    yield CompactionGivenUp(trigger, why)
    if trigger == "overflow":
        yield TurnStopping("failed", ErrorInfo("context_window_exceeded", texts.TOO_LONG))
