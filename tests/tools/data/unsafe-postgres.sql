-- Statements for PostgreSQL that must never run.
SELECT pg_read_file('/etc/passwd')
SELECT pg_read_binary_file('/etc/passwd')
SELECT pg_catalog.pg_read_file('/etc/passwd')
SELECT "pg_read_file"('/etc/passwd')
SELECT U&"pg\005fsleep"(10)
SELECT U&"\0070g_sleep"(10)
SELECT pg_ls_dir('/')
SELECT * FROM pg_ls_dir('/')
SELECT * FROM ROWS FROM (pg_ls_dir('/'))
SELECT * FROM customer, pg_ls_dir('/') AS f
SELECT * FROM customer, LATERAL pg_read_file('/etc/passwd') AS f
SELECT * FROM customer CROSS JOIN LATERAL (SELECT pg_sleep(10)) AS s
SELECT * FROM customer, LATERAL (SELECT * FROM invoice) AS s
SELECT pg_stat_file('/etc/passwd')
SELECT pg_sleep(10)
SELECT pg_sleep_for('10 seconds')
SELECT pg_sleep_until(now() + interval '1 hour')
SELECT first_name FROM customer WHERE pg_sleep(10) IS NULL
SELECT first_name FROM customer ORDER BY pg_sleep(1)
SELECT CASE WHEN true THEN pg_sleep(10) END
SELECT coalesce(pg_sleep(10)::text, 'x')
SELECT pg_terminate_backend(1)
SELECT pg_cancel_backend(1)
SELECT pg_reload_conf()
SELECT pg_rotate_logfile()
SELECT pg_notify('x', 'y')
SELECT pg_advisory_lock(1)
SELECT pg_try_advisory_lock(1)
SELECT pg_advisory_xact_lock(1)
SELECT pg_export_snapshot()
SELECT pg_switch_wal()
SELECT pg_logical_emit_message(true, 'x', 'y')
SELECT pg_create_restore_point('x')
SELECT pg_file_write('/tmp/x', 'y', true)
SELECT pg_current_logfile()
SELECT lo_import('/etc/passwd')
SELECT lo_export(1, '/tmp/x')
SELECT lo_create(1)
SELECT lo_from_bytea(0, '\x41')
SELECT lo_get(1)
SELECT loread(1, 10)
SELECT dblink('host=127.0.0.1', 'SELECT 1')
SELECT * FROM dblink('host=127.0.0.1', 'SELECT 1') AS t(a int)
SELECT dblink_exec('DROP TABLE customer')
SELECT query_to_xml('SELECT * FROM pg_shadow', true, false, '')
SELECT table_to_xml('pg_shadow', true, false, '')
SELECT cursor_to_xml('c', 1, true, false, '')
SELECT database_to_xml(true, false, '')
SELECT schema_to_xml('public', true, false, '')
SELECT xpath('/a', '<a/>')
SELECT ts_stat('SELECT 1')
SELECT * FROM ts_stat('SELECT to_tsvector(email) FROM customer')
SELECT ts_rewrite('a'::tsquery, 'SELECT 1')
SELECT set_config('statement_timeout', '0', false)
SELECT set_config('transaction_read_only', 'off', true)
SELECT current_setting('data_directory')
SELECT nextval('ticket')
SELECT setval('ticket', 100)
SELECT currval('ticket')
SELECT lastval()
SELECT txid_current()
SELECT pg_current_xact_id()
SELECT inet_server_addr()
SELECT inet_client_addr()
SELECT current_database()
SELECT current_schemas(true)
SELECT session_user
SELECT has_table_privilege('customer', 'select')
SELECT pg_get_functiondef(1)
SELECT pg_get_viewdef('spending')
SELECT obj_description(1)
SELECT to_regclass('pg_shadow')
SELECT 'pg_shadow'::regclass
SELECT 'pg_shadow'::regclass::oid
SELECT CAST('pg_sleep(1)' AS regprocedure)
SELECT '1'::xml
SELECT '/a'::jsonpath
SELECT 'a'::public.secret
SELECT * FROM pg_shadow
SELECT * FROM pg_catalog.pg_shadow
SELECT * FROM pg_authid
SELECT COUNT(*) FROM pg_class
SELECT * FROM pg_stat_activity
SELECT * FROM pg_settings
SELECT * FROM pg_user
SELECT passwd FROM pg_shadow
SELECT (SELECT rolpassword FROM pg_authid LIMIT 1)
SELECT first_name FROM customer WHERE email IN (SELECT passwd FROM pg_shadow)
SELECT first_name FROM customer UNION ALL SELECT passwd FROM pg_shadow
WITH x AS (SELECT * FROM pg_shadow) SELECT * FROM x
VALUES ((SELECT passwd FROM pg_shadow LIMIT 1))
TABLE pg_authid
SELECT * FROM ONLY pg_authid
SELECT * FROM information_schema.columns
SELECT * FROM public.pg_shadow
SELECT customer FROM customer
SELECT (customer).email FROM customer
SELECT (customer).pg_sleep FROM customer
SELECT row_to_json(customer) FROM customer
SELECT to_jsonb(customer) FROM customer
SELECT ctid FROM customer
SELECT xmin, xmax FROM customer
SELECT tableoid FROM customer
SELECT customer.* INTO stolen FROM customer
SELECT * INTO TEMP stolen FROM customer
SELECT * INTO UNLOGGED stolen FROM customer
SELECT first_name FROM customer FOR SHARE
SELECT first_name FROM customer FOR NO KEY UPDATE
SELECT first_name FROM customer FOR UPDATE SKIP LOCKED
SELECT * FROM customer TABLESAMPLE SYSTEM (10)
WITH x AS MATERIALIZED (DELETE FROM customer RETURNING *) SELECT * FROM x
WITH m AS (MERGE INTO customer USING invoice ON true WHEN MATCHED THEN DELETE RETURNING *) SELECT * FROM m
SELECT generate_series(1, 1000000000)
SELECT repeat('a', 1000000000)
SELECT rpad('a', 1000000000)
SELECT format('%1000000000s', 'x')
SELECT array_fill(1, ARRAY[1000000])
SELECT string_to_table('a,b', ',')
SELECT unnest(ARRAY[1, 2, 3])
SELECT jsonb_array_elements('[1]')
SELECT * FROM jsonb_to_recordset('[{"a":1}]') AS x(a int)
SELECT * FROM XMLTABLE('/a' PASSING '<a/>' COLUMNS b text)
SELECT * FROM JSON_TABLE('[1]', '$[*]' COLUMNS (a int PATH '$'))
SELECT gen_random_uuid()
SELECT 1 OPERATOR(pg_catalog.+) 2
COPY customer TO PROGRAM 'cat > /tmp/x'
COPY customer FROM '/etc/passwd'
COPY (SELECT * FROM customer) TO '/tmp/x'
COPY (SELECT 1) TO STDOUT
DO $$ BEGIN PERFORM pg_sleep(10); END $$
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'
CREATE EXTENSION dblink
CREATE ROLE x SUPERUSER
ALTER ROLE postgres PASSWORD 'x'
ALTER SYSTEM SET shared_buffers = '1MB'
SET statement_timeout = 0
SET SESSION AUTHORIZATION postgres
SET TRANSACTION READ WRITE
RESET ALL
SHOW data_directory
SHOW ALL
COMMIT; DROP TABLE customer
ROLLBACK; DELETE FROM customer
PREPARE x AS DELETE FROM customer
EXECUTE x
DEALLOCATE ALL
DECLARE c CURSOR FOR SELECT 1
FETCH ALL FROM c
LISTEN x
NOTIFY x, 'y'
UNLISTEN *
DISCARD ALL
LOAD 'evil'
CHECKPOINT
CLUSTER customer
REFRESH MATERIALIZED VIEW x
SECURITY LABEL ON TABLE customer IS 'x'
COMMENT ON TABLE customer IS 'x'
REASSIGN OWNED BY a TO b
REVOKE ALL ON customer FROM public
IMPORT FOREIGN SCHEMA x FROM SERVER y INTO z
