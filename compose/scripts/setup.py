"""Set the project up: packages, native build, console, models. Run by `make run` and `make test`.

    python3 compose/scripts/setup.py run     what running needs
    python3 compose/scripts/setup.py test    the same, and what the tests need

Standard library only, because nothing is installed yet. Everything lands in a cache folder
(LOOPYARD_CACHE, by default ~/.cache/loopyard) keyed by the lock files, so that a second clone or
a second run reuses it; `.venv` in the project is a thin layer over that cache.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from chromium import find_chromium
from console_log import run_logged, say, step
from setup_label_studio import LABEL_STUDIO
from setup_langfuse_sdks import LANGFUSE_SDKS
from setup_s3_server import S3_SERVER

ROOT = Path(__file__).resolve().parents[2]
CONSOLE = ROOT / "gateway" / "console"
LOCK, DEV_LOCK = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def cache_folder() -> Path:
    """Where packages and builds are kept between clones."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "loopyard"
    return Path(os.environ.get("LOOPYARD_CACHE", default))


def digest(*paths: Path) -> str:
    """Twelve hex digits over the contents of files."""
    total = hashlib.sha256()
    for path in paths:
        total.update(path.read_bytes())
    return total.hexdigest()[:12]


def pinned(package: str) -> str:
    """The requirement line of a package in the lock file, such as `torch==2.13.0`."""
    for line in LOCK.read_text().splitlines():
        if line.startswith(f"{package}=="):
            return line
    raise SystemExit(f"{LOCK.name} pins no {package}; run `make lock`")


def check_prerequisites() -> None:
    """Stop early, with the remedy, where a tool that no package brings is missing."""
    if sys.version_info < (3, 11):
        raise SystemExit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    needs = {"node": "nodejs (20 or newer)", "npm": "npm", "g++": "g++", "make": "make"}
    missing = [package for tool, package in needs.items() if not shutil.which(tool)]
    if missing or not header.exists():
        wanted = ", ".join(missing) or "python3-dev"
        remedy = "On Debian: apt-get install g++ make python3-dev python3-venv nodejs npm"
        raise SystemExit(f"Missing: {wanted}. {remedy}")
    major = int(subprocess.check_output(["node", "--version"], text=True).lstrip("v").split(".")[0])
    if major < 20:
        raise SystemExit(f"Node.js 20 or newer is needed to build the console, this is {major}")


def has_nvidia_gpu() -> bool:
    """Whether a CUDA build of torch would be of use here."""
    return (
        shutil.which("nvidia-smi") is not None
        and subprocess.call(["nvidia-smi", "-L"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    )


class Packages:
    """The cached environment of one lock file."""

    def __init__(self, cache: Path) -> None:
        python = f"py{sys.version_info.major}{sys.version_info.minor}"
        self.cache = cache
        self.folder = cache / f"venv-{python}-{digest(LOCK, DEV_LOCK)}"
        self.python = self.folder / "bin" / "python"

    def install(self, profile: str) -> None:
        """Install what a profile needs, unless an earlier run finished it."""
        self._packages(profile)
        if has_nvidia_gpu():
            self.replace_onnxruntime()

    def _packages(self, profile: str) -> None:
        done = self.folder / f".{profile}-complete"
        if done.exists():
            return
        if not self.python.exists():
            with step(f"Making the environment in {self.folder}"):
                venv.create(self.folder, with_pip=True)
        if not (self.folder / ".run-complete").exists():
            self._runtime()
            (self.folder / ".run-complete").touch()
        if profile == "test":
            self._pip("Installing what the tests need", "--no-deps", "-r", str(DEV_LOCK))
            done.touch()

    def replace_onnxruntime(self) -> None:
        """Put onnxruntime-gpu (the extra `cuda`) where onnxruntime is, once. Both write the same folder: one
        has to go before the other comes. Where the other cannot be had, the one for processors stays.
        """
        done, gpu = self.folder / ".cuda-complete", pinned("onnxruntime").replace("==", "-gpu==", 1)
        if done.exists():
            return
        wheels, pip = self.cache / "wheels" / gpu.replace("==", "-"), [str(self.python), "-m", "pip"]
        quiet = ["--disable-pip-version-check", "--no-deps"]
        fetch = [*pip, "download", *quiet, "--only-binary", ":all:", "-d", str(wheels), gpu]
        try:
            run_logged(f"Downloading {gpu}", fetch, self._log("cuda"))
        except SystemExit:
            say(
                f"    {gpu} cannot be had, see {self._log('cuda')}: ONNX models are computed on the processor"
            )
            return
        remove = [*pip, "uninstall", "--disable-pip-version-check", "-y", "onnxruntime"]
        run_logged("Removing onnxruntime", remove, self._log("cuda"))
        self._pip(f"Installing {gpu}", "--no-deps", str(next(wheels.glob("*.whl"))))
        done.touch()

    def _runtime(self) -> None:
        torch = pinned("torch")
        self._pip("Updating pip", "-U", "pip", "setuptools", "wheel")
        extra = [] if has_nvidia_gpu() else ["--extra-index-url", TORCH_CPU_INDEX]
        # On a CPU the CPU build sorts first ("2.13.0+cpu"); without its index pip takes what it has.
        self._pip(f"Installing {torch}", *extra, "--retries", "1", torch)
        self._pip("Installing llama-cpp-python", "--no-deps", str(self._llama_wheel()))
        self._pip("Installing the locked packages (about 2 min)", "--no-deps", "-r", str(LOCK))

    def _llama_wheel(self) -> Path:
        """Build llama.cpp for this machine's processor once."""
        requirement = pinned("llama-cpp-python")
        wheels = self.cache / "wheels" / requirement.replace("==", "-")
        if not list(wheels.glob("*.whl")):
            building = wheels.with_suffix(".building")
            shutil.rmtree(building, ignore_errors=True)
            env = os.environ | {"CMAKE_ARGS": os.environ.get("CMAKE_ARGS", "-DLLAVA_BUILD=OFF")}
            command = [str(self.python), "-m", "pip", "wheel", "-v", "--no-deps"]
            command += ["-w", str(building), requirement]
            run_logged(f"Building {requirement} (3 to 10 min, once)", command, self._log("llama"), env=env)
            building.rename(wheels)
        return next(wheels.glob("*.whl"))

    def _pip(self, title: str, *arguments: str) -> None:
        command = [str(self.python), "-m", "pip", "install", "--disable-pip-version-check", *arguments]
        run_logged(title, command, self._log("pip"))

    def _log(self, name: str) -> Path:
        return self.cache / "logs" / f"{name}.log"


def link_environment(packages: Path) -> Path:
    """Make `.venv`: the cached packages plus this working tree, so that clones never share code."""
    python = ROOT / ".venv" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    cached = packages / "lib" / version / "site-packages"
    layer = ROOT / ".venv" / "lib" / version / "site-packages" / "loopyard.pth"
    text = f"import site; site.addsitedir({str(cached)!r})\n{ROOT}\n"
    done = layer.with_name("loopyard-complete")
    if not (done.exists() and layer.exists() and layer.read_text() == text):
        shutil.rmtree(ROOT / ".venv", ignore_errors=True)
        venv.create(ROOT / ".venv", with_pip=False, symlinks=True)
        layer.write_text(text)
        pip = [str(packages / "bin" / "python"), "-m", "pip", "--python", str(python), "install"]
        options = [
            "--disable-pip-version-check",
            "--no-deps",
            "--no-build-isolation",
            "--editable",
            str(ROOT),
        ]
        run_logged("Installing the loopyard command", [*pip, *options], cache_folder() / "logs" / "layer.log")
        done.touch()
    return python


def build_console(cache: Path) -> None:
    """Build the web console when its sources changed since the last build, or its packages are gone."""
    sources = sorted(p for p in (CONSOLE / "src").rglob("*") if p.is_file())
    key = digest(CONSOLE / "package-lock.json", CONSOLE / "vite.config.ts", CONSOLE / "index.html", *sources)
    stamp = CONSOLE / "dist" / ".built-from"
    if stamp.exists() and stamp.read_text() == key and (CONSOLE / "node_modules").exists():
        return
    npm = ["npm", "--prefix", str(CONSOLE), "--no-fund", "--no-audit", "--loglevel=error"]
    run_logged("Installing the console's packages", [*npm, "ci"], cache / "logs" / "npm.log")
    run_logged("Building the console", [*npm, "run", "build"], cache / "logs" / "console.log")
    stamp.write_text(key)


def install_browser() -> None:
    """Chromium for the console's tests, where apt may be used; else those tests say what was missing."""
    if find_chromium():
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        say("    Chromium was not found and apt cannot be used: the console's browser tests will be skipped")
        return
    log = cache_folder() / "logs" / "apt.log"
    run_logged("Updating the package lists", ["apt-get", "update", "-q"], log)
    run_logged(
        "Installing Chromium", ["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium"], log
    )


def prepare_models(python: Path, cache: Path) -> None:
    """Unpack llama.cpp's converters, which the embedded models are prepared with."""
    command = [str(python), "-m", "llm_server", "prepare", "--converter"]
    run_logged("Preparing the model converters", command, cache / "logs" / "prepare.log")


def main() -> None:
    """Parse the profile and run the steps in order."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("profile", choices=["run", "test"])
    profile = parser.parse_args().profile
    check_prerequisites()
    cache = cache_folder()
    packages = Packages(cache)
    packages.install(profile)
    python = link_environment(packages.folder)
    build_console(cache)
    prepare_models(python, cache)
    if profile == "test":
        for environment in (LABEL_STUDIO, *LANGFUSE_SDKS, S3_SERVER):
            environment.install(cache)
        install_browser()


if __name__ == "__main__":
    main()
