"""A clock that goes back: what was made last stays what was made last."""

from pathlib import Path

from tests.cli.harness import User

BEHIND = """\
import time

real = time.time_ns
time.time_ns = lambda: real() - {hours} * 3600 * 10**9
"""


def clock_behind(folder: Path, hours: int) -> dict[str, str]:
    """Return an environment in which Python's clock is so many hours behind."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BEHIND.format(hours=hours))
    return {"PYTHONPATH": str(folder)}


async def test_the_session_made_last_is_the_last_one_whatever_the_clock_says(user: User) -> None:
    clocks = [{}, clock_behind(user.root / "one", 1), clock_behind(user.root / "day", 24)]
    async with user.model("done", loop=True):
        threads = [(await user.run("exec", "--json", "go", env=env)).thread for env in clocks]
        listed = (await user.run("sessions", "--json")).lines
        assert [row["id"] for row in listed] == threads[::-1]
        assert [row["created"] for row in listed] == sorted(row["created"] for row in listed)
        resumed = await user.run("exec", "--json", "resume", "--last", "more")
        assert resumed.thread == threads[-1]
        doctor = await user.run("doctor")
    assert (doctor.code, "no damage." in doctor.out) == (0, True)


async def test_an_old_session_that_goes_on_is_the_last_one_whatever_the_clock_says(
    user: User,
) -> None:
    behind = clock_behind(user.root / "behind", 1)
    async with user.model("done", loop=True):
        first = (await user.run("exec", "--json", "go", env=behind)).thread
        second = (await user.run("exec", "--json", "go")).thread
        await user.run("exec", "resume", first, "go", env=behind)
        listed = (await user.run("sessions", "--json")).lines
    assert [row["id"] for row in listed] == [first, second]
