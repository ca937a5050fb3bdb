"""What can go wrong while an agent thinks.

GraphsError                 500  base of the room
 |- SpecError               500  an agent's YAML file is wrong: file, line, field
 |- UnknownAgent            404  no agent of that name; the text names those that exist
 |- UnknownModel            404  the model server does not serve the agent's model
 |- PromptTooLong           400  the question does not fit the model's context
 |- ModelRefused            502  the model server answered with an error of its own
 |- ModelUnavailable        502  the model server cannot be reached or is loading; retryable
 |- ToolsUnavailable        502  the tools service cannot be reached or died in mid-call; retryable
 '- ToolsRefused            502  the tools service refused the caller's identity

Control flow has a base of its own, because a limit that was reached is an outcome and not a fault:

RunStopped
 |- StepLimit               the agent used up its steps
 '- TimeLimit               the agent used up its time; retryable
"""

from __future__ import annotations


class GraphsError(Exception):
    """Base of the room. `status` is the HTTP status that an edge answers with; `retryable` means that
    the same request can succeed later without a change."""

    status = 500
    code = "agent_error"
    retryable = False


class SpecError(GraphsError):
    """An agent's YAML file cannot be used; the text is `file:line: field: what is wrong`."""

    code = "invalid_agent"


class UnknownAgent(GraphsError):
    status = 404
    code = "agent_not_found"


class UnknownModel(GraphsError):
    status = 404
    code = "model_not_found"


class PromptTooLong(GraphsError):
    status = 400
    code = "context_length_exceeded"


class ModelRefused(GraphsError):
    status = 502
    code = "model_error"


class ModelUnavailable(GraphsError):
    status = 502
    code = "model_unavailable"
    retryable = True


class ToolsUnavailable(GraphsError):
    status = 502
    code = "tools_unavailable"
    retryable = True


class ToolsRefused(GraphsError):
    status = 502
    code = "tools_refused"


class RunStopped(Exception):
    """Base of control flow: the run ended before its answer because a limit was reached."""

    status = 504
    code = "run_stopped"
    retryable = False


class StepLimit(RunStopped):
    status = 500
    code = "step_limit"


class TimeLimit(RunStopped):
    code = "time_limit"
    retryable = True
