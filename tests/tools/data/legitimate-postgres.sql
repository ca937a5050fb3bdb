-- Questions that people ask; each must pass the validator and run on PostgreSQL.
SELECT COUNT(*) FROM customer
SELECT count(DISTINCT country) FROM customer
SELECT * FROM artist ORDER BY name
SELECT name FROM artist ORDER BY name FETCH FIRST 2 ROWS ONLY
SELECT title FROM album WHERE title ILIKE '%tide%'
SELECT title FROM album WHERE title ~ '^Low' OR title ~* 'tide$'
SELECT genre, COUNT(*) AS n FROM track GROUP BY genre HAVING COUNT(*) > 1 ORDER BY n DESC NULLS LAST
SELECT album.title, SUM(track.milliseconds) AS ms FROM album JOIN track ON track.album_id = album.album_id GROUP BY album.title ORDER BY ms DESC LIMIT 1
SELECT customer.first_name || ' ' || customer.last_name AS name, SUM(invoice.total) AS spent FROM customer JOIN invoice ON invoice.customer_id = customer.customer_id GROUP BY customer.customer_id ORDER BY spent DESC LIMIT 5
SELECT c.first_name, i.total FROM customer AS c FULL JOIN invoice AS i ON i.customer_id = c.customer_id
SELECT name FROM track WHERE milliseconds > (SELECT AVG(milliseconds) FROM track)
SELECT name FROM artist WHERE EXISTS (SELECT 1 FROM album WHERE album.artist_id = artist.artist_id)
SELECT first_name FROM customer WHERE customer_id = ANY (ARRAY[1, 2])
SELECT first_name FROM customer WHERE customer_id <> ALL (SELECT customer_id FROM invoice)
WITH spent AS (SELECT customer_id, SUM(total) AS s FROM invoice GROUP BY customer_id) SELECT customer.first_name, spent.s FROM spent JOIN customer USING (customer_id) ORDER BY spent.s DESC
WITH a AS MATERIALIZED (SELECT 1 AS x) SELECT x FROM a
SELECT first_name FROM customer UNION ALL SELECT name FROM artist ORDER BY 1
SELECT country FROM customer INTERSECT SELECT 'Portugal'
SELECT date_trunc('month', invoice_date) AS month, SUM(total) FROM invoice GROUP BY month ORDER BY month
SELECT date_trunc('month', invoice_date)::date AS month, COUNT(*) FROM invoice GROUP BY 1
SELECT EXTRACT(YEAR FROM invoice_date) AS year, SUM(total) FROM invoice GROUP BY year
SELECT date_part('quarter', invoice_date), COUNT(*) FROM invoice GROUP BY 1
SELECT to_char(invoice_date, 'YYYY-MM') AS month, SUM(total) FROM invoice GROUP BY month
SELECT COUNT(*) FROM invoice WHERE invoice_date >= now() - interval '10 years'
SELECT age(TIMESTAMP '2025-01-01', MAX(invoice_date)) FROM invoice
SELECT joined + 30, CURRENT_DATE - joined FROM customer
SELECT COUNT(*) FROM invoice WHERE invoice_date BETWEEN DATE '2024-01-01' AND DATE '2024-12-31'
SELECT invoice_date AT TIME ZONE 'UTC' FROM invoice
SELECT to_date('2024-05-01', 'YYYY-MM-DD'), make_date(2024, 5, 1)
SELECT PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY total) AS median FROM invoice
SELECT percentile_disc(0.9) WITHIN GROUP (ORDER BY milliseconds) FROM track
SELECT mode() WITHIN GROUP (ORDER BY genre) FROM track
SELECT stddev(total), variance(total), stddev_pop(total), corr(total, customer_id) FROM invoice
SELECT CASE WHEN total > 10 THEN 'large' ELSE 'small' END AS size, COUNT(*) FROM invoice GROUP BY size
SELECT COALESCE(country, 'unknown'), NULLIF(country, ''), GREATEST(1, 2), LEAST(1, 2) FROM customer
SELECT total::int, total::numeric(10, 1), CAST(total AS text), ROUND(total, 1), CEIL(total), FLOOR(total), total % 2 FROM invoice
SELECT UPPER(first_name), INITCAP(last_name), LENGTH(email), LEFT(email, 3), SPLIT_PART(email, '@', 2), POSITION('@' IN email), SUBSTRING(email FROM 1 FOR 3), TRIM(BOTH 'x' FROM email) FROM customer
SELECT concat_ws(' ', first_name, last_name), replace(email, '@', ' at '), strpos(email, '@') FROM customer
SELECT string_agg(name, ', ' ORDER BY name) FROM artist
SELECT array_agg(name ORDER BY name) FROM artist
SELECT bool_or(total > 10), bool_and(total > 1) FROM invoice
SELECT DISTINCT ON (customer_id) customer_id, total FROM invoice ORDER BY customer_id, invoice_date DESC
SELECT name, ROW_NUMBER() OVER (PARTITION BY album_id ORDER BY milliseconds DESC) FROM track
SELECT invoice_id, SUM(total) OVER (ORDER BY invoice_date RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM invoice
SELECT invoice_id, AVG(total) OVER (ORDER BY invoice_date ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM invoice
SELECT invoice_id, total - LAG(total) OVER w, FIRST_VALUE(total) OVER w FROM invoice WINDOW w AS (PARTITION BY customer_id ORDER BY invoice_date)
SELECT COUNT(*) FILTER (WHERE genre = 'Folk') FROM track
SELECT genre, COUNT(*) FROM track GROUP BY ROLLUP (genre)
SELECT country, GROUPING(country), COUNT(*) FROM customer GROUP BY GROUPING SETS ((country), ())
SELECT "Amount" FROM "Ledger" WHERE "Note" IS NOT NULL
SELECT Ledger.Amount FROM Ledger ORDER BY Ledger.EntryId
SELECT name FROM sales.region
SELECT region.name, details ->> 'manager' AS manager, (details ->> 'shops')::int AS shops FROM sales.region ORDER BY shops DESC
SELECT name, tags[1], array_length(tags, 1), cardinality(tags) FROM sales.region
SELECT spent FROM spending ORDER BY spent DESC LIMIT 1
SELECT count(*) FROM public.artist
SELECT 'DROP TABLE customer; --' AS text, 'it''s' AS quote
SELECT first_name FROM customer WHERE email LIKE '%!_%' ESCAPE '!'
SELECT c.country, i.n FROM (SELECT customer_id, COUNT(*) AS n FROM invoice GROUP BY customer_id) AS i JOIN customer AS c ON c.customer_id = i.customer_id
SELECT EXTRACT(EPOCH FROM (MAX(invoice_date) - MIN(invoice_date))) / 86400 AS days FROM invoice
SELECT country IS NOT DISTINCT FROM NULL FROM customer
VALUES (1, 'a'), (2, 'b')
