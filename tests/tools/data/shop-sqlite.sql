-- A small record shop, made up for the tests.
CREATE TABLE Artist (ArtistId INTEGER PRIMARY KEY, Name TEXT NOT NULL);
CREATE TABLE Album (AlbumId INTEGER PRIMARY KEY, Title TEXT NOT NULL, ArtistId INTEGER NOT NULL REFERENCES Artist (ArtistId));
CREATE TABLE Track (TrackId INTEGER PRIMARY KEY, Name TEXT NOT NULL, AlbumId INTEGER REFERENCES Album (AlbumId), Genre TEXT, Milliseconds INTEGER NOT NULL, UnitPrice NUMERIC NOT NULL);
CREATE TABLE Customer (CustomerId INTEGER PRIMARY KEY, FirstName TEXT NOT NULL, LastName TEXT NOT NULL, Country TEXT, Email TEXT NOT NULL, Joined DATE);
CREATE TABLE Invoice (InvoiceId INTEGER PRIMARY KEY, CustomerId INTEGER NOT NULL REFERENCES Customer (CustomerId), InvoiceDate DATETIME NOT NULL, Total NUMERIC NOT NULL);
CREATE INDEX InvoiceOfCustomer ON Invoice (CustomerId);
CREATE VIEW Spending AS SELECT CustomerId, SUM(Total) AS Spent FROM Invoice GROUP BY CustomerId;
INSERT INTO Artist VALUES (1, 'The Paper Boats'), (2, 'Harbour Lights'), (3, 'Nine Lanterns');
INSERT INTO Album VALUES (1, 'Low Tide', 1), (2, 'Signal Fire', 2), (3, 'High Tide', 1), (4, 'Winter Market', 3);
INSERT INTO Track VALUES (1, 'Anchor', 1, 'Folk', 201000, 0.99), (2, 'Drift', 1, 'Folk', 185000, 0.99), (3, 'Beacon', 2, 'Rock', 240500, 1.29), (4, 'Ember', 2, 'Rock', 305000, 1.29), (5, 'Spring Flood', 3, 'Folk', 150000, 0.99), (6, 'Stalls', 4, 'Jazz', 412000, 1.49), (7, 'Lantern Song', 4, NULL, 98000, 0.99);
INSERT INTO Customer VALUES (1, 'Ada', 'Quill', 'Portugal', 'ada@example.com', '2021-03-01'), (2, 'Ben', 'Sorrel', 'Thailand', 'ben@example.com', '2022-07-15'), (3, 'Cleo', 'Marsh', 'Portugal', 'cleo@example.com', '2023-01-09'), (4, 'Dan', 'Reed', NULL, 'dan@example.com', NULL);
INSERT INTO Invoice VALUES (1, 1, '2024-01-05 10:00:00', 12.5), (2, 1, '2024-02-11 09:30:00', 7.25), (3, 2, '2024-02-14 18:45:00', 30.1), (4, 3, '2025-01-02 08:00:00', 4.99), (5, 2, '2025-03-20 12:00:00', 9.9);
