"""The sandbox's one door: which confinement works here, and the command line that uses it."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

import attrs
from msgspec import Struct

from turnlog.protocol.errors import SandboxUnavailable
from turnlog.protocol.settings import SandboxPolicy
from turnlog.runtime.launcher.landlock import socket_filter
from turnlog.runtime.processes.command import run_command
from turnlog.runtime.processes.launch import LaunchLine, attended
from turnlog.runtime.processes.output import decode_output
from turnlog.runtime.processes.spawner import CommandNotStarted, Spawner
from turnlog.runtime.sandbox.bubblewrap import SOCKET_FAMILIES, accesses, bubblewrap_argv
from turnlog.runtime.sandbox.paths import is_within, protected_paths, writable_roots

Mechanism = Literal["bubblewrap", "landlock"]
Preference = Literal["auto", "bubblewrap", "landlock", "none"]
MECHANISMS: Final[tuple[Mechanism, ...]] = get_args(Mechanism)  # the best one first

# What a mechanism does not keep, to be told to whoever relies on it.
LIMITS: Final[Mapping[Mechanism, tuple[str, ...]]] = {
    "bubblewrap": (
        "a hard link that already stands in a writable folder is the file that it links to",
        "a protected folder (.git and the like) that does not exist yet can be created",
        "with network access, unix sockets of the host can be reached too",
    ),
    "landlock": (
        "a hard link that already stands in a writable folder is the file that it links to",
        ".git, .codex, .agents and .turnlog in a writable folder can be written",
        "owner, mode, times and attributes of files can be changed where the user may do so",
        "processes of the host can be seen, and before Linux 6.12 signalled",
        "without network access, not even loopback can be used; with it, unix sockets too",
    ),
}

_PROBE_TIMEOUT_MS: Final = 10_000
_NOT_INSTALLED: Final = "bubblewrap: bwrap is not installed"
_BIN: Final = "/usr/bin:/usr/local/bin:/bin"


class MechanismReport(Struct, frozen=True):
    """Whether a mechanism works on this machine, and what it does not keep where it does."""

    mechanism: Mechanism
    works: bool
    why_not: str = ""  # what it said, where it does not work
    limits: tuple[str, ...] = ()  # where it works


class Confinement(Struct, frozen=True):
    """What the probe found to work."""

    mechanism: Mechanism
    program: str  # bwrap, or the interpreter that runs the launcher
    user_namespace: bool = False  # bubblewrap needs one though we are root
    tried: tuple[str, ...] = ()  # what did not work before it, and why


@attrs.define(eq=False)
class Sandbox:
    """Turns a command into one that is confined as a policy asks. One for each engine.

    Args:
        spawner: starts the probes.
        hidden: paths that a confined command can neither read nor write, such as the store.
        prefer: one mechanism alone, or the first that works; "none" refuses to confine.
    """

    spawner: Spawner
    hidden: Sequence[str] = ()
    prefer: Preference = "auto"
    _found: Confinement | SandboxUnavailable | None = attrs.field(default=None, init=False)
    tried: list[str] = attrs.field(factory=list[str], init=False)  # what failed, and why
    _filter: int | None = attrs.field(default=None, init=False)

    async def prepare(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        workspace: str,
        policy: SandboxPolicy,
        env: Mapping[str, str],
        writable_extra: Sequence[str] = (),
    ) -> LaunchLine:
        """Return the command line that runs `argv` confined; `argv` under danger-full-access.

        Args:
            argv: the command.
            cwd: where it starts, as it is given to `run_command` too. This alone opens nothing:
                the model may choose it.
            workspace: the session's folder, which workspace-write opens.
            policy: what it may touch.
            env: the command's environment, for its `TMPDIR`.
            writable_extra: also writable, in read-only mode too.

        Raises:
            SandboxUnavailable: it cannot be confined so; nothing was run.
        """
        if policy.mode == "danger-full-access":
            return attended(argv)
        confinement = await self.probe()
        roots = writable_roots(policy, workspace=workspace, env=env, extra=writable_extra)
        network = policy.network_access and policy.mode == "workspace-write"
        if confinement.mechanism == "bubblewrap":
            return self._bubblewrap(confinement, argv, cwd, roots, network)
        return self._landlock(argv, roots, network)

    async def probe(self) -> Confinement:
        """Return what works on this machine. It is tried once; the answer is kept.

        Raises:
            SandboxUnavailable: neither works; the text has what was tried.
        """
        if self._found is None:
            self._found = await self._try_all()
        if isinstance(self._found, SandboxUnavailable):
            raise self._found
        return self._found

    async def complaint(
        self, policy: SandboxPolicy, *, workspace: str, env: Mapping[str, str]
    ) -> SandboxUnavailable | None:
        """Return why no command could be confined as `policy` asks; None if commands can be.

        Cheap after the first time, so that it can be asked before the first request.

        Args:
            workspace: as for `prepare`.
            env: as for `prepare`.
        """
        try:
            await self.prepare(["true"], cwd="/", workspace=workspace, policy=policy, env=env)
        except SandboxUnavailable as error:
            return error
        return None

    async def survey(self) -> tuple[MechanismReport, ...]:
        """Try every mechanism, whichever is preferred, and return what came of each."""
        found: list[MechanismReport] = []
        for mechanism in MECHANISMS:
            alone = Sandbox(self.spawner, prefer=mechanism)
            try:
                await alone.probe()
            except SandboxUnavailable:
                why = "; ".join(alone.tried)
                found.append(MechanismReport(mechanism, works=False, why_not=why))
            else:
                limits = LIMITS[mechanism]
                found.append(MechanismReport(mechanism, works=True, limits=limits))
            finally:
                alone.close()
        return tuple(found)

    def close(self) -> None:
        """Give the seccomp filter's memory back. Commands that were prepared cannot start then."""
        if self._filter is not None:
            os.close(self._filter)
            self._filter = None

    async def _try_all(self) -> Confinement | SandboxUnavailable:
        for candidate in self._candidates():
            if candidate.mechanism == "bubblewrap":
                argv = self._bubblewrap(candidate, ["true"], "/", [], network=False)
            else:
                argv = self._landlock(["true"], [], network=False)
            if (failure := await self._failure(argv)) is None:
                return Confinement(
                    candidate.mechanism,
                    candidate.program,
                    candidate.user_namespace,
                    tuple(self.tried),
                )
            self.tried.append(f"{candidate.mechanism} ({candidate.program}): {failure}")
        return _unavailable(self.tried)

    def _candidates(self) -> list[Confinement]:
        machine = os.uname().machine
        if self.prefer != "none" and socket_filter(machine, ()) is None:
            self.tried.append(f"nothing: the system calls of {machine} are not known here")
            return []
        found: list[Confinement] = []
        if self.prefer in ("auto", "bubblewrap"):
            program = shutil.which("bwrap", path=_BIN) or shutil.which("bwrap")
            if program is None:
                self.tried.append(_NOT_INSTALLED)
            else:
                program = os.path.realpath(program)
                found.append(Confinement("bubblewrap", program))
                if os.geteuid() == 0:  # a container's root may be allowed this one only
                    found.append(Confinement("bubblewrap", program, user_namespace=True))
        if self.prefer in ("auto", "landlock"):
            found.append(Confinement("landlock", sys.executable))
        return found

    async def _failure(self, line: LaunchLine) -> str | None:
        env = {"PATH": _BIN, "LC_ALL": "C.UTF-8"}
        try:
            result = await run_command(
                self.spawner, line, cwd="/", env=env, timeout_ms=_PROBE_TIMEOUT_MS
            )
        except CommandNotStarted as error:
            return str(error)
        if result.timed_out:
            return f"no answer within {_PROBE_TIMEOUT_MS // 1000} s"
        if result.exit_code == 0:
            return None
        said = decode_output(result.output).strip() or "nothing"
        return f"exit code {result.exit_code}; it said: {said}"

    def _bubblewrap(
        self,
        confinement: Confinement,
        argv: Sequence[str],
        cwd: str,
        roots: Sequence[str],
        network: bool,
    ) -> LaunchLine:
        for root in roots:
            if is_within(confinement.program, root):
                raise SandboxUnavailable(
                    f"{confinement.program} stands in {root}, which commands can write: one could "
                    "replace the sandbox itself. Install bubblewrap outside of it."
                )
        paths = accesses(
            writable=roots,
            protected=protected_paths(roots),
            hidden=[os.path.realpath(path) for path in self.hidden],
        )
        return bubblewrap_argv(
            confinement.program,
            argv,
            cwd=cwd,
            paths=paths,
            network=network,
            user_namespace=confinement.user_namespace,
            filter_path=None if network else self._filter_path(),
        )

    def _landlock(self, argv: Sequence[str], roots: Sequence[str], network: bool) -> LaunchLine:
        hidden = [os.path.realpath(path) for path in self.hidden if os.path.exists(path)]
        for path in hidden:
            for root in roots:
                if is_within(path, root):
                    raise SandboxUnavailable(
                        f"{path} must be kept from commands, but is in {root}, which they can "
                        "write; landlock cannot take a part back. Move it (TURNLOG_HOME), do not "
                        "make that folder writable, or install bubblewrap."
                    )
        options = ["--landlock", *(["--network"] if network else [])]
        options += [word for path in roots for word in ("--write", path)]
        options += [word for path in hidden for word in ("--hide", path)]
        return attended(argv, options)

    def _filter_path(self) -> str:
        """Return a path at which each command opens the filter anew, from its beginning."""
        if self._filter is None:
            program = socket_filter(os.uname().machine, SOCKET_FAMILIES)
            assert program is not None, "the probe refuses machines without a filter"
            self._filter = os.memfd_create("turnlog-socket-filter")
            os.write(self._filter, program)
        return f"/proc/{os.getpid()}/fd/{self._filter}"


def _unavailable(tried: Sequence[str]) -> SandboxUnavailable:
    """Return an error that says why each mechanism does not work here, and what would help."""
    advice: list[str] = []
    if _NOT_INSTALLED in tried:
        advice.append("install bubblewrap 0.8 or newer")
    if tried:
        advice.append("allow user namespaces (a container may forbid them)")
        advice.append("use Linux 6.2 or newer with landlock")
    advice.append("choose the sandbox mode danger-full-access if nothing has to be confined")
    text = "; or ".join(advice)
    return SandboxUnavailable(
        "commands cannot be confined on this machine; nothing was run. Tried:\n  "
        + "\n  ".join(tried or ["nothing: the sandbox is switched off"])
        + f"\n{text[:1].upper()}{text[1:]}.",
        tried or ["the sandbox is switched off"],
    )
