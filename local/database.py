"""Where a site's database is."""

from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import pymysql


@dataclass(frozen=True)
class Database:
    """Where the site's database is."""

    host: str
    port: int
    user: str
    password: str
    name: str
    flavour: str = ""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Reads `mysql://user:password@host:port/name`."""
        split = urlsplit(url)
        name = split.path.strip("/")
        if split.scheme not in {"mysql", "mariadb"} or not split.hostname or not name:
            raise SystemExit("STACK_DATABASE_URL must read mysql://user:password@host:port/name")
        try:
            port = split.port or 3306
        except ValueError:
            # Its own words would quote what stands there: the password, if it holds a slash.
            raise SystemExit(
                "the port in STACK_DATABASE_URL is no number; write a / in a password as %2F"
            ) from None
        return cls(
            host=split.hostname,
            port=port,
            user=unquote(split.username or ""),
            password=unquote(split.password or ""),
            name=name,
        )

    def connect(self) -> "pymysql.Connection[Any]":
        """A connection to the server, no database chosen."""
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            charset="utf8mb4",
            autocommit=True,
        )
