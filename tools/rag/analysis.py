"""Words of a text as the lexical index wants them, and whether the dense leg may be trusted with it.

English and its like are indexed as stemmed words, scripts without reliable word ends as trigrams of letters
(measured on XQuAD and PersianQA: trigrams beat every word analyser for Arabic, Persian and Thai). The dense
leg knows English only; fused into another language it destroys what the lexical leg found.
"""

import re
import threading
import unicodedata
from functools import cache

from lingua import Language, LanguageDetector, LanguageDetectorBuilder

GRAM_SCRIPTS = re.compile(
    r"[\u0590-\u05ff\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufeff"  # Hebrew, Arabic
    r"\u0900-\u0dff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Indic, Thai, Lao, Burmese, Khmer
    r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"  # Kana, Han, Hangul
)
ARABIC = re.compile(r"[\u0600-\u06ff]")
LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
WORD = re.compile(r"\w+")
FOLDED = str.maketrans("يىكأإآٱةؤ", "ییکااااهو")
DROPPED = re.compile("[\u0640\u200b-\u200f\u064b-\u065f\u0670]")
CERTAIN = 0.85
ENGLISH_AT_MOST = 0.05
SAMPLE_CHARS = 4000
SCRIPT_LANGUAGES = (
    (re.compile(r"[\u0e00-\u0e7f]"), "th"),
    (re.compile(r"[\u3040-\u30ff]"), "ja"),
    (re.compile(r"[\uac00-\ud7af]"), "ko"),
    (re.compile(r"[\u4e00-\u9fff]"), "zh"),
    (re.compile(r"[\u0590-\u05ff]"), "he"),
    (re.compile(r"[\u0400-\u04ff]"), "ru"),
    (re.compile(r"[\u0370-\u03ff]"), "el"),
    (re.compile(r"[\u0900-\u097f]"), "hi"),
)
_STOPWORDS = """
    a about all am an and any are as at be been but by can could did do does for from get had has have how i
    if in into is it its just me my no not of on or our she he should so some such than that the their them
    then there these they this those to us was we were what when where which while who whom why will with
    would you your tell please know find show need want much many
"""
STOPWORDS = frozenset(_STOPWORDS.split())
"""English words that say nothing about what a question is after."""

_LOADING = threading.Lock()


def needs_grams(text: str) -> bool:
    """True when the text has letters of a script that is indexed by trigrams."""
    return GRAM_SCRIPTS.search(text) is not None


def folded(text: str) -> str:
    """The text for the trigram index: NFKC, lower case, Arabic letters and digits unified, marks dropped."""
    text = unicodedata.normalize("NFKC", text).lower().translate(FOLDED)
    return "".join(_digit(letter) for letter in DROPPED.sub("", text))


def _digit(letter: str) -> str:
    return str(unicodedata.digit(letter)) if letter.isdigit() and not letter.isascii() else letter


def words_query(text: str) -> str:
    """An FTS5 query that finds any of the words; words that say nothing are left out where others remain."""
    words = list(dict.fromkeys(word.lower() for word in WORD.findall(text)))
    telling = [word for word in words if word not in STOPWORDS] or words
    return " OR ".join(f'"{word}"' for word in telling[:64])


def grams_query(text: str) -> str:
    """An FTS5 query that finds any of the text's trigrams."""
    # Vowel signs and tone marks belong to the word, which `\w` does not know.
    letters = (letter if unicodedata.category(letter)[0] in "LMN" else " " for letter in folded(text))
    grams = [word[i : i + 3] for word in "".join(letters).split() for i in range(len(word) - 2)]
    return " OR ".join(f'"{gram}"' for gram in dict.fromkeys(grams))


def language(text: str) -> str:
    """ISO 639-1 code of the language, "en" where a short Latin text could be anything."""
    sample = text[:SAMPLE_CHARS]
    latin = len(LATIN.findall(sample))
    if len(ARABIC.findall(sample)) > latin:
        return _arabic_or_persian(sample)
    for script, code in SCRIPT_LANGUAGES:
        if len(script.findall(sample)) > latin:
            return code
    return _latin(sample) if latin else "en"


def _arabic_or_persian(sample: str) -> str:
    # Letters that Persian has and Arabic has not, against those that only Arabic writes.
    persian = len(re.findall("[پچژگیک]", sample))
    arabic = len(re.findall("[يكةىأإ]", sample))
    return "fa" if persian > arabic else "ar"


def _latin(sample: str) -> str:
    values = _detector().compute_language_confidence_values(sample)
    best = values[0]
    english = next(value.value for value in values if value.language == Language.ENGLISH)
    if best.value >= CERTAIN and english <= ENGLISH_AT_MOST:
        return best.language.iso_code_639_1.name.lower()
    return "en"


@cache
def _loaded() -> LanguageDetector:
    latin = (
        Language.ENGLISH,
        Language.FRENCH,
        Language.GERMAN,
        Language.SPANISH,
        Language.PORTUGUESE,
        Language.ITALIAN,
        Language.DUTCH,
        Language.TURKISH,
        Language.POLISH,
        Language.SWEDISH,
        Language.INDONESIAN,
        Language.VIETNAMESE,
    )
    return LanguageDetectorBuilder.from_languages(*latin).with_low_accuracy_mode().build()


def _detector() -> LanguageDetector:
    with _LOADING:
        return _loaded()
