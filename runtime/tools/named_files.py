"""The files that a call names or runs: an approval of the call holds for these files.

A shell can put a path together in more ways than can be read from its text. What is found: each
word that is a file or a folder with what is in it, also after `cd`, in quotes, options and
wildcards; a program that PATH finds outside of the system's folders; the file that a program such
as make reads by itself; Python modules; and the files that those name in turn, as far as they are
in the workspace.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from glob import iglob
from itertools import islice
from typing import Final

import attrs

from turnlog.protocol.calls import CommandPreview, NamedFile, PatchPreview, ToolPlan
from turnlog.protocol.files import FileMark, digest_of, mark_of
from turnlog.protocol.settings import TurnSettings
from turnlog.runtime.workspace.images import image_of

MOST_FILES: Final = 2000  # that are looked at; with more, the call is asked about each time
MOST_WORDS: Final = 4096  # of a command
MAX_READ: Final = 64 << 10  # bytes of a file whose own words are looked at
MAX_DIGEST: Final = 8 << 20  # bytes of a file that is compared by its content

_SPLIT: Final = re.compile(r"[\s'\"`$();&|<>{}\[\],=:@#]+")
_GLOB_SPLIT: Final = re.compile(r"[\s'\"`();&|<>=:,]+")
# What follows is written, not run: of it only counts where it leads.
_OUTPUT: Final = re.compile(r"(?<!<)>{1,2}[|&]?\s*('[^'\n]*'|\"[^\"\n]*\"|[^\s;&|<>()'\"`]+)")
_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.\w+)*\Z")
_SYSTEM: Final = ("/usr/", "/bin/", "/sbin/", "/lib", "/etc/", "/proc/", "/sys/", "/dev/")
_SKIPPED: Final = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv"})
_BUILD: Final = ("pyproject.toml", "setup.cfg", "tox.ini", "pytest.ini", "conftest.py")
_NODE: Final = ("package.json", ".npmrc", "index.js")
# What a program reads though nobody names it.
_READ_BY: Final[dict[str, tuple[str, ...]]] = {
    "make": ("GNUmakefile", "makefile", "Makefile"),
    "gmake": ("GNUmakefile", "makefile", "Makefile"),
    **dict.fromkeys(("npm", "npx", "yarn", "pnpm", "bun", "node"), _NODE),
    **dict.fromkeys(("pytest", "tox", "py.test"), _BUILD),
    "pip": ("pyproject.toml", "setup.py", "setup.cfg"),
    "uv": ("pyproject.toml", "uv.toml"),
    "nox": ("noxfile.py",),
    "just": ("justfile", "Justfile", ".justfile"),
    "task": ("Taskfile.yml", "Taskfile.yaml"),
    "invoke": ("tasks.py",),
    "cargo": ("Cargo.toml", "build.rs", ".cargo/config.toml"),
    "go": ("go.mod",),
    "rake": ("Rakefile", "rakefile"),
    "bundle": ("Gemfile",),
    "cmake": ("CMakeLists.txt", "CMakePresets.json"),
    "ninja": ("build.ninja",),
    "meson": ("meson.build",),
    "scons": ("SConstruct",),
    "mvn": ("pom.xml",),
    "gradle": ("build.gradle", "build.gradle.kts", "settings.gradle"),
    "gradlew": ("build.gradle", "build.gradle.kts", "settings.gradle"),
    "ant": ("build.xml",),
    "docker": ("Dockerfile", "docker-compose.yml", "compose.yaml", "compose.yml"),
    "docker-compose": ("docker-compose.yml", "compose.yaml", "compose.yml"),
    "direnv": (".envrc",),
    "pre-commit": (".pre-commit-config.yaml",),
}


def may_be_asked(plan: ToolPlan, settings: TurnSettings) -> bool:
    """Say whether a person may come to decide about a call."""
    policy = settings.session.approval_policy
    if policy == "never" or plan.refusal is not None:
        return False
    return plan.wants == "outside" or policy in ("untrusted", "on-failure")


def files_of(plan: ToolPlan, settings: TurnSettings) -> tuple[NamedFile, ...]:
    """Return the files that an approval of this call is for, as they are now. Blocks.

    Of a command these are the files that it names, whose content counts; of a patch the places
    that it writes to, of which only counts what they are: the patch itself says the content.
    """
    workspace = settings.session.cwd
    match plan.preview:
        case CommandPreview(command=command, cwd=cwd):
            return _Search(cwd, workspace).run(command)
        case PatchPreview(changes=changes):
            return tuple(NamedFile(change.path, _place(change.path)) for change in changes)
        case _:
            return ()


def _place(path: str) -> FileMark:
    """Return what kind of thing a path is, and where it really leads."""
    kind = mark_of(image_of(path, 0, digest_limit=0)).kind
    real = os.path.realpath(path)
    return FileMark(kind, digest_of(real.encode(errors="replace")) if real != path else "")


@attrs.define
class _Search:
    cwd: str
    workspace: str
    _found: dict[str, FileMark] = attrs.field(factory=dict[str, FileMark], init=False)
    _folders: dict[str, None] = attrs.field(factory=dict[str, None], init=False)
    _listings: dict[str, frozenset[str]] = attrs.field(
        factory=dict[str, frozenset[str]], init=False
    )
    _unread: list[str] = attrs.field(factory=list[str], init=False)
    _is_cut: bool = attrs.field(default=False, init=False)

    def run(self, command: tuple[str, ...]) -> tuple[NamedFile, ...]:
        if os.path.realpath(self.cwd) != self.cwd:
            self._found[self.cwd] = _place(self.cwd)
        self._folders[self.cwd] = None
        self._look_at_command("\n".join(command))
        while self._unread and not self._is_cut:
            for word in _words(_text(self._unread.pop()), self.cwd):
                self._take_all(self._candidates(word))
        if self._is_cut:
            self._found[self.cwd] = FileMark("unknown")
        return tuple(NamedFile(path, self._found[path]) for path in sorted(self._found))

    def _look_at_command(self, text: str) -> None:
        for target in _OUTPUT.findall(text):
            path = os.path.normpath(os.path.join(self.cwd, target.strip("'\"")))
            if os.path.realpath(path) != path:
                self._found[path] = _place(path)
        text = _OUTPUT.sub(" ", text)
        words = list(islice(_words(text, self.cwd), MOST_WORDS + 1))
        if len(words) > MOST_WORDS:
            self._is_cut = True
        for word in words:  # folders first: what follows `cd` is found in them
            for path in self._paths(word):
                if path not in self._folders and self._is_ours(path) and os.path.isdir(path):
                    self._folders[path] = None
                    self._take_all(_below(path))
        for word in words:
            self._take_all(self._candidates(word))
            if "/" not in word and (program := _on_path(word)) is not None:
                self._take(program)

    def _candidates(self, word: str) -> Iterator[str]:
        yield from self._paths(word)
        for folder in tuple(self._folders):
            for name in _READ_BY.get(os.path.basename(word), ()):
                yield os.path.join(folder, name)
            if _MODULE.match(word):
                first, *rest = word.split(".")
                if {first, f"{first}.py"} & self._names(folder):
                    module = os.path.join(folder, first, *rest)
                    yield from (f"{module}.py", f"{module}/__init__.py", f"{module}/__main__.py")

    def _paths(self, word: str) -> Iterator[str]:
        """Yield where a word may lead, from each folder that is known."""
        word = os.path.normpath(os.path.expanduser(word) if word.startswith("~") else word)
        first = word.partition("/")[0]
        is_pattern = any(sign in word for sign in "*?[") and len(word) > 1
        for folder in tuple(self._folders):
            path = os.path.normpath(os.path.join(folder, word))
            if is_pattern:
                yield from islice(iglob(path), MOST_FILES)
            if first in ("", "..") or first in self._names(folder):
                yield path

    def _names(self, folder: str) -> frozenset[str]:
        """Return what is in a folder, so that most words of a text need no look at the disk."""
        if folder not in self._listings:
            try:
                self._listings[folder] = frozenset(os.listdir(folder))
            except OSError:
                self._listings[folder] = frozenset()
        return self._listings[folder]

    def _take_all(self, paths: Iterable[str]) -> None:
        for path in paths:
            if len(self._found) >= MOST_FILES:
                self._is_cut = True
                return
            self._take(path)

    def _take(self, path: str) -> None:
        if path in self._found or not self._is_ours(path):
            return
        try:
            path.encode()
            status = os.lstat(path)
        except (OSError, ValueError):
            return
        if stat.S_ISLNK(status.st_mode):
            self._found[path] = _place(path)
            self._take(os.path.realpath(path))
        elif stat.S_ISREG(status.st_mode):
            self._found[path] = _mark(path, status)
            if _is_below(path, self.workspace) or _is_below(path, self.cwd):
                self._unread.append(path)

    def _is_ours(self, path: str) -> bool:
        """Say whether a path is none of the system's, which no confined command can change."""
        if _is_below(path, self.workspace) or _is_below(path, self.cwd):
            return True
        return not path.startswith(_SYSTEM)


def _words(text: str, cwd: str) -> Iterator[str]:
    """Yield the words of a text, each once: as a shell has them, and split at every sign."""
    text = re.sub(r"\$\{?PWD\}?|\$\(pwd\)|`pwd`", cwd, text)
    text = re.sub(r"\$\{?HOME\}?", os.path.expanduser("~"), text)
    seen = {"", ".", "/"}
    quoted = re.findall(r"'([^'\n]*)'|\"([^\"\n]*)\"", text)
    escaped = [word.replace("\\ ", " ") for word in re.findall(r"(?:\\.|\S)+", text)]
    for word in (
        *(word for pair in quoted for word in pair),
        *escaped,
        *_GLOB_SPLIT.split(text),
        *_SPLIT.split(text),
    ):
        for one in (word, word[2:]) if word.startswith("-") else (word,):
            if one not in seen and len(one) < 4096 and "\0" not in one:
                seen.add(one)
                yield one


def _text(path: str) -> str:
    """Return the beginning of a file; nothing of one that is no text."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_READ)
    except OSError:
        return ""
    return "" if b"\0" in data else data.decode(errors="replace")


def _mark(path: str, status: os.stat_result) -> FileMark:
    if status.st_size > MAX_DIGEST:
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return FileMark("file", f"changed {stamp}", stat.S_IMODE(status.st_mode))
    return mark_of(image_of(path, 0, digest_limit=MAX_DIGEST))


def _below(folder: str) -> Iterator[str]:
    """Yield the files below a folder that a command names."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - _SKIPPED)
        yield from (os.path.join(parent, name) for name in sorted(names))


def _on_path(word: str) -> str | None:
    for folder in os.get_exec_path():
        path = os.path.join(folder, word)
        if not path.startswith(_SYSTEM) and os.path.isfile(path):
            return os.path.normpath(path)
    return None


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
