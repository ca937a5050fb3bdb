"""The five services of one installation: commands, addresses, and which secret goes to whom."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.cli_errors import CommandError
from gateway.data_folder import DataFolder
from gateway.keeper import Service
from gateway.ports import free_port, require_free
from gateway.probes import HeartbeatProbe, HttpProbe, Probe

LOOPBACK = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[1]
PREFIXES = ("LLM_", "TOOLS_", "TRACES_", "GATEWAY_", "RLHF_", "ANNOTATION_")
OBJECTS = ("S3_", "AWS_")
"""Of the object store, which gateway and worker share and nobody else sees."""
KEEPERS = ("gateway", "rlhf")


@dataclass(frozen=True)
class Ports:
    """Where the services listen. Only the gateway asks the trace store: with 0 it gets a free port."""

    gateway: int = 8080
    llm: int = 8000
    tools: int = 9000
    traces: int = 0


def build_services(
    data: DataFolder, ports: Ports, environment: Mapping[str, str], *, model: str | None = None
) -> list[Service]:
    """The services in the order in which they become ready.

    A setting that the environment has wins over the one made here, but for addresses and folders, which
    have to agree between services. Each service receives only the settings of its own prefix: what is
    under GATEWAY_ (accounts, keys that decrypt) never reaches the process that parses documents.

    Raises:
        CommandError: `model` is given, and LLM_CONFIG says too what is served.
    """
    ports = replace(ports, traces=ports.traces or free_port())
    settings = _settings(data, ports, environment)
    if model:
        _refuse_two_answers(model, environment)
        settings["llm_server"]["LLM_MODEL"] = model

    def service(name: str, room: str, verb: str, probe: Probe, url: str = "") -> Service:
        own = name if name == "traces" else room  # a process of the gateway's room without its secrets
        env = service_environment(own, settings[own], environment)
        return Service(name, _python(room, verb), env, probe, url)

    llm, tools, gateway = _url(ports.llm), _url(ports.tools), _url(ports.gateway)
    traces = _url(ports.traces)
    return [
        service("llm_server", "llm_server", "serve", HttpProbe(f"{llm}/health"), llm),
        service("tools", "tools", "serve", HttpProbe(f"{tools}/health"), tools),
        service("traces", "gateway", "traces", HttpProbe(f"{traces}/health"), traces),
        service("gateway", "gateway", "serve", HttpProbe(f"{gateway}/health/live"), gateway),
        service("worker", "rlhf", "worker", HeartbeatProbe(data.run / "worker.json")),
    ]


def build_helper(worker: Service, run: Path, number: int) -> tuple[Service, Path]:
    """A further worker and its heartbeat. It may take as long to stop as the step that it does."""
    own = run / "workers" / str(number)
    env = {**worker.env, "RLHF_RUN": str(own), "RLHF_HELPER": "true", "RLHF_STOP_SECONDS": "86400"}
    heartbeat = own / "worker.json"
    return Service(f"worker-{number}", worker.command, env, HeartbeatProbe(heartbeat)), heartbeat


def _refuse_two_answers(model: str, environment: Mapping[str, str]) -> None:
    """llm_server serves what its file of models says, or one model."""
    file = environment.get("LLM_CONFIG")
    if file:
        raise CommandError(
            f"--model {model} and LLM_CONFIG={file} both say what is served",
            "leave one of them out, or write the model into the file",
        )


def require_free_ports(ports: Ports, environment: Mapping[str, str]) -> None:
    """Check all ports before anything starts.

    Raises:
        CommandError: a port is taken; names it, its owner and the option that changes it.
    """
    require_free(LOOPBACK, ports.llm, "--llm-port")
    require_free(LOOPBACK, ports.tools, "--tools-port")
    require_free(environment.get("GATEWAY_HOST", LOOPBACK), ports.gateway, "--gateway-port")


def prepare_command() -> list[str]:
    """The command that makes the files of the starter model and of the embedder."""
    return _python("llm_server", "prepare")


def service_environment(room: str, own: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of one service: everything but the settings of other rooms."""
    prefix = f"{room.split('_')[0].upper()}_"
    others = tuple(p for p in PREFIXES if p != prefix) + (() if room in KEEPERS else OBJECTS)
    rest = {k: v for k, v in environment.items() if not k.startswith(others)}
    path = os.pathsep.join(filter(None, (str(ROOT), environment.get("PYTHONPATH"))))
    return {**rest, **own, "PYTHONPATH": path}


def _python(room: str, verb: str) -> list[str]:
    # -P: a folder `tools` in the current folder must not be taken for ours.
    return [sys.executable, "-P", "-m", room, verb]


def _settings(data: DataFolder, ports: Ports, environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    def chosen(name: str, default: str) -> str:
        return environment.get(name) or default

    context_key = chosen("GATEWAY_CONTEXT_KEY", data.secret("context-key"))
    llm_key = chosen("LLM_API_KEY", data.secret("llm-api-key"))
    # The file wins over GATEWAY_ADMIN_KEY: the command line and scripts read the key from there.
    admin_key = data.admin_key()
    return {
        "llm_server": {
            "LLM_HOST": LOOPBACK,
            "LLM_PORT": str(ports.llm),
            "LLM_DATA": str(data.path / "models"),
            # The worker's adapters can be loaded while serving.
            "LLM_ADAPTER_FOLDERS": chosen(
                "LLM_ADAPTER_FOLDERS", f"{data.path / 'jobs'},{data.path / 'adapters'}"
            ),
            "LLM_API_KEY": llm_key,
            "LLM_ADMIN_KEY": chosen("LLM_ADMIN_KEY", admin_key),
            # Less than the time that the supervisor gives it to stop.
            "LLM_DRAIN_SECONDS": chosen("LLM_DRAIN_SECONDS", "5"),
        },
        "tools": {
            "TOOLS_HOST": LOOPBACK,
            "TOOLS_PORT": str(ports.tools),
            "TOOLS_DATA": str(data.path / "tools"),
            "TOOLS_UPLOADS": str(data.path / "gateway" / "uploads"),
            "TOOLS_CONTEXT_KEY": context_key,
            "TOOLS_LLM_URL": f"{_url(ports.llm)}/v1",
            "TOOLS_LLM_API_KEY": llm_key,
            "TOOLS_GATEWAY_URL": _url(ports.gateway),
        },
        "traces": {
            "TRACES_HOST": LOOPBACK,
            "TRACES_PORT": str(ports.traces),
            "TRACES_DATA": str(data.path),
        },
        "gateway": {
            "GATEWAY_HOST": chosen("GATEWAY_HOST", LOOPBACK),
            "GATEWAY_PORT": str(ports.gateway),
            "GATEWAY_DATA": str(data.path),
            "GATEWAY_CONTEXT_KEY": context_key,
            "GATEWAY_SECRET_KEY": chosen("GATEWAY_SECRET_KEY", data.secret("fernet-key")),
            "GATEWAY_ADMIN_KEY": admin_key,
            "GATEWAY_LLM_URL": chosen("GATEWAY_LLM_URL", f"{_url(ports.llm)}/v1"),
            "GATEWAY_LLM_API_KEY": chosen("GATEWAY_LLM_API_KEY", llm_key),
            "GATEWAY_LLM_ADMIN_KEY": chosen("GATEWAY_LLM_ADMIN_KEY", chosen("LLM_ADMIN_KEY", admin_key)),
            "GATEWAY_JOBS_URL": chosen("GATEWAY_JOBS_URL", environment.get("RLHF_JOBS_URL", "")),
            "GATEWAY_STEPS": chosen("GATEWAY_STEPS", environment.get("RLHF_STEPS", "")),
            "GATEWAY_TOOLS_URL": _url(ports.tools),
            "GATEWAY_TRACES_URL": _url(ports.traces),
            **_label_studio(environment),
        },
        "rlhf": {
            "RLHF_DATA": str(data.path / "jobs"),
            "RLHF_MODELS": str(data.path / "models"),
            "RLHF_RUN": str(data.run),
            "RLHF_SERVER_URL": chosen("RLHF_SERVER_URL", f"{_url(ports.llm)}/v1"),
            "RLHF_SERVER_KEY": chosen("RLHF_SERVER_KEY", chosen("LLM_ADMIN_KEY", admin_key)),
            "RLHF_GATEWAY_URL": chosen("RLHF_GATEWAY_URL", _url(ports.gateway)),
            "RLHF_GATEWAY_KEY": chosen("RLHF_GATEWAY_KEY", admin_key),
        },
    }


def _label_studio(environment: Mapping[str, str]) -> dict[str, str]:
    """What `loopyard annotate` is told, for the gateway, which deletes tasks there."""
    told = {
        f"GATEWAY_LABEL_STUDIO_{name}": [f"ANNOTATION_LABEL_STUDIO_{name}", f"LABEL_STUDIO_{other}"]
        for name, other in (("URL", "URL"), ("TOKEN", "API_KEY"))
    }
    found = {ours: next(filter(None, map(environment.get, theirs)), "") for ours, theirs in told.items()}
    return {ours: value for ours, value in found.items() if value and not environment.get(ours)}


def _url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


def read_environment(folder: Path) -> dict[str, str]:
    """The environment, completed from a `.env` file in a folder; a variable that is set wins."""
    from dotenv import dotenv_values

    file = {name: value for name, value in dotenv_values(folder / ".env").items() if value is not None}
    return {**file, **os.environ}
