"""The fixture records on its first run and replays afterwards; pytest's own plugin runs it."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.replay.recordings import named, records_of
from turnlog.replay.files.portable import read_portable
from turnlog.replay.testing.cassettes import Cassette
from turnlog.replay.verify.verifier import divergences

pytest_plugins = ["pytester"]
PLUGIN = ("-p", "no:turnlog", "-p", "turnlog.replay.testing.plugin", "-p", "no:cacheprovider")

TEST = """
    import trio
    from tests.replay.testing.bank import bank_tools
    from turnlog.replay.testing import ScriptedModel, assert_tools
    from turnlog.runtime.scripted_model.script import call

    LIVE = {live}

    def live_model():
        assert LIVE, "the live model was reached"
        transfer = call("transfer", {{"source": "anna", "target": "ben", "amount": 5}})
        return ScriptedModel(transfer, "{answer}")

    async def run(turnlog_session, prompts):
        records = []
        async with turnlog_session(model=live_model, tools=bank_tools()) as session:
            for prompt in prompts:
                records += [record async for record in session.run(prompt)]
        return records

    def test_it_moves_money(turnlog_session):
        records = trio.run(run, turnlog_session, {prompts})
        assert_tools(records, "transfer")
        assert records[-1].event.last_agent_message == "{expected}"
"""


def write(
    pytester: pytest.Pytester,
    *,
    live: bool = True,
    prompts: tuple[str, ...] = ("move 5",),
    answer: str = "Moved.",
    expected: str | None = None,
) -> None:
    source = TEST.format(
        live=live, prompts=list(prompts), answer=answer, expected=expected or answer
    )
    pytester.makepyfile(test_bank=textwrap.dedent(source))


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess(*PLUGIN, *options)


def cassette(pytester: pytest.Pytester) -> Path:
    return pytester.path / "__turnlog__" / "test_bank.test_it_moves_money.turnlog"


def test_the_plugin_costs_other_projects_nothing() -> None:
    program = (
        "import sys, turnlog.replay.testing.plugin\n"
        "print([name for name in ('hypothesis', 'trio', 'lmdb', 'msgspec') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"


def test_it_is_recorded_once_and_replayed_without_the_model(pytester: pytest.Pytester) -> None:
    write(pytester)
    run(pytester).assert_outcomes(passed=1)
    with cassette(pytester).open("rb") as lines:
        records = list(read_portable(lines).recorded())
    assert list(divergences(records)) == []
    assert records[-1].kind == "session_closed"
    before = cassette(pytester).read_bytes()
    write(pytester, live=False)
    run(pytester).assert_outcomes(passed=1)
    run(pytester, "--turnlog-record=none").assert_outcomes(passed=1)
    assert cassette(pytester).read_bytes() == before


def test_without_a_recording_none_fails_and_reaches_no_model(pytester: pytest.Pytester) -> None:
    write(pytester, live=False)
    result = run(pytester, "--turnlog-record=none")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*CassetteMissing: there is no recording *"])
    assert not cassette(pytester).exists()


def test_another_request_fails_with_the_nearest_recorded_one(pytester: pytest.Pytester) -> None:
    write(pytester)
    run(pytester).assert_outcomes(passed=1)
    write(pytester, live=False, prompts=("move 6",))
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*CassetteMiss: *The nearest is event 8; part 1 differs:",
            "*recorded: *move 5*",
            "*asked: *move 6*",
        ]
    )


def test_requests_that_are_not_made_any_more_fail(pytester: pytest.Pytester) -> None:
    write(pytester)
    run(pytester).assert_outcomes(passed=1)
    path = cassette(pytester)
    write(pytester, live=False, prompts=())
    source = (pytester.path / "test_bank.py").read_text()
    body = source[: source.index("    assert_tools(records")] + "    assert records == []\n"
    (pytester.path / "test_bank.py").write_text(body)
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*CassetteMiss: *2 requests were recorded, 0 made"])
    assert path.exists()


def test_all_records_again(pytester: pytest.Pytester) -> None:
    write(pytester)
    run(pytester).assert_outcomes(passed=1)
    write(pytester, answer="Moved again.")
    run(pytester).assert_outcomes(failed=1)
    run(pytester, "--turnlog-record=all").assert_outcomes(passed=1)
    write(pytester, live=False, answer="Moved again.")
    run(pytester).assert_outcomes(passed=1)


def test_a_test_that_fails_leaves_no_recording(pytester: pytest.Pytester) -> None:
    write(pytester)
    source = (pytester.path / "test_bank.py").read_text()
    broken = source.replace("for prompt in prompts:", "for prompt in 1 / 0:")
    (pytester.path / "test_bank.py").write_text(broken)
    run(pytester).assert_outcomes(failed=1)
    assert not cassette(pytester).exists()


def test_a_test_that_fails_after_its_session_leaves_no_recording(
    pytester: pytest.Pytester,
) -> None:
    write(pytester, expected="Something else.")
    run(pytester).assert_outcomes(failed=1)
    assert not cassette(pytester).exists()
    write(pytester)
    run(pytester).assert_outcomes(passed=1)
    before = cassette(pytester).read_bytes()
    write(pytester, answer="Not moved.", expected="Moved.")
    run(pytester, "--turnlog-record=all").assert_outcomes(failed=1)
    assert cassette(pytester).read_bytes() == before


def test_secrets_are_not_kept_and_the_recording_still_answers(pytester: pytest.Pytester) -> None:
    secret = "sk-proj-abcdefghijklmnop1234"
    answer = f"Your key {secret} works."
    write(pytester, prompts=(f"my key is {secret}",), answer=answer)
    run(pytester).assert_outcomes(passed=1)
    text = cassette(pytester).read_text()
    assert secret not in text
    with cassette(pytester).open("rb") as lines:
        assert list(divergences(read_portable(lines).recorded())) == []
    write(
        pytester,
        live=False,
        prompts=(f"my key is {secret}",),
        expected="Your key [redacted-1] works.",
    )
    run(pytester).assert_outcomes(passed=1)


NAMED = """
    import pytest
    from pathlib import Path

    def stem(turnlog_session):
        path = turnlog_session.cassette().path
        with Path("stems").open("a") as stems:
            stems.write(path.name + "\\n")

    def test_plain(turnlog_session):
        stem(turnlog_session)

    class TestA:
        def test_x(self, turnlog_session):
            stem(turnlog_session)

    class TestB:
        def test_x(self, turnlog_session):
            stem(turnlog_session)

    @pytest.mark.parametrize("case", ["a/b", "a_b", "a::b", "a.b"])
    def test_each(turnlog_session, case):
        stem(turnlog_session)

    @pytest.mark.turnlog(name="given")
    def test_given(turnlog_session):
        stem(turnlog_session)

    @pytest.mark.turnlog(name="given")
    @pytest.mark.parametrize("case", [1, 2])
    def test_given_cases(turnlog_session, case):
        stem(turnlog_session)
"""


def test_no_two_tests_share_a_recording(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_names=textwrap.dedent(NAMED))
    run(pytester).assert_outcomes(passed=10)
    names = (pytester.path / "stems").read_text().split("\n")[:-1]
    assert len(set(names)) == len(names) == 10
    assert names[:3] == [
        "test_names.test_plain.turnlog",
        "test_names.TestA.test_x.turnlog",
        "test_names.TestB.test_x.turnlog",
    ]
    assert names[7] == "given.turnlog"
    parts = [re.sub("-[0-9a-f]{8}", "-#", name) for name in names]
    assert parts[3:7] == [
        "test_names.test_each_a_b_-#.turnlog",
        "test_names.test_each_a_b_-#.turnlog",
        "test_names.test_each_a.b_-#.turnlog",
        "test_names.test_each_a.b_-#.turnlog",
    ]
    assert parts[8:] == ["given_1_-#.turnlog", "given_2_-#.turnlog"]


def test_a_recording_that_cannot_be_written_leaves_no_part_of_itself(tmp_path: Path) -> None:
    in_the_way = tmp_path / "test.turnlog"
    in_the_way.mkdir()
    with pytest.raises(IsADirectoryError):
        Cassette(in_the_way).save(records_of(named("turns")))
    assert list(tmp_path.iterdir()) == [in_the_way]
