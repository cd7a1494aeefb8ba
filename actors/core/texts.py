"""What the model is told when a call did not run to its end.

The log keeps each text that was used, so a change here changes only later turns.
"""

from typing import Final

TURN_ABORTED: Final = (
    "<turn_aborted>\nThe user interrupted the previous turn on purpose. Commands that were "
    "running have been stopped; they may have done part of their work.\n</turn_aborted>"
)
NEVER_STARTED: Final = "aborted: this call was never started, because the turn was stopped first."
WAIT_STOPPED: Final = (
    "aborted: the turn was stopped while this waited, and none of these agents had come to rest."
)
STOPPED: Final = (
    "aborted: this was stopped while it was running. "
    "It may have done part of its work; its output is lost."
)
UNKNOWN: Final = (
    "aborted: the outcome is unknown. The engine ended just as this was about to start, "
    "so it may or may not have run. Check before you do it again."
)
CRASHED: Final = "aborted: the tool failed inside turnlog: {message}"
UNPLANNED: Final = "unsupported call: {name}"
FROM_ELSEWHERE: Final = (
    "not run: this call was pending when the session was brought here from another machine, and "
    "nobody may be asked about it. Make the call again if it is still needed."
)
LEFT_ELSEWHERE: Final = "it was left before the session was brought here; say it again"
DECLINED: Final = "rejected by user"
UNANSWERED: Final = "rejected: nobody answered the question in time"
NO_ESCALATION: Final = (
    "approval policy is {policy}; reject command — you cannot ask for escalated permissions "
    "if the approval policy is {policy}"
)
DECLINED_OUTSIDE: Final = "\nThe user was asked to run this without the sandbox, and declined."
SUMMARY_BEGINS: Final = (
    "The conversation so far became too long, and was replaced by this summary of it. What was "
    "done is done: build on it, and do not start again.\n\n"
)
# Its lines are read back at the next compaction, so they stand alone between the others.
LEDGER: Final = (
    "<work_ledger>\nWhat was done before this, oldest first, as the log has it. Unless something "
    "has changed since, none of it need be done or read again.\n{lines}\n</work_ledger>"
)
CUT: Final = (
    "The conversation became too long, no summary of it could be made, and its older part was "
    "cut out. Look at the files before you repeat anything."
)
# The words in capitals are what scripts and servers know a request for a summary by.
# Source: Codex's requests, which a scripted model recognises.
SUMMARIZE: Final = (
    "This is a CONTEXT CHECKPOINT COMPACTION. Everything above will be removed, and whoever goes "
    "on with this work will know nothing but what you write now, and the user's own words. Write "
    "down, shortly and exactly: what the user wants, with every constraint; what was done and "
    "decided, and why; which files were read or changed, by path, and what matters of what they "
    "hold; what was tried and failed; how the last checks came out; what is to be done next. Call "
    "no tools."
)
STILL_ABOVE: Final = (
    "the conversation is still above its limit after it was compacted: {tokens} of {limit} tokens. "
    "Say what matters in a new session, or use a model with a larger window."
)
NO_PROGRESS: Final = (
    "the conversation was compacted {times} times in a row, and no file was changed meanwhile: "
    "the work seems to go round in circles. Say how to go on."
)
TOO_LONG: Final = (
    "the conversation is longer than the model takes, and cannot be made shorter. Fork it at an "
    "earlier event, or use a model with a larger window."
)
AGENT_ENDED: Final = "<subagent_notification>\n{text}\n</subagent_notification>"
# The tag and its fields are what clients know a review's note by. Source: functional model A23.
USER_ACTION: Final = "<user_action>\n  <action>review</action>\n{text}\n</user_action>"
REVIEW_DONE: Final = (
    "  <context>The user had the work reviewed. The reviewer's findings follow; the user may ask "
    "you about them, or to mend what they name.</context>\n  <results>\n{results}\n  </results>"
)
REVIEW_INTERRUPTED: Final = (
    "  <context>The user began a review, and it was interrupted. If they ask about its results, "
    "tell them to start it again.</context>\n  <results>\n  None.\n  </results>"
)
REVIEW: Final = """\
You review a change that somebody else made. Find what its author would mend if they knew of it: \
wrong results, crashes, lost data, holes in security, broken promises of an interface, tests that \
cannot fail. Leave style alone unless it hides a defect.

A finding counts only if this change brought it in, you can name the input or the order of events \
that shows it, and you have looked at the code around it. Name the smallest range of lines. Say \
what goes wrong and when, in one paragraph, plainly and without praise or blame. Do not change \
files. No findings is a good result.

Answer with one JSON object and nothing around it:
{"findings": [{"title": "at most 80 characters, in the imperative", "body": "Markdown", \
"confidence_score": 0.0, "priority": 0, "code_location": {"absolute_file_path": "/…", \
"line_range": {"start": 1, "end": 1}}}], "overall_correctness": "patch is correct", \
"overall_explanation": "one to three sentences", "overall_confidence_score": 0.0}
`priority` goes from 0, drop everything, to 3, nice to have; `overall_correctness` is "patch is \
correct" or "patch is incorrect"; scores go from 0 to 1.
"""
