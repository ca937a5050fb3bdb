-- Statements for SQLite that must never run: neither past the validator, nor on the engine without it.
PRAGMA user_version
PRAGMA user_version = 7
PRAGMA journal_mode = DELETE
PRAGMA writable_schema = 1
PRAGMA query_only = 0
PRAGMA database_list
PRAGMA table_info('Customer')
PRAGMA key = 'x'
ATTACH DATABASE '/tmp/other.db' AS other
ATTACH ':memory:' AS other
ATTACH DATABASE '/etc/passwd' AS other
DETACH DATABASE main
VACUUM INTO '/tmp/stolen.db'
REPLACE INTO Artist VALUES (1, 'x')
INSERT OR REPLACE INTO Artist VALUES (1, 'x')
INSERT INTO Artist VALUES (1, 'x') ON CONFLICT DO UPDATE SET Name = 'x'
UPDATE OR IGNORE Artist SET Name = 'x'
CREATE VIRTUAL TABLE x USING fts5(a)
CREATE TRIGGER x AFTER INSERT ON Artist BEGIN DELETE FROM Customer; END
CREATE TEMP TRIGGER x AFTER INSERT ON Artist BEGIN SELECT 1; END
DROP TRIGGER x
SELECT * FROM sqlite_master
SELECT sql FROM sqlite_schema
SELECT * FROM main.sqlite_master
SELECT * FROM temp.sqlite_master
SELECT * FROM sqlite_temp_master
SELECT name FROM sqlite_master WHERE type = 'table'
SELECT Name FROM Artist UNION SELECT sql FROM sqlite_master
SELECT (SELECT GROUP_CONCAT(sql) FROM sqlite_master)
SELECT * FROM sqlite_sequence
SELECT * FROM sqlite_stat1
SELECT * FROM pragma_table_info('Customer')
SELECT * FROM pragma_database_list
SELECT file FROM pragma_database_list()
SELECT * FROM pragma_compile_options
SELECT * FROM pragma_function_list
SELECT * FROM pragma_user_version
SELECT * FROM json_each('[1,2,3]')
SELECT * FROM json_tree('{"a":1}')
SELECT * FROM dbstat
SELECT * FROM sqlite_dbpage
SELECT * FROM fts5vocab
SELECT * FROM generate_series(1, 10)
SELECT load_extension('libc.so.6')
SELECT load_extension('libc.so.6', 'main')
SELECT readfile('/etc/passwd')
SELECT writefile('/tmp/x', 'y')
SELECT edit('x')
SELECT fts3_tokenizer('simple')
SELECT fts3_tokenizer('simple', x'4141414141414141')
SELECT zeroblob(1000000000)
SELECT randomblob(1000000000)
SELECT hex(randomblob(100000000))
SELECT hex(zeroblob(500000000))
SELECT sqlite_version()
SELECT sqlite_source_id()
SELECT sqlite_compileoption_get(0)
SELECT last_insert_rowid()
SELECT changes()
SELECT total_changes()
SELECT sqlite_offset(Name) FROM Artist
SELECT likelihood(Name, 0.5) FROM Artist
SELECT soundex(Name) FROM Artist
SELECT match('x', Name) FROM Artist
WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c) SELECT x FROM c
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c) SELECT COUNT(*) FROM c
SELECT COUNT(*) FROM Artist INDEXED BY nothing
EXPLAIN QUERY PLAN DELETE FROM Artist
SELECT * FROM Artist; ATTACH 'x' AS y
SELECT 1 WHERE 0; DELETE FROM Artist
END
BEGIN IMMEDIATE
BEGIN EXCLUSIVE; DELETE FROM Artist
ANALYZE sqlite_master
REINDEX Invoice
SELECT * FROM "sqlite_master"
SELECT * FROM [sqlite_master]
SELECT * FROM `sqlite_master`
SELECT * FROM SQLITE_MASTER
SELECT rootpage FROM Artist, sqlite_master
