"""`python -m rlhf VERB`; `python -m rlhf --help` lists the verbs."""

from rlhf.cli import main

if __name__ == "__main__":
    main()
