"""A small engine in a process of its own: runs scripts confined, and tells how it fares itself.

`python engine.py < ORDER`: see `Order`. It prints an `Outcome`. Any user may run it.
"""

import os
import resource
import sys
from functools import partial
from pathlib import Path

import msgspec
import trio

from turnlog.protocol.settings import SandboxPolicy
from turnlog.runtime.config.schema import Config, ProjectTrust
from turnlog.runtime.processes.command import run_command
from turnlog.runtime.processes.spawner import Spawner
from turnlog.runtime.sandbox.confinement import Preference, Sandbox
from turnlog.runtime.sandbox.engine_paths import kept_by_engine


class Order(msgspec.Struct, frozen=True):
    mechanism: Preference
    home: str
    workspace: str
    policy: SandboxPolicy
    scripts: tuple[str, ...]  # run one after the other
    env: dict[str, str]
    trusted: tuple[str, ...] = ()
    at_once: bool = False


class Ran(msgspec.Struct, frozen=True):
    code: int
    output: str


class Outcome(msgspec.Struct, frozen=True):
    ran: tuple[Ran, ...]
    state_before: dict[str, str]
    state_after: dict[str, str]


def state() -> dict[str, str]:
    """Return what a command could want to change of this process."""
    names = ("RLIMIT_NOFILE", "RLIMIT_CPU", "RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_NPROC")
    return {
        **{name: str(resource.getrlimit(getattr(resource, name))) for name in names},
        "nice": str(os.getpriority(os.PRIO_PROCESS, 0)),
        "affinity": str(sorted(os.sched_getaffinity(0))),
        "scheduler": str(os.sched_getscheduler(0)),
        "oom": Path("/proc/self/oom_score_adj").read_text().strip(),
        "name": Path("/proc/self/comm").read_text().strip(),
    }


async def run(order: Order) -> tuple[Ran, ...]:
    env = {**order.env, "ENGINE": str(os.getpid()), "PYTHON": sys.executable}
    trusted = {path: ProjectTrust(trust_level="trusted") for path in order.trusted}
    kept = kept_by_engine(env, Path(order.home), Config(projects=trusted))
    ran: dict[int, Ran] = {}
    async with Spawner() as spawner:
        sandbox = Sandbox(spawner, kept, order.mechanism)

        async def one(index: int) -> None:
            async with sandbox.confined(
                ["bash", "-c", order.scripts[index]],
                cwd=order.workspace,
                workspace=order.workspace,
                policy=order.policy,
                env=env,
            ) as command:
                result = await run_command(
                    spawner, command.line, cwd=order.workspace, env=command.env, timeout_ms=20_000
                )
            ran[index] = Ran(result.exit_code, result.output.decode(errors="replace"))

        await sandbox.probe()
        async with trio.open_nursery() as nursery:
            for index in range(len(order.scripts)):
                if order.at_once:
                    nursery.start_soon(one, index)
                else:
                    await one(index)
    return tuple(ran[index] for index in sorted(ran))


def main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    before = state()
    ran = trio.run(partial(run, order))
    sys.stdout.buffer.write(msgspec.json.encode(Outcome(ran, before, state())))


if __name__ == "__main__":
    main()
