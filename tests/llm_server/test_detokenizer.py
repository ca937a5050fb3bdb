"""Text comes out whole: characters, stop strings."""

from llm_server.engine.detokenizer import Detokenizer


def feed(detokenizer: Detokenizer, pieces: list[bytes]) -> list[str]:
    return [detokenizer.feed(piece) for piece in pieces]


def test_a_character_in_two_tokens_comes_out_once_and_whole() -> None:
    text = "naïve 日本 🎉".encode()
    pieces = [text[i : i + 1] for i in range(len(text))]
    detokenizer = Detokenizer()
    out = feed(detokenizer, pieces)
    assert "".join(out) + detokenizer.flush() == "naïve 日本 🎉"
    assert all("\ufffd" not in piece for piece in out)


def test_a_broken_character_at_the_end_is_replaced() -> None:
    detokenizer = Detokenizer()
    assert detokenizer.feed(b"a\xe6\x97") == "a"
    assert detokenizer.flush() == "\ufffd"


def test_a_stop_string_across_tokens_is_never_shown() -> None:
    detokenizer = Detokenizer(["\nUser:"])
    assert feed(detokenizer, [b"fine", b"\nUs", b"er: more"]) == ["fine", "", ""]
    assert detokenizer.stopped
    assert detokenizer.flush() == ""


def test_what_only_begins_like_a_stop_string_is_shown_in_the_end() -> None:
    detokenizer = Detokenizer(["\nUser:"])
    assert feed(detokenizer, [b"a\nUs", b"ed"]) == ["a", "\nUsed"]
    detokenizer.feed(b"\nUser")
    assert detokenizer.flush() == "\nUser"
    assert not detokenizer.stopped


def test_the_first_of_several_stop_strings_wins() -> None:
    detokenizer = Detokenizer(["end", "two"])
    assert detokenizer.feed(b"one two end") == "one "
