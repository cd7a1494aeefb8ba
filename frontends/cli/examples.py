"""Examples for the help of each command. Each option is in at least one of them.

A `#` begins what the example does.
"""

import textwrap
from typing import Final

import click

_SETTINGS: Final = "-c model_verbosity=low -p fast -C ../project"
_TOLERANT: Final = "--tolerate dates,ids --replace 'v[0-9]+' VERSION"

EXAMPLES: Final[dict[str, str]] = {
    "exec": f"""
turnlog exec "what does this project do?"              # commands can read, not write
turnlog exec -s workspace-write "make the tests pass"  # commands can write here
turnlog exec -s workspace-write --add-dir ../docs -m gpt-5.5 "also update the docs"
turnlog exec -a on-request "deploy it"                 # asks you where a command needs more
git diff | turnlog exec "review this" -o review.md     # stdin goes with the prompt
turnlog exec resume @last "and the docs"               # continue a session
turnlog exec resume --last                             # finish a turn that was cut off
turnlog exec fork parser --at 40 "try it without regular expressions"
turnlog exec {_SETTINGS} "use other settings"
turnlog exec -i screen.png --output-schema answer.json "what is wrong here?"
turnlog exec --json --ephemeral --skip-git-repo-check --color never "for a program"
""",
    "steer": """
turnlog steer @last "use uv, not pip"       # with the next request to the model
turnlog steer @last --queue "then tidy up"  # a turn of its own, afterwards
""",
    "interrupt": """
turnlog interrupt @last
""",
    "approvals": """
turnlog approvals
turnlog approvals --json
""",
    "approve": """
turnlog approve @last            # run it: the open question of the newest session
turnlog approve @last --session  # and do not ask again for the same
turnlog approve @last --decline  # the turn continues without it
turnlog approve @last --abort    # stop the turn
""",
    "compact": f"""
turnlog compact @last
turnlog compact parser --json {_SETTINGS}
""",
    "review": f"""
turnlog review @last
turnlog review @last "Review the last commit." --json {_SETTINGS}
""",
    "shell": f"""
turnlog shell @last "git status"
turnlog shell @last {_SETTINGS} "make"
""",
    "sessions": """
turnlog sessions
turnlog sessions --here --status failed --status cut-off --limit 10
turnlog sessions --all --grep parser --json
turnlog sessions --no-pager
""",
    "show": """
turnlog show @last
turnlog show parser --after 40 --limit 20 --no-pager
turnlog show parser --at 40         # the state there, and the request to the model
turnlog show parser --at 40 --full  # the whole output of the tool that finished there
turnlog show parser --follow --json
turnlog show parser --tree          # its agents and reviews
""",
    "history": """
turnlog history @last
turnlog history @last --at 40 --json --no-pager
""",
    "changes": """
turnlog changes @last                 # of the last turn that changed something
turnlog changes @last 2 --no-pager | git apply --reverse
""",
    "tree": """
turnlog tree
turnlog tree @last --json --no-pager
""",
    "diff": """
turnlog diff @2 @1
turnlog diff parser old.turnlog --limit 20 --json --no-pager
""",
    "undo": f"""
turnlog undo @last --preview          # what would be done
turnlog undo @last --turns 2
turnlog undo @last --no-files         # only the conversation
turnlog undo @last --no-conversation --force --json {_SETTINGS}
""",
    "redo": f"""
turnlog redo @last
turnlog redo @last --force --json {_SETTINGS}
""",
    "fork": f"""
turnlog fork @last --at 40
turnlog fork parser {_SETTINGS}
""",
    "rerun": f"""
turnlog rerun @last -m other-model
turnlog rerun @last --at 40 --prompt "Try again." --base-instructions brief.md --json
turnlog rerun @last -a never -s read-only {_SETTINGS}
turnlog rerun @last --record tools {_TOLERANT}
""",
    "simulate": f"""
turnlog simulate @last                          # nothing is reached
turnlog simulate @last --tools live --keep
turnlog simulate @last --model live --at 40 {_TOLERANT} --json
turnlog simulate @last {_SETTINGS}
""",
    "serve-model": """
turnlog serve-model @last
turnlog serve-model @last --port 8080 --any-order
""",
    "name": f"""
turnlog name @last parser
turnlog name parser "" {_SETTINGS}  # take the name back
""",
    "archive": f"""
turnlog archive @last
turnlog archive parser --undo {_SETTINGS}
""",
    "export": """
turnlog export @last -o session.turnlog
turnlog export @last --format html -o session.html
turnlog export @last --redact 'sk-[a-z0-9]+' > session.turnlog
""",
    "import": """
turnlog import session.turnlog
turnlog import --new-id --json *.turnlog
""",
    "delete": """
turnlog delete @last
turnlog delete parser --yes
""",
    "replay": """
turnlog replay @last
turnlog replay session.turnlog --actors --seed 7
turnlog replay --all --json
turnlog replay @last --from 40
""",
    "check": """
turnlog check tests/sessions
turnlog check tests/sessions -j 4 --json
turnlog check tests/sessions --accept
""",
    "doctor": """
turnlog doctor
turnlog doctor --json
turnlog doctor --backup before-repair --repair
""",
    "config": f"""
turnlog config
turnlog config --all --no-pager                    # every key, with its meaning
turnlog config --template > ~/.turnlog/config.toml  # a file to begin with
turnlog config --json {_SETTINGS}
""",
    "scripted-model": """
turnlog scripted-model script.json --port 8080
""",
    "schema": """
turnlog schema > turnlog.schema.json
""",
    "demo": """
turnlog demo
""",
    "completion": """
eval "$(turnlog completion bash)"
""",
    "help": """
turnlog help exec
""",
}


def explain(name: str, command: click.Command) -> None:
    """Add to the help of a command its examples, and to each option its default."""
    examples = f"\b\nExamples:\n{textwrap.indent(EXAMPLES[name].strip(), '  ')}"
    if examples in (command.epilog or ""):
        return
    command.epilog = "\n\n".join(filter(None, (examples, command.epilog)))
    for option in command.params:
        if isinstance(option, click.Option) and "Default:" not in (option.help or ""):
            option.help = f"{option.help} Default: {_default(option)}."


def _default(option: click.Option) -> str:
    return "off" if option.is_flag else str(option.default)
