"""Setting up: what replaces what."""

import importlib.metadata
import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from setup import Packages, pinned

from gateway.doctor import installed


def make_wheel(folder: Path, name: str, version: str) -> None:
    """A package whose only module is onnxruntime, and says who brought it."""
    dist = f"{name.replace('-', '_')}-{version}"
    meta = f"{dist}.dist-info"
    files = {
        "onnxruntime/__init__.py": f"brought = {name!r}\n",
        f"{meta}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{meta}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{dist}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        listed = "".join(f"{path},,\n" for path in files)
        wheel.writestr(f"{meta}/RECORD", f"{listed}{meta}/RECORD,,\n")


def ask(packages: Packages, code: str) -> str:
    command = [str(packages.python), "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    """An environment with onnxruntime as the lock file pins it, and an index that is a folder."""
    version = pinned("onnxruntime").partition("==")[2]
    make_wheel(tmp_path / "index", "onnxruntime", version)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    made = Packages(tmp_path / "cache")
    venv.create(made.folder, with_pip=True)
    pip = [str(made.python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "onnxruntime"]
    subprocess.run(pip, check=True)
    return made


WHO = "import onnxruntime; print(onnxruntime.brought)"
NAMES = (
    "import importlib.metadata as m, json;"
    "print(json.dumps(sorted(d.name for d in m.distributions() if 'onnx' in d.name)))"
)


def test_the_runtime_for_cuda_takes_the_place_of_the_other(packages: Packages, tmp_path: Path) -> None:
    packages.replace_onnxruntime()
    assert ask(packages, WHO) == "onnxruntime"
    make_wheel(tmp_path / "index", "onnxruntime-gpu", pinned("onnxruntime").partition("==")[2])
    packages.replace_onnxruntime()
    assert ask(packages, WHO) == "onnxruntime-gpu"
    assert json.loads(ask(packages, NAMES)) == ["onnxruntime-gpu"]
    packages.replace_onnxruntime()
    assert ask(packages, WHO) == "onnxruntime-gpu"


def test_the_doctors_know_both(tmp_path: Path) -> None:
    make_wheel(tmp_path / "index", "onnxruntime-gpu", "1.0")
    with zipfile.ZipFile(next((tmp_path / "index").glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "both")
    code = "from llm_server.doctor import examine; from llm_server.settings import Settings;"
    code += "print([f.text for f in examine(Settings(port=0)) if f.what == 'ONNX Runtime' and not f.good])"
    # Behind the real one on the path: its metadata is found, its module is not.
    code = f"import sys; sys.path.append({str(tmp_path / 'both')!r}); {code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in done.stdout
    assert installed("onnxruntime") == importlib.metadata.version("onnxruntime")
    alone = f"sys.path = [{str(tmp_path / 'both')!r}]; print(installed('onnxruntime'))"
    code = f"import sys; from gateway.doctor import installed; {alone}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1.0"
    assert installed("no-such-package") is None
