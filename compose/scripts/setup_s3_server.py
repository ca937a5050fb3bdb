"""Set a server of S3's API up for the tests: moto's, real HTTP, in an environment of its own (140 MB).

python3 compose/scripts/setup_s3_server.py           install it, unless that is done
python3 compose/scripts/setup_s3_server.py --lock    resolve its lock file anew
"""

from apart import Apart, main

S3_SERVER = Apart(
    name="s3-server",
    title="a server of S3's API",
    takes="about 140 MB, 10 s",
    wanted=("moto[s3,iam]>=5.2,<6", "flask", "flask-cors"),
    header="""\
# moto's server and what it needs, in an environment of its own: its pins contradict ours. Written by
# `python3 compose/scripts/setup_s3_server.py --lock`. Installed with --no-deps.
""",
)

if __name__ == "__main__":
    main(__doc__, [S3_SERVER])
