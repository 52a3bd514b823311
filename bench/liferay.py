"""A database like a Liferay site's: twenty tables, XML and short rows, secondary indexes on all.

Structured content takes most of the bytes, permissions and entries most of the rows. The words
follow Zipf's law, or `gzip -6` would find less to do than in real text: 60 MB of it take 2.4 s and
become 32 %, 60 MB of English documentation 2.2 s and 26 % on the same machine.
"""

import itertools
import random
from collections.abc import Iterator
from typing import Final

_SHARES: Final = {
    "JournalArticle": 44, "DDMContent": 14, "PortletPreferences": 8, "MBMessage": 6,
    "ResourcePermission": 5, "AssetEntry": 4, "DLFileEntry": 3, "DLFileVersion": 3, "Layout_": 2,
    "SocialActivity": 1, "User_": 1, "Group_": 1, "Contact_": 1, "AssetTag": 1, "Counter": 1,
    "ExpandoValue": 1, "RatingsEntry": 1, "SearchLog": 1, "Address": 1, "ClassName_": 1,
}  # fmt: skip
"""Of a hundred bytes, how many are whose."""
_WITH_CONTENT: Final = {"JournalArticle", "DDMContent", "MBMessage", "PortletPreferences"}
SMALL_TABLE: Final = "RatingsEntry"
"""One of twenty, and about a hundredth of the bytes."""

_COLUMNS: Final = """
  `mvccVersion` bigint(20) NOT NULL DEFAULT 0,
  `uuid_` varchar(75) DEFAULT NULL,
  `id_` bigint(20) NOT NULL,
  `groupId` bigint(20) DEFAULT NULL,
  `companyId` bigint(20) DEFAULT NULL,
  `userId` bigint(20) DEFAULT NULL,
  `userName` varchar(75) DEFAULT NULL,
  `createDate` datetime(6) DEFAULT NULL,
  `modifiedDate` datetime(6) DEFAULT NULL,
  `treePath` longtext DEFAULT NULL,
  `title` varchar(255) DEFAULT NULL,
  `content` longtext DEFAULT NULL,
  `data_` blob DEFAULT NULL,
  `status` int(11) DEFAULT NULL,
  PRIMARY KEY (`id_`),
  UNIQUE KEY `IX_UUID_G` (`uuid_`,`groupId`),
  KEY `IX_UUID_C` (`uuid_`,`companyId`),
  KEY `IX_G_S` (`groupId`,`status`),
  KEY `IX_C_U` (`companyId`,`userId`),
  KEY `IX_C_M` (`companyId`,`modifiedDate`)
"""
_STATEMENT = 1_000_000
"""Bytes of rows in one INSERT, as dump programs write them."""


def dump_of(name: str, size: int) -> Iterator[bytes]:
    """About `size` bytes of SQL that make the database `name`; the same every time."""
    chance = random.Random(size)
    texts = _Texts(chance)
    yield f"CREATE DATABASE `{name}` DEFAULT CHARACTER SET utf8mb4;\nUSE `{name}`;\n".encode()
    for table, share in _SHARES.items():
        yield (
            f"CREATE TABLE `{table}` ({_COLUMNS}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
            " COLLATE=utf8mb4_unicode_ci;\n"
        ).encode()
        yield from _rows(table, size * share // 100, chance, texts)


def _rows(table: str, size: int, chance: random.Random, texts: "_Texts") -> Iterator[bytes]:
    written = number = 0
    head = f"INSERT INTO `{table}` VALUES "  # noqa: S608 -- a name of ours
    while written < size:
        rows = []
        length = 0
        while length < _STATEMENT and written + length < size:
            number += 1
            content = texts.article() if table in _WITH_CONTENT else "NULL"
            raw = f"0x{chance.randbytes(16).hex()}" if number % 5 == 0 else "NULL"
            row = (
                f"(0,'{texts.uuid()}',{30000 + number * 3},{chance.randrange(20100, 20400)},20097,"
                f"{chance.randrange(30000, 39000)},'{texts.name()}','{texts.moment()}',"
                f"'{texts.moment()}','/{chance.randrange(40000)}/','{texts.title()}',{content},"
                f"{raw},{number % 4})"
            )
            rows.append(row)
            length += len(row) + 1
        written += length
        yield (head + ",".join(rows) + ";\n").encode()


class _Texts:
    """What people and Liferay write: few words, many tags, the same phrases again and again."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        letters = "etaoinshrdlucmfwypvbgk"
        words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(8000)]
        # Zipf's law: the second word is half as frequent as the first, the third a third.
        often = list(itertools.accumulate(1 / rank for rank in range(1, len(words) + 1)))
        sentences = [
            " ".join(chance.choices(words, cum_weights=often, k=chance.randint(6, 16))).capitalize()
            + "."
            for _ in range(20_000)
        ]
        paragraphs = [" ".join(chance.choices(sentences, k=4)) for _ in range(10_000)]
        self._names = [f"{a.title()} {b.title()}" for a, b in itertools.pairwise(words)]
        self._titles = [" ".join(chance.choices(words, k=4)) for _ in range(4000)]
        self._articles = [
            '\'<?xml version=\\"1.0\\"?>\\n<root available-locales=\\"en_US,de_DE\\"'
            ' default-locale=\\"en_US\\">'
            + "".join(
                f'\\n\\t<dynamic-element name=\\"content{number}\\" type=\\"text_area\\"'
                ' index-type=\\"text\\" instance-id=\\"%s\\">\\n\\t\\t<dynamic-content'
                ' language-id=\\"en_US\\"><![CDATA[<p>'
                % chance.randbytes(4).hex()
                + chance.choice(paragraphs)
                + "</p>]]></dynamic-content>\\n\\t</dynamic-element>"
                for number in range(chance.randint(4, 24))
            )
            + "\\n</root>'"
            for _ in range(3000)
        ]

    def uuid(self) -> str:
        """A version 4 UUID, near enough."""
        text = self._chance.randbytes(16).hex()
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def name(self) -> str:
        """First and last."""
        return self._chance.choice(self._names)

    def title(self) -> str:
        """A few words."""
        return self._chance.choice(self._titles)

    def article(self) -> str:
        """Structured content, as a literal."""
        return self._chance.choice(self._articles)

    def moment(self) -> str:
        """A time of the last years."""
        random = self._chance.randrange
        return (
            f"20{random(16, 27)}-{random(1, 13):02}-{random(1, 29):02}"
            f" {random(24):02}:{random(60):02}:{random(60):02}.{random(1000):03}000"
        )
