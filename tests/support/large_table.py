"""A site with a table of several pieces of rows, and what a load by workers makes of it."""

from tests.support.job_site import JobSite

ROWS = 24_000
"""Of 300 bytes: some pieces of them."""


def backed_up(site: JobSite) -> JobSite:
    """With a table of several pieces, whose indexes are set aside, and one that points to it."""
    with site.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"USE {site.name}")
        cursor.execute(
            "CREATE TABLE big (id INT PRIMARY KEY, word VARCHAR(40), doc VARCHAR(300),"
            " KEY by_word (word), UNIQUE KEY by_both (word, id)) ENGINE=InnoDB"
        )
        cursor.execute(
            "CREATE TABLE refers (id INT PRIMARY KEY, big INT, KEY (big),"
            " CONSTRAINT to_big FOREIGN KEY (big) REFERENCES big (id)) ENGINE=InnoDB"
        )
        for first in range(0, ROWS, 1000):
            rows = ((it, f"wörd {it % 97}", "é😀" * 50) for it in range(first, first + 1000))
            cursor.executemany("INSERT INTO big VALUES (%s, %s, %s)", list(rows))
        cursor.execute("INSERT INTO refers SELECT id, id FROM big WHERE id < 50")
        cursor.execute(
            "CREATE TRIGGER doubles BEFORE INSERT ON big FOR EACH ROW SET NEW.word = 'twice'"
        )
    site.create()
    return site


def staging(site: JobSite) -> str:
    return f"{site.name}_lcp_staging"


def progress_table(site: JobSite) -> str:
    rows = site.server.execute(
        "SELECT table_name FROM information_schema.tables"
        f" WHERE table_schema = '{staging(site)}' AND table_name LIKE 'lcp\\_load\\_%'"
    )
    ((name,),) = rows
    return f"{staging(site)}.{name}"


def indexes(site: JobSite) -> set[str]:
    rows = site.server.execute(f"SHOW INDEX FROM {staging(site)}.big")
    return {str(row[2]) for row in rows}
