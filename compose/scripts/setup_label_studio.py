"""Set Label Studio up: real, pinned, in an environment of its own (about 1 GB).

python3 compose/scripts/setup_label_studio.py           install it, unless that is done
python3 compose/scripts/setup_label_studio.py --lock    resolve its lock file anew
"""

from apart import Apart, main

VERSION = "1.23.2"
LABEL_STUDIO = Apart(
    name="label-studio",
    title="Label Studio",
    takes="about 1 GB, 2 min",
    wanted=(f"label-studio=={VERSION}",),
    header=f"""\
# What label-studio {VERSION} needs, in an environment of its own: its pins contradict ours. Written by
# `python3 compose/scripts/setup_label_studio.py --lock`. Installed with --no-deps.
""",
)

if __name__ == "__main__":
    main(__doc__, [LABEL_STUDIO])
