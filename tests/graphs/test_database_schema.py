"""The schema as the model reads it."""

from __future__ import annotations

from graphs.database_schema import Database, Schema, Table, parse, words

ALBUM = Table("Album", ("AlbumId", "Title", "ArtistId"), {"ArtistId": "Artist.ArtistId"})
ARTIST = Table("Artist", ("ArtistId", "Name"), {})
INVOICE = Table("Invoice", ("InvoiceId", "Total"), {})
SCHEMA = Schema((Database("music", "sqlite", (ALBUM, ARTIST, INVOICE)),))


def test_one_line_a_table() -> None:
    assert SCHEMA.text == (
        "Database music (sqlite):\nAlbum(AlbumId, Title, ArtistId > Artist.ArtistId)\n"
        "Artist(ArtistId, Name)\nInvoice(InvoiceId, Total)"
    )


def test_what_does_not_fit_is_counted_and_the_question_decides() -> None:
    cut = SCHEMA.fitted(lambda text: text.count("\n") <= 2, "What is the total of all invoices?")
    assert cut.text == (
        "Database music (sqlite):\nInvoice(InvoiceId, Total)\n... (2 more tables; sql_describe shows them)"
    )
    assert cut.left_out == 2
    assert cut.x_sql()["tables"] == {"Invoice": ["InvoiceId", "Total"]}


def test_all_of_it_where_it_fits() -> None:
    assert SCHEMA.fitted(lambda _: True, "anything") == SCHEMA


def test_two_databases_are_two_blocks_and_one_set_of_identifiers() -> None:
    other = Database("shop", "postgresql", (Table("Album", ("Price",), {}),))
    both = Schema((*SCHEMA.databases, other))
    assert both.text.endswith("\n\nDatabase shop (postgresql):\nAlbum(Price)")
    assert both.x_sql()["tables"]["Album"] == ["AlbumId", "Title", "ArtistId", "Price"]
    assert both.x_sql()["foreign_keys"] == [["Album.ArtistId", "Artist.ArtistId"]]


def test_nothing_to_parse() -> None:
    assert parse(None).text == ""


def test_words_of_identifiers() -> None:
    assert words("CustomerId first_name Invoices") == {"customer", "first", "name", "invoice"}


def test_what_columns_hold_is_told_by_their_types_and_sqlites_dates_by_their_names() -> None:
    columns = {
        "id": "INTEGER",
        "birthday": "TEXT",
        "created_on": "VARCHAR(20)",
        "season": "TEXT",
        "paid": "TIMESTAMP",
        "total": "NUMERIC(10, 2)",
        "count": "INT4",
        "place": "POINT",
        "whatever": "NULL",
    }
    described = [{"name": n, "type": t, "primary_key": n == "id"} for n, t in columns.items()]
    pair = [{"name": n, "type": "INTEGER", "primary_key": True} for n in ("country", "year")]
    tables = [{"name": "a", "columns": described}, {"name": "b", "columns": pair}]
    schema = parse({"databases": [{"name": "d", "dialect": "sqlite", "tables": tables}]})
    assert schema.tables[0].kinds == {
        "id": "key",
        "birthday": "date",
        "created_on": "date",
        "season": "text",
        "paid": "date",
        "total": "number",
        "count": "number",
    }
    assert schema.tables[1].kinds == {"country": "number", "year": "number"}
