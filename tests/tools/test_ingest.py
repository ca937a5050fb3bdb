"""Taking documents in: once, again, in a new version, and when something is wrong with them."""

import asyncio
import base64
from pathlib import Path

import pytest

from tests.tools.embeddings import EmbeddingsService
from tests.tools.waiting import until
from tools.errors import ToolsError, UnknownDocument, UnreadableDocument
from tools.rag.ingest import Outcome, Source, delete, embed_later, ingest
from tools.rag.library import Library
from tools.rag.search import search
from tools.settings import Settings

LEAVE = (
    "# Leave\n\nEmployees accrue four hours of sick leave per pay period.\n\n## Jury\n\nCourt leave is paid."
)


async def nobody(done: int, total: int, phase: str) -> None:
    """Nobody looks at the progress."""


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


async def take(
    library: Library, text: str | bytes, name: str = "leave.md", document_id: str = "d1"
) -> Outcome:
    return await ingest(library, "p1", Source(document_id, name, content_base64=b64(text)), nobody)


async def hits(library: Library, query: str) -> list[str]:
    return [found.passage.text for found in (await search(library, "p1", query, 5)).found]


async def test_a_document_is_found_by_its_words(library: Library) -> None:
    outcome = await take(library, LEAVE)
    assert outcome.document.state == "ready"
    assert outcome.document.title == "Leave"
    assert outcome.document.chunks == 2
    found = (await search(library, "p1", "sick leave hours", 5)).found
    assert found[0].passage.text == "Employees accrue four hours of sick leave per pay period."
    assert found[0].passage.section == "Leave"
    assert found[0].dense is not None
    assert found[0].bm25 is not None


async def test_the_same_content_again_costs_nothing(library: Library, embeddings: EmbeddingsService) -> None:
    first = await take(library, LEAVE)
    texts = embeddings.texts
    again = await take(library, LEAVE)
    assert again.unchanged
    assert again.document == first.document
    assert embeddings.texts == texts


async def test_a_new_version_replaces_the_old_one(library: Library) -> None:
    await take(library, LEAVE)
    outcome = await take(library, "# Leave\n\nNow five hours of sick leave accrue.")
    assert not outcome.unchanged
    assert await hits(library, "sick leave hours") == ["Now five hours of sick leave accrue."]
    shelf = await library.shelf("p1")
    assert len(shelf.store.documents()) == 1
    assert shelf.store.pending() == []
    vectors = await library.vectors("p1")
    assert {near.generation for near in vectors.nearest([1.0] + [0.0] * 127, 50)} == {2}


async def test_a_deleted_document_is_gone_from_both_indexes(library: Library) -> None:
    await take(library, LEAVE)
    await delete(library, "p1", "d1")
    assert await hits(library, "sick leave hours") == []
    vectors = await library.vectors("p1")
    assert vectors.nearest([1.0] + [0.0] * 127, 50) == []
    with pytest.raises(UnknownDocument, match="no document d1"):
        await delete(library, "p1", "d1")


async def test_projects_do_not_see_each_other(library: Library) -> None:
    await take(library, LEAVE)
    findings = await search(library, "p2", "sick leave hours", 5)
    assert findings.found == []


async def test_progress_tells_the_phase(library: Library) -> None:
    seen: list[tuple[int, int, str]] = []

    async def progress(done: int, total: int, phase: str) -> None:
        seen.append((done, total, phase))

    text = "\n\n".join(f"## Part {n}\n\nSentence number {n} about travel." for n in range(40))
    await ingest(library, "p1", Source("d1", "a.md", content_base64=b64(text)), progress)
    assert seen == [
        (0, 0, "parsing"),
        (0, 40, "embedding"),
        (16, 40, "embedding"),
        (32, 40, "embedding"),
        (40, 40, "publishing"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.md", b"", "empty"),
        ("blank.txt", b" \n \n", "holds no text"),
        ("broken.pdf", b"%PDF-1.4 nothing", "broken"),
        ("program.exe", b"MZ", "unknown type"),
        ("noise.txt", b"\x00\x01\x02", "not a text file"),
    ],
)
async def test_what_cannot_be_read_leaves_nothing(
    library: Library, name: str, content: bytes, says: str
) -> None:
    with pytest.raises(UnreadableDocument, match=says):
        await take(library, content, name)
    shelf = await library.shelf("p1")
    assert shelf.store.documents() == []
    assert shelf.store.pending() == []
    assert list((library.settings.data / "incoming").glob("*")) == []


async def test_a_bad_new_version_leaves_the_old_one(library: Library) -> None:
    await take(library, LEAVE)
    with pytest.raises(UnreadableDocument):
        await take(library, b"\x00", "leave.txt")
    assert "Court leave is paid." in await hits(library, "court leave")


async def test_content_that_is_no_base64_is_refused(library: Library) -> None:
    with pytest.raises(UnreadableDocument, match="not base64"):
        await ingest(library, "p1", Source("d1", "a.md", content_base64="***"), nobody)


async def test_a_document_that_is_too_large_is_refused(settings: Settings, library: Library) -> None:
    library.settings = settings.model_copy(update={"max_document_bytes": 1024 * 1024})
    with pytest.raises(UnreadableDocument, match=r"has 2\.0 MB, more than 1 MB"):
        await take(library, "x" * (2 * 1024 * 1024))


async def test_files_are_read_below_the_uploads_only(
    library: Library, settings: Settings, tmp_path: Path
) -> None:
    assert settings.uploads is not None
    inside = settings.uploads / "a.md"
    inside.write_text(LEAVE)
    outside = tmp_path / "secret.md"
    outside.write_text("The secret word is osprey.")
    (settings.uploads / "link.md").symlink_to(outside)
    (settings.uploads / "folder.md").mkdir()
    outcome = await ingest(library, "p1", Source("d1", "a.md", path=str(inside)), nobody)
    assert outcome.document.chunks == 2
    for path in (
        outside,
        settings.uploads / "link.md",
        settings.uploads / "../secret.md",
        settings.uploads / "folder.md",
        Path("/etc/passwd"),
        settings.uploads / "none.md",
    ):
        with pytest.raises(UnreadableDocument, match="no file in the folder of uploads"):
            await ingest(library, "p1", Source("d2", "a.md", path=str(path)), nobody)


async def test_without_embeddings_a_document_is_published_and_finished_later(
    library: Library, embeddings: EmbeddingsService
) -> None:
    embeddings.up = False
    outcome = await take(library, LEAVE)
    assert outcome.document.state == "awaiting-embeddings"
    findings = await search(library, "p1", "sick leave hours", 5)
    assert findings.mode == "lexical"
    assert findings.found[0].passage.text.startswith("Employees accrue")
    embeddings.up = True
    assert await embed_later(library, await library.shelf("p1")) == 1
    findings = await search(library, "p1", "sick leave hours", 5)
    assert findings.mode == "hybrid"
    assert findings.found[0].dense is not None
    assert await embed_later(library, await library.shelf("p1")) == 0


async def test_vectors_of_a_document_that_is_not_complete_are_not_used(
    library: Library, embeddings: EmbeddingsService
) -> None:
    await take(library, "# Other\n\nOther words.", "other.md", "d0")
    embeddings.fail_after = embeddings.requests + 1
    text = "\n\n".join(f"## Part {n}\n\nSentence number {n} about travel." for n in range(60))
    outcome = await take(library, text)
    assert outcome.document.state == "awaiting-embeddings"
    embeddings.fail_after = None
    found = (await search(library, "p1", "sentence about travel", 20)).found
    assert all(hit.dense is None for hit in found if hit.passage.document_id == "d1")


async def test_other_weights_under_the_same_name_are_refused(
    library: Library, settings: Settings, embeddings: EmbeddingsService
) -> None:
    await take(library, LEAVE)
    embeddings.salt = "other weights"
    library.forget_embedder()
    findings = await search(library, "p1", "sick leave hours", 5)
    assert findings.mode == "lexical"
    assert findings.found


async def test_a_language_that_the_embedder_does_not_know_is_searched_by_words(library: Library) -> None:
    await take(library, "يحق للموظفين أربع ساعات من الإجازة المرضية في كل فترة دفع.", "ar.txt", "ar")
    await take(library, "พนักงานลาป่วยได้สี่ชั่วโมงต่อรอบการจ่ายเงิน", "th.txt", "th")
    await take(library, LEAVE)
    findings = await search(library, "p1", "ساعات الاجازة المرضيّة", 5)
    assert (findings.mode, findings.language) == ("lexical", "ar")
    assert findings.found[0].passage.document_id == "ar"
    thai = await search(library, "p1", "ลาป่วยได้กี่ชั่วโมง", 5)
    assert thai.found[0].passage.document_id == "th"
    english = await search(library, "p1", "sick leave hours", 5)
    assert english.mode == "hybrid"
    assert english.found[0].passage.document_id == "d1"


async def test_many_documents_at_once_are_all_taken(library: Library) -> None:
    names = [f"page-{n}.md" for n in range(12)]
    await asyncio.gather(*(take(library, f"# {name}\n\nThis is {name}.", name, name) for name in names))
    shelf = await library.shelf("p1")
    assert [document.name for document in shelf.store.documents()] == sorted(names)
    assert shelf.store.pending() == []


async def test_one_document_does_not_fill_the_hits(library: Library) -> None:
    many = "\n\n".join(f"## Part {n}\n\nTravel card rule number {n}." for n in range(10))
    await take(library, many, "many.md", "many")
    await take(library, "# Card\n\nHow to get a travel card.", "card.md", "card")
    found = (await search(library, "p1", "travel card", 5)).found
    assert "card" in {hit.passage.document_id for hit in found}
    assert len(found) == 5


async def test_a_disturbed_caller_leaves_nothing_half_done(
    library: Library, embeddings: EmbeddingsService
) -> None:
    text = "\n\n".join(f"## Part {n}\n\nSentence number {n} about travel." for n in range(400))
    running = asyncio.create_task(take(library, text))
    await until(lambda: embeddings.requests >= 3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    shelf = await library.shelf("p1")
    assert shelf.store.documents() == []
    assert shelf.store.pending() == []
    vectors = await library.vectors("p1")
    assert vectors.nearest([1.0] + [0.0] * 127, 50) == []


async def test_errors_are_for_the_caller_to_read(library: Library) -> None:
    with pytest.raises(ToolsError) as error:
        await take(library, b"x", "a.xyz")
    assert "a.xyz is of an unknown type. These can be read:" in str(error.value)
