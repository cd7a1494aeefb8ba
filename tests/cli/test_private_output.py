"""What commands write, and the folders they make, are for their user alone, also under umask 0."""

import json
from pathlib import Path

from tests.cli.harness import User
from turnlog.runtime.private_files import make_private_folder, write_private

FORMS = ("turnlog", "codex", "markdown", "html")


async def run(user: User, umask: int, *words: str) -> str:
    """Run a command under `umask`; return its stdout."""
    program = user.program(*words, env={"TURNLOG_HOME": str(user.root / "new" / "home")})
    done = await user.run_program(program._replace(umask=umask))
    assert done.code == 0
    return done.out


def new_home(user: User) -> Path:
    """Make the home that `run` uses, in a folder of its own; return the folder."""
    made = user.root / "new"
    make_private_folder(made / "home")
    write_private(made / "home" / "config.toml", (user.home / "config.toml").read_bytes())
    return made


def modes(folder: Path) -> dict[str, int]:
    """Return the modes of all that is below a folder, by path."""
    return {
        str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in folder.rglob("*")
    }


async def test_everything_that_is_written_under_umask_0_is_private(user: User) -> None:
    async with user.model("done", loop=True):
        made = new_home(user)
        await run(user, 0, "exec", "-o", str(made / "last"), "go")
        thread = json.loads(await run(user, 0, "sessions", "--json"))["id"]
        await run(user, 0, "doctor", "--backup", str(made / "deep" / "backup"))
        for form in FORMS:
            await run(user, 0, "export", thread, "--format", form, "-o", str(made / form / "file"))
    found = modes(made)
    assert {name for name in found if "/engines" not in name} == {
        "home",
        "home/config.toml",
        "home/store",
        "home/store/data.mdb",
        "home/store/writer.lock",
        "last",
        "deep",
        "deep/backup",
        "deep/backup/data.mdb",
        *FORMS,
        *(f"{form}/file" for form in FORMS),
    }
    assert {name: mode for name, mode in found.items() if mode & 0o077} == {}


async def test_a_store_can_be_used_again_that_was_made_under_umask_777(user: User) -> None:
    async with user.model("done", loop=True):
        made = new_home(user)
        await run(user, 0o777, "exec", "go")
    found = modes(made / "home" / "store")
    assert found["data.mdb"] == found["writer.lock"] == 0o600
    assert found["engines"] == 0o700
