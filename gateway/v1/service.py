"""OpenAI's chat completions in terms of agents, projects and conversations."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.chat.service import Ask
from gateway.errors import BadRequest
from gateway.policy import Caller
from gateway.projects.store import Project
from gateway.v1.schemas import ChatCompletionIn, MessageIn
from gateway.v1.wording import without_footer
from gateway.wiring import Services

SYSTEM = ("system", "developer")


def agent_and_project(model: str) -> tuple[str, str | None]:
    """`general@handbook` is the agent general in the project handbook."""
    agent, _, project = model.partition("@")
    return agent, project or None


async def find_project(services: Services, caller: Caller, model: str, header: str | None) -> Project:
    _, named = agent_and_project(model)
    reference = named or header or caller.project_id or services.settings.default_project
    project: Project = await services.projects.get(caller, reference)
    return project


async def question(services: Services, caller: Caller, project: Project, asked: ChatCompletionIn) -> Ask:
    """The last user message as a question; what comes before it is the history.

    A client that sends back what it was told goes on in the conversation that was stored then.
    """
    agent, _ = agent_and_project(asked.model)
    messages = asked.messages
    if messages[-1].role != "user":
        raise BadRequest("The last message must be the user's.", param="messages")
    for message in messages:
        if message.other_parts:
            kinds = ", ".join(sorted(message.other_parts))
            raise BadRequest(f"Agents read text; this message has {kinds}.", param="messages")
    history = text_history(messages[:-1])
    conversation = await services.conversations.recognise(caller, project.id, agent, history)
    return Ask(
        agent=agent,
        text=messages[-1].text,
        conversation_id=conversation,
        history=history,
        system="\n\n".join(m.text for m in messages if m.role in SYSTEM and m.text),
        sampling=asked.sampling,
    )


def text_history(messages: Sequence[MessageIn]) -> list[tuple[str, str]]:
    """(role, text) of what was asked and answered, without the footers that were put under answers."""
    said = [m for m in messages if m.role in ("user", "assistant") and m.text]
    return [(m.role, without_footer(m.text) if m.role == "assistant" else m.text) for m in said]
