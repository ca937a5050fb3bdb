"""`python -m llm_server serve | prepare | doctor`."""

from llm_server.cli import app

if __name__ == "__main__":
    app()
