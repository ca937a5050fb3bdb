"""Set the older Langfuse SDKs up for the tests: real, pinned, each in an environment of its own (150 MB).

    python3 compose/scripts/setup_langfuse_sdks.py           install them, unless that is done
    python3 compose/scripts/setup_langfuse_sdks.py --lock    resolve their lock files anew

The newest SDK is among Loopyard's own packages.
"""

from apart import Apart, main


def sdk(version: str) -> Apart:
    """An SDK with what its contract is tested with: pytest, and langchain for its callback handler."""
    return Apart(
        name=f"langfuse-{version.split('.')[0]}",
        title=f"Langfuse's SDK {version}",
        takes="about 150 MB, 20 s",
        wanted=(f"langfuse=={version}", "langchain>=1.4,<2", "pytest>=9"),
        header=f"""\
# langfuse {version} and what its contract is tested with, in an environment of its own. Written by
# `python3 compose/scripts/setup_langfuse_sdks.py --lock`. Installed with --no-deps.
""",
    )


LANGFUSE_SDKS = (sdk("3.15.0"), sdk("4.18.0"))

if __name__ == "__main__":
    main(__doc__, LANGFUSE_SDKS)
