-- Statements that must never run, in either dialect. One a line; the shop's tables in lower case.
DELETE FROM customer
DELETE FROM customer WHERE 1 = 1
UPDATE customer SET email = 'x@example.com'
INSERT INTO customer VALUES (9, 'x', 'y', 'z', 'e', NULL)
INSERT INTO customer SELECT * FROM customer
DROP TABLE customer
DROP TABLE IF EXISTS customer
DROP VIEW spending
CREATE TABLE stolen AS SELECT * FROM customer
CREATE TABLE x (a int)
CREATE TEMP TABLE x AS SELECT 1
CREATE VIEW x AS SELECT * FROM customer
CREATE INDEX x ON customer (email)
ALTER TABLE customer ADD COLUMN x int
ALTER TABLE customer RENAME TO gone
SELECT 1; DROP TABLE customer
SELECT 1; SELECT 2
DELETE FROM customer
SELECT 1;DELETE FROM customer;--
/* leading */ DROP TABLE customer
-- leading comment and nothing else
/* SELECT 1 */ DELETE FROM customer
WITH gone AS (DELETE FROM customer RETURNING *) SELECT * FROM gone
WITH fresh AS (INSERT INTO artist VALUES (9, 'x') RETURNING *) SELECT * FROM fresh
WITH changed AS (UPDATE customer SET email = 'x' RETURNING *) SELECT * FROM changed
WITH x AS (SELECT 1) DELETE FROM customer
WITH x AS (SELECT 1) UPDATE customer SET email = 'x'
WITH x AS (SELECT 1 AS a) INSERT INTO artist SELECT a, 'x' FROM x
SELECT * INTO stolen FROM customer
WITH RECURSIVE bomb(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM bomb) SELECT COUNT(*) FROM bomb
WITH RECURSIVE bomb(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM bomb WHERE n < 1000000000) SELECT MAX(n) FROM bomb
EXPLAIN DELETE FROM customer
EXPLAIN ANALYZE DELETE FROM customer
EXPLAIN SELECT * FROM customer
ANALYZE
VACUUM
REINDEX
BEGIN
COMMIT
ROLLBACK
SAVEPOINT x
RELEASE x
BEGIN; DELETE FROM customer; COMMIT
SELECT * FROM information_schema.tables
SELECT * FROM other.customer
SELECT * FROM a.b.c.customer
SELECT * FROM unknown_table
SELECT COUNT(*) FROM unknown_table
SELECT secret_column FROM customer
SELECT customer.password FROM customer
SELECT (SELECT x FROM hidden) FROM customer
SELECT first_name FROM customer WHERE EXISTS (SELECT 1 FROM hidden)
SELECT first_name FROM customer ORDER BY (SELECT a FROM hidden)
SELECT first_name FROM customer UNION SELECT name FROM hidden
SELECT first_name FROM customer JOIN hidden ON 1 = 1
SELECT first_name FROM customer WHERE secret_column = 1
SELECT first_name FROM customer GROUP BY secret_column
SELECT COUNT(*) FROM customer HAVING MAX(secret_column) > 1
SELECT unknown_function(1)
SELECT "unknown_function"(email) FROM customer
SELECT ?
SELECT :name
SELECT $1
SELECT * FROM customer WHERE customer_id = :id
SELECT @x
SELECT @@version
VALUES ((SELECT a FROM hidden))
GRANT ALL ON customer TO public
TRUNCATE TABLE customer
MERGE INTO customer USING invoice ON customer.customer_id = invoice.customer_id WHEN MATCHED THEN DELETE
SELECT repeat('x', 1000000000)
SELECT lpad('x', 1000000000, 'y')
SELECT * FROM generate_series(1, 1000000000)
SELECT load_extension('/tmp/evil.so')
SELECT sleep(10)
SELECT version()
SELECT user
SELECT current_user
SELECT first_name FROM customer FOR UPDATE
CALL something()
SET x = 1
SHOW TABLES
DESCRIBE customer
USE other
LOCK TABLE customer
COPY customer TO '/tmp/x'
SELECT CURRENT_ROLE
SELECT
;
