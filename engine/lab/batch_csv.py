"""The CSV file of a staged batch, as the service reads it (page: CSV files for mailbox migration)."""

from __future__ import annotations

import csv
import io

from engine.lab.facts import migration_error

CSV_ROWS_MAX = 2000
CSV_COLUMNS = {"emailaddress", "password", "forcechangepassword"}


def read_csv(data: bytes, unknown_columns: bool) -> list[str]:
    """The addresses of a staged batch. The five checks of the service (E17), which names only the first it finds."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise migration_error("E17", reason="it is not UTF-8 text") from None
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    if len(rows) < 2:
        raise migration_error("E17", reason="it is empty")
    header = [name.strip().lower() for name in rows[0]]
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        raise migration_error("E17", reason="it is not comma-separated")
    if "emailaddress" not in header:
        raise migration_error("E17", reason="the column EmailAddress is missing")
    unknown = [name for name in header if name not in CSV_COLUMNS]
    if unknown and not unknown_columns:
        raise migration_error("E17", reason=f"the column '{unknown[0]}' is unknown")
    if len(rows) - 1 > CSV_ROWS_MAX:
        raise migration_error("E17", reason=f"it has more than {CSV_ROWS_MAX} rows")
    if any(len(row) != len(header) for row in rows):
        raise migration_error("E17", reason="its rows do not all have the same number of columns")
    place = header.index("emailaddress")
    addresses = [row[place].strip().lower() for row in rows[1:]]
    if any("@" not in each for each in addresses):
        raise migration_error("E17", reason="a row has no valid EmailAddress")
    if len(set(addresses)) != len(addresses):
        raise migration_error("E17", reason="an address is there twice")
    if "password" in header:
        secret = header.index("password")
        if any(0 < len(row[secret]) < 8 for row in rows[1:]):
            raise migration_error("E17", reason="a password has fewer than 8 characters")
    return addresses
