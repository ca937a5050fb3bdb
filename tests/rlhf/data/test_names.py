"""Names and places: a model that the operator has put on the machine, and nothing else."""

from collections import Counter
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from rlhf.data.build import Plan, build
from rlhf.data.light import TRAINERS, without
from rlhf.data.pii import Redactor, configured, redact
from rlhf.errors import SettingsError
from rlhf.pipelines.standard import KINDS
from rlhf.records import write_jsonl
from rlhf.settings import Settings
from tests.rlhf.rows import row


@pytest.fixture(autouse=True)
def _settings_of_the_test() -> Iterator[None]:
    """What another test set is forgotten, and what this one sets too."""
    configured.cache_clear()
    yield
    configured.cache_clear()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spaCy model on the disk: rules instead of a network, loaded the same way."""
    with without(*TRAINERS):
        import spacy
        from spacy.pipeline import EntityRuler
    read = spacy.blank("en", meta={"name": "rules", "version": "1.0.0"})
    rules: list[dict[str, str | list[dict[str, Any]]]] = [
        {"label": "PERSON", "pattern": "Ada Lovelace"},
        {"label": "GPE", "pattern": "Berlin"},
        {"label": "ORG", "pattern": "Loopyard"},
    ]
    ruler = read.add_pipe("entity_ruler")
    assert isinstance(ruler, EntityRuler)
    ruler.add_patterns(rules)
    folder = tmp_path_factory.mktemp("models") / "rules"
    read.to_disk(folder)
    return folder


def test_names_and_places_are_replaced_and_counted(model: Path) -> None:
    redactor, found = Redactor(("US",), str(model)), Counter[str]()
    said = "Ada Lovelace of Loopyard, ada@example.org, moves to Berlin."
    assert redactor.redact(said, found) == "<PERSON> of Loopyard, <EMAIL>, moves to <PLACE>."
    assert found == {"PERSON": 1, "EMAIL": 1, "PLACE": 1}
    assert redactor.facts["names"] == "en_rules 1.0.0"


def test_a_text_that_is_longer_than_spacy_reads_is_read(model: Path) -> None:
    found: Counter[str] = Counter()
    text = "word " * 250_000 + "Berlin"
    assert Redactor(("US",), str(model)).redact(text, found).endswith("word <PLACE>")


def test_without_a_model_names_stay() -> None:
    assert Redactor(("US",)).redact("Ada Lovelace, Berlin", Counter()) == "Ada Lovelace, Berlin"


@pytest.mark.parametrize("wrong", ["/nowhere/model", "en_core_web_lg", "no-name", "rlhf"])
def test_a_model_that_is_not_there_is_an_error_at_the_start(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLHF_PII_MODEL", wrong)
    with pytest.raises(SettingsError, match=rf"RLHF_PII_MODEL={wrong}: there is no spaCy model .* leave it"):
        Settings.from_environment()


def test_a_damaged_model_is_an_error_that_names_it(model: Path, tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises(SettingsError, match=r"its meta\.json makes no sense"):
        Redactor(("US",), str(tmp_path))
    (tmp_path / "meta.json").write_bytes((model / "meta.json").read_bytes())
    with pytest.raises(SettingsError, match=r"cannot be loaded.*config\.cfg"):
        Redactor(("US",), str(tmp_path)).redact("Ada Lovelace", Counter())


def test_settings_say_which_countries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLHF_PII_REGIONS", "ch, at")
    assert Settings.from_environment().phone_regions == ("AT", "CH")
    monkeypatch.setenv("RLHF_PII_REGIONS", "DE,Germany")
    with pytest.raises(SettingsError, match=r"RLHF_PII_REGIONS=DE,Germany: unknown 'GERMANY'; name "):
        Settings.from_environment()


def test_the_settings_are_used(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLHF_PII_MODEL", str(model))
    assert redact("Berlin", Counter()) == "<PLACE>"


def test_a_dataset_says_what_found_personal_data(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "rows.jsonl"
    write_jsonl(source, [row(f"Question {at} about Berlin, {'x' * at} please") for at in range(1, 30)])
    plain, _ = build([source], tmp_path / "plain", Plan())
    assert "redacted_by" not in plain["transform"]
    digests = set()
    for wanted, card in ("", "Names and places are not looked for."), (str(model), "by en_rules 1.0.0."):
        monkeypatch.setenv("RLHF_PII_MODEL", wanted)
        configured.cache_clear()
        out = tmp_path / f"set{len(wanted)}"
        manifest, _ = build([source], out, Plan(redact_pii=True))
        assert manifest["transform"]["redacted_by"] == configured().facts
        assert configured().facts["phone_regions"] == ["DE", "FR", "GB", "IN", "US"]
        assert card in (out / "README.md").read_text()
        assert ("Berlin" in (out / "train.jsonl").read_text()) == (wanted == "")
        digests.add(manifest["digest"])
    assert len(digests) == 2


def test_a_step_is_done_again_when_something_else_finds_personal_data(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [kind] = [kind for kind in KINDS if kind.name == "dataset"]
    assert kind.depends is not None
    assert kind.depends(kind.parameters.model_validate({})) is None
    redacting = kind.parameters.model_validate({"redact_pii": True})
    before = kind.depends(redacting)
    monkeypatch.setenv("RLHF_PII_MODEL", str(model))
    configured.cache_clear()
    assert kind.depends(redacting) != before


def test_without_presidio_nothing_is_looked_for_by_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("rlhf.data.pii.version", absent)
    with pytest.raises(SettingsError, match=r"presidio-analyzer, which is not installed: .* extra `rlhf`"):
        redact("nothing personal", Counter())
