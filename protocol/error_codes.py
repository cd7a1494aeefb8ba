"""Every code that an error, a refused op or a failed turn can have: the one closed list.

Codes are stable: scripts and clients compare them, never the text of an error. Each entry says
what happened and what to do. The page of errors in the documentation is made from this list.
"""

from enum import StrEnum


class ErrorCode(StrEnum):
    """A code. Its value is the text that logs, scripts and clients have."""

    happened: str
    advice: str

    def __new__(cls, code: str, happened: str, advice: str) -> "ErrorCode":
        member = str.__new__(cls, code)
        member._value_ = code
        member.happened, member.advice = happened, advice
        return member

    ADDRESS_UNAVAILABLE = (
        "address_unavailable",
        "The server cannot listen there: the port is in use, or the host is not this machine.",
        "Choose another port, or none: then a free one is taken.",
    )
    AGENT_IDLE = (
        "agent_idle",
        "The agent is idle, so there is no turn that could be steered.",
        "Give it a prompt.",
    )
    AMBIGUOUS_QUESTION = (
        "ambiguous_question",
        "Several open questions fit.",
        "Give the id of one; the text lists them.",
    )
    AMBIGUOUS_SESSION = (
        "ambiguous_session",
        "Several sessions have an id that begins like this, or this name.",
        "Give more of the id; the text lists the sessions.",
    )
    ARGUMENT_INVALID = (
        "argument_invalid",
        "A value that was passed is not allowed. Nothing was stored.",
        "Pass what the text names as allowed.",
    )
    BAD_REQUEST = (
        "bad_request",
        "The provider refused the request to the model. The text is the provider's.",
        "Correct what the text names: often the name of the model, or a setting.",
    )
    CANCELLED = (
        "cancelled",
        "The turn was stopped during a request to the model.",
        "Nothing. Send another prompt when you want to continue.",
    )
    CLOSING = (
        "closing",
        "The session is being closed, so it takes no more work.",
        "Resume the session, then send the op again.",
    )
    COMMAND_NOT_STARTED = (
        "command_not_started",
        "Nothing ran: a program or a folder is missing, or the system has no room for a process.",
        "Check the program and its folder, or end other programs. The text has the reason.",
    )
    COMPACTION_STALLED = (
        "compaction_stalled",
        "The turn was stopped: it was made shorter several times in a row, with no other result.",
        "Give a smaller task, fork at an earlier event, or use a model with a larger window.",
    )
    CONFIG_INVALID = (
        "config_invalid",
        "A value, a key or a file of the configuration cannot be used. The text names it.",
        "Correct it there. `turnlog config` shows where each value comes from.",
    )
    CONNECTION_FAILED = (
        "connection_failed",
        "The provider of the model could not be reached.",
        "Check `base_url` and the network. A new prompt tries again.",
    )
    CONTEXT_WINDOW_EXCEEDED = (
        "context_window_exceeded",
        "The conversation is longer than the model takes, and cannot be made shorter.",
        "Fork the session at an earlier event, or use a model with a larger window.",
    )
    CRASHED = (
        "crashed",
        "A tool, or a task of turnlog, raised an exception. The text has it.",
        "Correct the tool. If the exception is turnlog's own, please report it.",
    )
    CREDENTIAL_MISSING = (
        "credential_missing",
        "A provider needs an API key, and none was found.",
        "Set the variable that the text names, or `env_key`, `key_command` or `keyring`.",
    )
    DEMO_FAILED = (
        "demo_failed",
        "Something that the demo shows does not hold here. The text has the reason.",
        "`turnlog doctor` says what this machine lacks.",
    )
    DUPLICATE_OP = (
        "duplicate_op",
        "The session has done an op with this id already. It was not done again.",
        "Nothing, if you sent the op twice. For a new op, use a new id.",
    )
    EMPTY_INPUT = (
        "empty_input",
        "The op has no text and no image, so there is nothing to do.",
        "Send an op with a text.",
    )
    ENVIRONMENT_FAULT = (
        "environment_fault",
        "The machine refused something: a file, memory, a thread, a permission.",
        "Do what the text says. Nothing is wrong with turnlog, nor with the request.",
    )
    EVENT_INVALID = (
        "event_invalid",
        "An event holds a value that the log could not give back. It was not stored.",
        "Correct the value that the text names.",
    )
    FAILED = (
        "failed",
        "A part of the turn ended without a result. The text says why.",
        "Correct the cause, then send the prompt again.",
    )
    FROM_ELSEWHERE = (
        "from_elsewhere",
        "The op was left for the session before the session was brought to this store.",
        "Send the op again.",
    )
    HOME_UNKNOWN = (
        "home_unknown",
        "No folder is known in which turnlog could keep anything.",
        "Set TURNLOG_HOME to an absolute path.",
    )
    IDLE_TIMEOUT = (
        "idle_timeout",
        "The provider of the model sent nothing for too long.",
        "Send the prompt again, or raise `stream_idle_timeout_ms`.",
    )
    INPUT_UNREADABLE = (
        "input_unreadable",
        "A file, a folder or a stream that the user named cannot be read.",
        "Check its path and its permissions.",
    )
    INTERNAL_ERROR = (
        "internal_error",
        "turnlog has a defect. What is in the log is safe.",
        "Please report it, with the traceback that TURNLOG_DEBUG=1 shows.",
    )
    INTERRUPTED = (
        "interrupted",
        "The turn was interrupted by somebody else, so it has no answer.",
        "Nothing. Send another prompt when you want to continue.",
    )
    INVALID_RESPONSE = (
        "invalid_response",
        "The answer of the provider is not what the Responses API describes.",
        "Check that `base_url` belongs to a provider of this API.",
    )
    LOG_DAMAGED = (
        "log_damaged",
        "Stored bytes are not what was written. The rest of the store stays readable.",
        "Fork the session before the damage; `turnlog doctor` reports all of it.",
    )
    LOG_PAUSED = (
        "log_paused",
        "The disk is full or fails. Sessions can be read, not written.",
        "Make room. Writing then resumes without a restart.",
    )
    NO_SUCH_QUESTION = (
        "no_such_question",
        "No open question has this id. It may have been answered, or its turn is over.",
        "List the open questions with `turnlog approvals`.",
    )
    NOT_DONE = (
        "not_done",
        "The session took the op, but did not complete it. The text says why.",
        "Correct the cause, then give the command again.",
    )
    NOT_ON_TRIO = (
        "not_on_trio",
        "An engine was opened outside of a trio program.",
        "Start one with `trio.run(main)`; in asyncio, run that in a thread, or use the guest mode "
        "of trio.",
    )
    NOT_RESUMED = (
        "not_resumed",
        "The session was opened for maintenance only.",
        "Resume the session, then send the op again.",
    )
    NOT_RUNNING = (
        "not_running",
        "No process runs the session, so there is no turn to steer or to stop.",
        "Resume the session with `turnlog exec resume ID`.",
    )
    NOT_SUPPORTED = (
        "not_supported",
        "This version of turnlog has no such op for a session.",
        "Use another op, or a newer turnlog.",
    )
    NOT_TAKEN = (
        "not_taken",
        "The op waits in the session's inbox: the process that runs the session did not take it in "
        "time.",
        "Wait: the op is done when a process takes it. Nothing is lost.",
    )
    NOTHING_RECORDED = (
        "nothing_recorded",
        "A replay needs something that did not happen in the recording.",
        "Accept the changed decisions, or record the session again.",
    )
    NOTHING_TO_CONTINUE = (
        "nothing_to_continue",
        "No turn of the session was cut off, and no prompt was given.",
        "Give a prompt.",
    )
    NOTHING_TO_REDO = (
        "nothing_to_redo",
        "The last thing that was done in the session was no undo.",
        "Nothing. Only the newest undo can be taken back.",
    )
    NOTHING_TO_RERUN = (
        "nothing_to_rerun",
        "No input of a user comes after the chosen event.",
        "Choose an earlier event with `--at`.",
    )
    NOTHING_TO_UNDO = (
        "nothing_to_undo",
        "The session has fewer turns that can be undone than the op asks for.",
        "Undo fewer turns. To go further back, fork the session at an earlier event.",
    )
    OUTPUT_UNWRITABLE = (
        "output_unwritable",
        "A file that the user named, or stdout, cannot be written.",
        "Name a file in a folder that exists and that you may write.",
    )
    OVERLOADED = (
        "overloaded",
        "Too many ops wait for the session. Nothing was queued.",
        "Send the op again later.",
    )
    PARKED = (
        "parked",
        "The session was closed with a question open, and waits for the answer.",
        "Answer with `turnlog approve`, then resume the session.",
    )
    PATCH_INVALID = (
        "patch_invalid",
        "A patch cannot be parsed, or does not fit the files. No file was changed.",
        "Read the files again and make a new patch.",
    )
    PATCH_NOT_WRITTEN = (
        "patch_not_written",
        "The disk, the sandbox or another program stopped a patch that fits.",
        "Check the files that the text names as written, then try again.",
    )
    PORTABLE_INVALID = (
        "portable_invalid",
        "A portable session file is not what was written. What comes before the line is good.",
        "Restore the file, or export the session again. In Python, `flaw` says what is wrong; it "
        "is stable: empty, header, version, torn, json, order, time, event, count, digest.",
    )
    PROMPT_MISSING = (
        "prompt_missing",
        "No prompt was given, neither as an argument nor on stdin.",
        "Give one.",
    )
    QUESTION_ANSWERED = (
        "question_answered",
        "The question has been answered already. A question takes one answer only.",
        "Nothing is left to do.",
    )
    QUESTION_NOT_FOUND = (
        "question_not_found",
        "No open question has this id.",
        "List the open questions with `turnlog approvals`.",
    )
    QUOTA_EXCEEDED = (
        "quota_exceeded",
        "The account at the provider has no quota left.",
        "Check the plan and the billing of the account, or use another provider.",
    )
    RATE_LIMITED = (
        "rate_limited",
        "The provider gets too many requests from this account for now.",
        "Wait, then send the prompt again.",
    )
    RECORDED_FAILURE = (
        "recorded_failure",
        "A turn could not begin when it was recorded. The text is the recorded one.",
        "Rerun the session live to see the result of today.",
    )
    RECORDING_MISS = (
        "recording_miss",
        "A recording was asked for something that it does not hold. Nothing was called live.",
        "Compare with the nearest entry that the text shows. Record again if the change is meant.",
    )
    RERECORDING_REFUSED = (
        "rerecording_refused",
        "The decisions of today do not fit the recorded facts. The file was left alone.",
        "Record the session once more with the code of today.",
    )
    RESPONSE_INCOMPLETE = (
        "response_incomplete",
        "The provider ended the response before it was whole.",
        "Send the prompt again. If it happens again, ask for less at a time.",
    )
    ROLLOUT_EMPTY = (
        "rollout_empty",
        "A file to be imported is empty.",
        "Name another file.",
    )
    ROLLOUT_INVALID = (
        "rollout_invalid",
        "A file to be imported holds no line of a recorded session.",
        "Name a rollout of Codex, or a file that `turnlog export` has written.",
    )
    SANDBOX_UNAVAILABLE = (
        "sandbox_unavailable",
        "Commands cannot be confined on this machine as the settings ask. Nothing was run.",
        "Do what the text names for each mechanism, or choose another `sandbox_mode`.",
    )
    SCHEMA_TOO_NEW = (
        "schema_too_new",
        "A newer turnlog has written this, or a build from before the first release.",
        "Upgrade turnlog.",
    )
    SCRIPT_INVALID = (
        "script_invalid",
        "A script for the scripted model cannot be read. The text names the line.",
        "Correct the script.",
    )
    SEQUENCE_OUT_OF_RANGE = (
        "sequence_out_of_range",
        "The session has no event with this sequence.",
        "Give a sequence within the range that the text names.",
    )
    SERVER_ERROR = (
        "server_error",
        "The provider answered with an error of its own (5xx).",
        "Wait, then send the prompt again.",
    )
    SESSION_BUSY = (
        "session_busy",
        "Another engine is the session's writer.",
        "Follow the session, fork it, or wait until it is released.",
    )
    SESSION_CLOSED = (
        "session_closed",
        "The session was closed in this program, and took no more ops.",
        "Resume the session, then send the op again.",
    )
    SESSION_EXISTS = (
        "session_exists",
        "The store already has a session with the id of the imported one.",
        "Import the file under an id of its own, with `--new-id`.",
    )
    SESSION_NOT_FOUND = (
        "session_not_found",
        "No session has this id, an id that begins like this, this name, or this place in the "
        "list.",
        "List the sessions with `turnlog sessions`.",
    )
    STEP_FAILED = (
        "step_failed",
        "turnlog failed while it decided about a fact. The session continues without that step.",
        "Please report it. Then send the op again, or fork the session before it.",
    )
    STORE_DAMAGED = (
        "store_damaged",
        "Pages of the store's file are not what was written, so that it is not written to.",
        "What is sound can be read and exported; `turnlog doctor --repair` moves it into a new "
        "file.",
    )
    STORE_ERROR = (
        "store_error",
        "The event log cannot do what was asked.",
        "Do what the text says; `turnlog doctor` checks the store.",
    )
    STORE_UNSUITABLE = (
        "store_unsuitable",
        "The folder cannot hold a store: a network file system, a file, no permission.",
        "Choose another folder with TURNLOG_HOME, or correct what the text names.",
    )
    STREAM_DISCONNECTED = (
        "stream_disconnected",
        "The connection to the provider was cut off during a response.",
        "Check the network. A new prompt tries again.",
    )
    TOLERANCE_UNKNOWN = (
        "tolerance_unknown",
        "A tolerance has no such name, or its pattern is not a regular expression.",
        "Use one of the names that the text lists.",
    )
    TOOL_INVALID = (
        "tool_invalid",
        "What was given as a tool cannot be called by a model.",
        "Correct what the text names; `turnlog.Tool` has what a tool needs.",
    )
    TURN_CUT_OFF = (
        "turn_cut_off",
        "The session's last turn was cut off, and has to end first.",
        "Resume the session with `turnlog exec resume ID`.",
    )
    TURN_NOT_FOUND = (
        "turn_not_found",
        "The session has no such turn.",
        "`turnlog show ID` lists the turns.",
    )
    TURN_RUNNING = (
        "turn_running",
        "A turn runs, and the op needs an idle session.",
        "Wait for the turn's end, or interrupt it.",
    )
    UNAUTHORIZED = (
        "unauthorized",
        "The provider did not accept the API key, or needs one.",
        "Check the key, and that it belongs to this provider.",
    )
    USAGE_ERROR = (
        "usage_error",
        "The request itself is wrong. Nothing was done.",
        "Correct it as the text says.",
    )
    USAGE_LIMIT_REACHED = (
        "usage_limit_reached",
        "The plan's limit is used up. The text says until when.",
        "Wait until then, or use another provider.",
    )
    WRITE_LOST = (
        "write_lost",
        "A write was refused or unanswered, so the session's state in memory was dropped.",
        "Resume the session. Send the op again with the same id: it is done once.",
    )
