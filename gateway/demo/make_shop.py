"""Writes shop.sql, the demo database: `python -m gateway.demo.make_shop`. The same text at every run."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path

FILE = Path(__file__).with_name("shop.sql")
ORDERS = 400
FIRST_DAY = datetime.date(2024, 1, 2)
DAYS = 726

# Only types that SQLite and PostgreSQL share; keys are given, so that no sequence is needed.
TABLES = """\
CREATE TABLE categories (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE products (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, category_id INTEGER NOT NULL REFERENCES categories (id),
  price NUMERIC(8,2) NOT NULL, weight_kg NUMERIC(6,2) NOT NULL
);
CREATE TABLE customers (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, city TEXT NOT NULL, country TEXT NOT NULL,
  since DATE NOT NULL
);
CREATE TABLE orders (
  id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), ordered_on DATE NOT NULL,
  status TEXT NOT NULL
);
CREATE TABLE order_lines (
  id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders (id),
  product_id INTEGER NOT NULL REFERENCES products (id), quantity INTEGER NOT NULL,
  unit_price NUMERIC(8,2) NOT NULL
);
CREATE TABLE shipments (
  id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders (id), shipped_on DATE NOT NULL,
  carrier TEXT NOT NULL, weight_kg NUMERIC(8,2) NOT NULL
);
"""

CATEGORIES = ["Espresso", "Filter", "Decaf", "Equipment"]

# name, category, price in euros, weight in kilograms
PRODUCTS = [
    ("Harbour Blend", 1, "21.50", "1.00"),
    ("Nightjar", 1, "23.00", "1.00"),
    ("Old Mill", 1, "19.80", "1.00"),
    ("Copper Sun", 1, "24.60", "1.00"),
    ("Finch", 2, "31.00", "1.00"),
    ("Kestrel", 2, "29.40", "1.00"),
    ("Marsh Light", 2, "27.90", "1.00"),
    ("North Pier", 2, "34.50", "1.00"),
    ("Sundial", 2, "38.00", "1.00"),
    ("Low Tide", 3, "25.20", "1.00"),
    ("Quiet Hour", 3, "28.70", "1.00"),
    ("Hand Grinder", 4, "64.00", "0.80"),
    ("Pour-over Set", 4, "42.00", "1.20"),
    ("Paper Filters", 4, "6.50", "0.15"),
    ("Milk Jug", 4, "18.90", "0.40"),
    ("Brewing Scale", 4, "55.00", "0.60"),
]

# name, kind, city, country
CUSTOMERS = [
    ("Corner Cup", "cafe", "Berlin", "Germany"),
    ("Canal House Coffee", "cafe", "Hamburg", "Germany"),
    ("Bread and Bean", "shop", "Munich", "Germany"),
    ("Platform Four", "cafe", "Cologne", "Germany"),
    ("The Paper Crane", "cafe", "Leipzig", "Germany"),
    ("Green Door Grocery", "shop", "Bremen", "Germany"),
    ("Studio Canteen", "office", "Berlin", "Germany"),
    ("Le Petit Moulin", "cafe", "Paris", "France"),
    ("Place du Marché", "shop", "Lyon", "France"),
    ("Quai Neuf", "cafe", "Nantes", "France"),
    ("Atelier Rouge", "office", "Paris", "France"),
    ("Drie Bruggen", "cafe", "Amsterdam", "Netherlands"),
    ("De Koffiekamer", "cafe", "Utrecht", "Netherlands"),
    ("Windmill Works", "office", "Rotterdam", "Netherlands"),
    ("Groene Hoek", "shop", "Amsterdam", "Netherlands"),
    ("Grand Place Espresso", "cafe", "Brussels", "Belgium"),
    ("Haven Zes", "cafe", "Antwerp", "Belgium"),
    ("Nordlys", "cafe", "Copenhagen", "Denmark"),
    ("Havnegade Deli", "shop", "Aarhus", "Denmark"),
    ("Ringstrasse Eleven", "cafe", "Vienna", "Austria"),
    ("Uhrturm Kaffee", "cafe", "Graz", "Austria"),
    ("Alpenblick Hotel", "hotel", "Innsbruck", "Austria"),
    ("Piazza Sei", "cafe", "Milan", "Italy"),
    ("Bottega Lenta", "shop", "Turin", "Italy"),
    ("Old Town Roast Bar", "cafe", "Prague", "Czechia"),
    ("Blue Tram", "cafe", "Brno", "Czechia"),
    ("Plaza Mayor Café", "cafe", "Madrid", "Spain"),
    ("Mar y Molino", "shop", "Valencia", "Spain"),
    ("Ribeira Seven", "cafe", "Porto", "Portugal"),
    ("Tram Twenty-eight", "cafe", "Lisbon", "Portugal"),
]
CARRIERS = ["Own van", "Parcel North", "RailFreight"]

Row = Sequence[object]


def literal(value: object) -> str:
    """`value` as SQL: numbers bare, everything else quoted."""
    if isinstance(value, int | Decimal):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def insert(table: str, rows: Iterable[Row]) -> str:
    """One INSERT statement with a row a line."""
    lines = [f"({', '.join(map(literal, row))})" for row in rows]
    return f"INSERT INTO {table} VALUES\n" + ",\n".join(lines) + ";\n"


def price_on(day: datetime.date, price: Decimal) -> Decimal:
    """The price list went up by 4 percent on 1 January 2025."""
    return price if day.year < 2025 else (price * Decimal("1.04")).quantize(Decimal("0.01"))


def order_lines(rng: random.Random, day: datetime.date, customer: int) -> list[tuple[int, int, Decimal]]:
    """(product, quantity, unit price) of one order; cafes buy more than shops and offices."""
    products = rng.sample(range(1, len(PRODUCTS) + 1), rng.choice([1, 2, 2, 3, 3, 4]))
    most = 24 if CUSTOMERS[customer - 1][1] == "cafe" else 10
    return [(p, rng.randint(1, most), price_on(day, Decimal(PRODUCTS[p - 1][2]))) for p in sorted(products)]


def trade(rng: random.Random) -> tuple[list[Row], list[Row], list[Row]]:
    """Two years of orders by date, their lines, and the shipments of all but the cancelled."""
    orders: list[Row] = []
    lines: list[Row] = []
    shipments: list[Row] = []
    days = sorted(rng.randrange(DAYS) for _ in range(ORDERS))
    regulars = [1 + int(len(CUSTOMERS) * rng.random() ** 1.6) for _ in range(ORDERS)]
    for number, (offset, customer) in enumerate(zip(days, regulars, strict=True), start=1):
        day = FIRST_DAY + datetime.timedelta(days=offset)
        status = "cancelled" if rng.random() < 0.05 else "delivered" if offset < DAYS - 10 else "shipped"
        bought = order_lines(rng, day, customer)
        orders.append((number, customer, day, status))
        lines += [(i, number, *line) for i, line in enumerate(bought, start=len(lines) + 1)]
        if status != "cancelled":
            weight = sum((Decimal(PRODUCTS[p - 1][3]) * quantity for p, quantity, _ in bought), Decimal(0))
            carrier = rng.choices(CARRIERS, weights=[5, 8, 2])[0]
            sent = day + datetime.timedelta(days=rng.randint(1, 4))
            shipments.append((len(shipments) + 1, number, sent, carrier, weight))
    return orders, lines, shipments


def script() -> str:
    """The whole of shop.sql."""
    rng = random.Random(2024)
    orders, lines, shipments = trade(rng)
    products = [(i, n, c, Decimal(p), Decimal(w)) for i, (n, c, p, w) in enumerate(PRODUCTS, start=1)]
    customers = [
        (i, *customer, datetime.date(2018, 3, 1) + datetime.timedelta(days=rng.randrange(2100)))
        for i, customer in enumerate(CUSTOMERS, start=1)
    ]
    parts = [
        "-- The demo shop's database; written by make_shop.py. Runs on SQLite and on PostgreSQL.\n",
        TABLES,
        insert("categories", enumerate(CATEGORIES, start=1)),
        insert("products", products),
        insert("customers", customers),
        insert("orders", orders),
        insert("order_lines", lines),
        insert("shipments", shipments),
    ]
    return "".join(parts)


if __name__ == "__main__":
    FILE.write_text(script(), encoding="utf-8")
