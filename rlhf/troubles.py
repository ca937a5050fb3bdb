"""Full memory and full disk in words, and libraries that keep quiet."""

import errno
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
import torch
from transformers.utils import logging as transformers_logging

from rlhf.errors import TrainingError

ASKED = re.compile(r"tried to allocate ([\d.]+ \w+)", re.IGNORECASE)
"""How torch says what it was refused, on a CPU (`1024 bytes`) and on a GPU (`2.00 GiB`)."""


@contextmanager
def hushed() -> Iterator[None]:
    """No bars and no advice from the libraries below: `Progress` says how far it is. TRL and transformers use
    each other's old names, and warn of it.
    """
    datasets.disable_progress_bars()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers' own
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # transformers' own
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is deprecated and will be removed", FutureWarning)
        yield


@contextmanager
def clear_errors(out: Path) -> Iterator[None]:
    """Full memory and full disk in words; what was there before stays."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise out_of_memory(error) from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise disk_full(out) from error
    except Exception as error:
        text = str(error)
        if "No space left" in text or "PytorchStreamWriter failed" in text:
            raise disk_full(out) from error
        if "can't allocate memory" in text or "DefaultCPUAllocator" in text:
            raise out_of_memory(error) from error
        raise


def out_of_memory(error: BaseException) -> TrainingError:
    asked = ASKED.search(str(error))
    more = f" for {asked[1]} more" if asked else ""
    return TrainingError(
        f"not enough memory{more}: lower train.batch or train.max_tokens in the recipe; "
        "the run goes on from its last checkpoint if neither changes what it computes"
    )


def disk_full(out: Path) -> TrainingError:
    free = shutil.disk_usage(out).free
    return TrainingError(f"the disk of {out} is full ({free:,} bytes left): make room and repeat the command")
