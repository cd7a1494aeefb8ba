"""A clock that goes back: what was made last stays what was made last."""

from pathlib import Path

from tests.cli.harness import User

SLOW_CLOCK = """\
import time

real = time.time_ns
time.time_ns = lambda: real() - {hours} * 3600 * 10**9
"""


def slow_clock(folder: Path, hours: int) -> dict[str, str]:
    """Return an environment in which Python's clock is so many hours slow."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SLOW_CLOCK.format(hours=hours))
    return {"PYTHONPATH": str(folder)}


async def test_the_session_made_last_is_the_last_one_whatever_the_clock_says(user: User) -> None:
    clocks = [{}, slow_clock(user.root / "one", 1), slow_clock(user.root / "day", 24)]
    async with user.model("done", loop=True):
        threads = [(await user.run("exec", "--json", "go", env=env)).thread for env in clocks]
        listed = (await user.run("sessions", "--json")).lines
        assert [row["id"] for row in listed] == threads[::-1]
        assert [row["created"] for row in listed] == sorted(row["created"] for row in listed)
        resumed = await user.run("exec", "--json", "resume", "--last", "more")
        assert resumed.thread == threads[-1]
        doctor = await user.run("doctor")
    assert (doctor.code, "no damage." in doctor.out) == (0, True)


async def test_an_old_session_that_continues_is_the_last_one_whatever_the_clock_says(
    user: User,
) -> None:
    after = slow_clock(user.root / "after", 1)
    async with user.model("done", loop=True):
        first = (await user.run("exec", "--json", "go", env=after)).thread
        second = (await user.run("exec", "--json", "go")).thread
        await user.run("exec", "resume", first, "go", env=after)
        listed = (await user.run("sessions", "--json")).lines
    assert [row["id"] for row in listed] == [first, second]
