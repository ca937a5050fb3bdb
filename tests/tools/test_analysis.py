"""Which index a text belongs to, and whether the dense leg may be trusted with it."""

import pytest

from tools.rag.analysis import folded, grams_query, language, needs_grams, words_query


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("How many sick days do I get?", "en"),
        ("sick leave", "en"),
        ("refund policy", "en"),
        ("PIV card", "en"),
        ("2024", "en"),
        ("Wie viele Urlaubstage habe ich im Jahr?", "de"),
        ("¿Cuántos días de vacaciones tengo?", "es"),
        ("كم عدد أيام الإجازة المرضية؟", "ar"),
        ("چند روز مرخصی استعلاجی دارم؟", "fa"),
        ("ฉันลาป่วยได้กี่วัน", "th"),
        ("сколько дней отпуска", "ru"),
        ("病假有几天", "zh"),
    ],
)
def test_language(text: str, code: str) -> None:
    assert language(text) == code


def test_questions_lose_the_words_that_say_nothing() -> None:
    assert words_query("How do I apply for a travel card?") == '"apply" OR "travel" OR "card"'


def test_a_question_of_such_words_only_keeps_them() -> None:
    assert words_query("what is it") == '"what" OR "is" OR "it"'


def test_marks_of_the_query_language_are_words_only() -> None:
    assert words_query('a" OR title:x NEAR(b) *') == '"title" OR "x" OR "near" OR "b"'
    assert words_query("?!") == ""


def test_scripts_without_word_ends_go_to_the_trigrams() -> None:
    assert needs_grams("ลาป่วย")
    assert needs_grams("مرخصی")
    assert not needs_grams("naïve Straße")
    assert grams_query("ลาป่วย") == '"ลาป" OR "าป่" OR "ป่ว" OR "่วย"'


def test_arabic_spellings_fold_together() -> None:
    assert folded("إجازةٌ مَرَضيّة ١٢") == folded("اجازه مرضیه 12")
