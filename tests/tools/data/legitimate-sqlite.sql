-- Questions that people ask; each must pass the validator and run on SQLite.
SELECT COUNT(*) FROM Customer
SELECT COUNT(DISTINCT Country) AS countries FROM Customer
SELECT * FROM Artist
SELECT Artist.* FROM Artist ORDER BY Artist.Name
SELECT Name FROM Artist ORDER BY Name DESC LIMIT 2
SELECT Name FROM Artist LIMIT 2 OFFSET 1
SELECT Title FROM Album WHERE Title LIKE '%Tide%' OR Title IS NULL
SELECT DISTINCT Genre FROM Track WHERE Genre IS NOT NULL AND Milliseconds BETWEEN 100000 AND 300000
SELECT Genre, COUNT(*) AS n FROM Track GROUP BY Genre HAVING COUNT(*) > 1 ORDER BY n DESC
SELECT Country, COUNT(*) AS n FROM Customer GROUP BY Country ORDER BY n DESC, Country
SELECT Album.Title, SUM(Track.Milliseconds) AS ms FROM Album JOIN Track ON Track.AlbumId = Album.AlbumId GROUP BY Album.AlbumId ORDER BY ms DESC LIMIT 1
SELECT Customer.FirstName || ' ' || Customer.LastName AS name, ROUND(SUM(Invoice.Total), 2) AS spent FROM Customer JOIN Invoice ON Invoice.CustomerId = Customer.CustomerId GROUP BY Customer.CustomerId ORDER BY spent DESC LIMIT 5
SELECT Customer.FirstName, Invoice.Total FROM Customer LEFT JOIN Invoice ON Invoice.CustomerId = Customer.CustomerId WHERE Invoice.Total IS NULL
SELECT a.Name, b.Title FROM Artist a INNER JOIN Album AS b USING (ArtistId)
SELECT Name FROM Track WHERE Milliseconds > (SELECT AVG(Milliseconds) FROM Track)
SELECT Name FROM Artist WHERE EXISTS (SELECT 1 FROM Album WHERE Album.ArtistId = Artist.ArtistId AND Album.Title LIKE 'H%')
SELECT FirstName FROM Customer WHERE CustomerId NOT IN (SELECT CustomerId FROM Invoice)
WITH spent AS (SELECT CustomerId, SUM(Total) AS s FROM Invoice GROUP BY CustomerId) SELECT Customer.FirstName, spent.s FROM spent JOIN Customer ON Customer.CustomerId = spent.CustomerId ORDER BY spent.s DESC
WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS y FROM a) SELECT a.x, b.y FROM a, b
SELECT FirstName FROM Customer UNION SELECT Name FROM Artist ORDER BY 1
SELECT Country FROM Customer INTERSECT SELECT 'Portugal'
SELECT CustomerId FROM Customer EXCEPT SELECT CustomerId FROM Invoice
SELECT strftime('%Y', InvoiceDate) AS year, SUM(Total) AS revenue FROM Invoice GROUP BY year ORDER BY year
SELECT strftime('%Y-%m', InvoiceDate), COUNT(*) FROM Invoice GROUP BY 1
SELECT date(InvoiceDate, 'start of month') AS month, SUM(Total) FROM Invoice GROUP BY month
SELECT julianday('2025-01-01') - julianday(MAX(InvoiceDate)) FROM Invoice
SELECT FirstName FROM Customer WHERE Joined >= date('now', '-50 years')
SELECT CASE WHEN Total > 10 THEN 'large' WHEN Total > 5 THEN 'middle' ELSE 'small' END AS size, COUNT(*) FROM Invoice GROUP BY size
SELECT IIF(Total > 10, 'large', 'small'), COALESCE(NULLIF(Total, 0), 1) FROM Invoice
SELECT CAST(Total AS INTEGER), Total * 1.2, Total / 2, Total - 1, -Total FROM Invoice
SELECT UPPER(FirstName), LOWER(LastName), LENGTH(Email), SUBSTR(Email, 1, 3), REPLACE(Email, '@', ' at '), TRIM(FirstName), INSTR(Email, '@') FROM Customer
SELECT Name, ROW_NUMBER() OVER (PARTITION BY AlbumId ORDER BY Milliseconds DESC) AS place FROM Track
SELECT InvoiceId, SUM(Total) OVER (ORDER BY InvoiceDate ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS running FROM Invoice
SELECT InvoiceId, Total - LAG(Total, 1, 0) OVER (PARTITION BY CustomerId ORDER BY InvoiceDate) AS change FROM Invoice
SELECT Name, RANK() OVER w, DENSE_RANK() OVER w, NTILE(2) OVER w FROM Track WINDOW w AS (ORDER BY Milliseconds)
SELECT COUNT(*) FILTER (WHERE Genre = 'Folk') AS folk, COUNT(*) AS every FROM Track
SELECT GROUP_CONCAT(Name, ', ') FROM Artist
SELECT MIN(Joined), MAX(Joined), AVG(CustomerId), TOTAL(CustomerId) FROM Customer
SELECT Spent FROM Spending ORDER BY Spent DESC LIMIT 1
SELECT COUNT(*) FROM main.Artist
SELECT "Name" FROM "Artist" WHERE "ArtistId" = 1
SELECT s.Title FROM (SELECT Title, ArtistId FROM Album WHERE ArtistId = 1) AS s
SELECT Name FROM Track WHERE Genre IN ('Folk', 'Jazz') AND NOT Name = 'Drift'
SELECT (SELECT COUNT(*) FROM Album WHERE Album.ArtistId = Artist.ArtistId) AS albums, Name FROM Artist
SELECT FirstName FROM Customer -- who are they
/* a note */ SELECT 1
SELECT 'DROP TABLE Customer; --' AS text
SELECT Name FROM Artist;
(SELECT Name FROM Artist)
VALUES (1, 'a'), (2, 'b')
SELECT e.FirstName AS one, f.FirstName AS other FROM Customer e JOIN Customer f ON e.Country = f.Country AND e.CustomerId < f.CustomerId
SELECT Email COLLATE NOCASE FROM Customer ORDER BY Email COLLATE NOCASE
SELECT typeof(Total), ABS(-3), printf('%.2f', Total) FROM Invoice
