"""The file of models on the command line."""

from pathlib import Path

from llm_server.doctor import Finding, examine
from llm_server.settings import Settings
from tests.llm_server.config.broken import GOOD


def model_finding(path: Path) -> Finding:
    return next(one for one in examine(Settings(config=path, backend="echo")) if one.what == "model")


def test_the_doctor_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(GOOD)
    assert model_finding(path) == Finding("model", True, f"first, second, in {path}")
    path.write_text(GOOD.replace("engine: echo", "engine: ecko", 1))
    assert not model_finding(path).good
    assert f"{path}:3:13: " in model_finding(path).text
