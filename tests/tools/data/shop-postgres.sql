-- The same shop for PostgreSQL, with what only PostgreSQL has: schemas, mixed case, arrays, jsonb.
CREATE TABLE artist (artist_id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE album (album_id int PRIMARY KEY, title text NOT NULL, artist_id int NOT NULL REFERENCES artist);
CREATE TABLE track (track_id int PRIMARY KEY, name text NOT NULL, album_id int REFERENCES album, genre text, milliseconds int NOT NULL, unit_price numeric(10, 2) NOT NULL);
CREATE TABLE customer (customer_id int PRIMARY KEY, first_name text NOT NULL, last_name text NOT NULL, country text, email text NOT NULL, joined date);
CREATE TABLE invoice (invoice_id int PRIMARY KEY, customer_id int NOT NULL REFERENCES customer, invoice_date timestamp NOT NULL, total numeric(10, 2) NOT NULL);
CREATE VIEW spending AS SELECT customer_id, SUM(total) AS spent FROM invoice GROUP BY customer_id;
CREATE TABLE "Ledger" ("EntryId" int PRIMARY KEY, "Amount" numeric(12, 2) NOT NULL, "Note" text);
CREATE SCHEMA sales;
CREATE TABLE sales.region (region_id int PRIMARY KEY, name text NOT NULL, tags text[] NOT NULL, details jsonb NOT NULL);
CREATE SEQUENCE ticket;
INSERT INTO artist VALUES (1, 'The Paper Boats'), (2, 'Harbour Lights'), (3, 'Nine Lanterns');
INSERT INTO album VALUES (1, 'Low Tide', 1), (2, 'Signal Fire', 2), (3, 'High Tide', 1), (4, 'Winter Market', 3);
INSERT INTO track VALUES (1, 'Anchor', 1, 'Folk', 201000, 0.99), (2, 'Drift', 1, 'Folk', 185000, 0.99), (3, 'Beacon', 2, 'Rock', 240500, 1.29), (4, 'Ember', 2, 'Rock', 305000, 1.29), (5, 'Spring Flood', 3, 'Folk', 150000, 0.99), (6, 'Stalls', 4, 'Jazz', 412000, 1.49), (7, 'Lantern Song', 4, NULL, 98000, 0.99);
INSERT INTO customer VALUES (1, 'Ada', 'Quill', 'Portugal', 'ada@example.com', '2021-03-01'), (2, 'Ben', 'Sorrel', 'Thailand', 'ben@example.com', '2022-07-15'), (3, 'Cleo', 'Marsh', 'Portugal', 'cleo@example.com', '2023-01-09'), (4, 'Dan', 'Reed', NULL, 'dan@example.com', NULL);
INSERT INTO invoice VALUES (1, 1, '2024-01-05 10:00:00', 12.50), (2, 1, '2024-02-11 09:30:00', 7.25), (3, 2, '2024-02-14 18:45:00', 30.10), (4, 3, '2025-01-02 08:00:00', 4.99), (5, 2, '2025-03-20 12:00:00', 9.90);
INSERT INTO "Ledger" VALUES (1, 100.00, 'opening'), (2, -12.50, NULL);
INSERT INTO sales.region VALUES (1, 'North', '{cold,coast}', '{"manager": "Ines", "shops": 4}'), (2, 'South', '{warm}', '{"manager": "Omar", "shops": 7}');
