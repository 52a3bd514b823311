"""Places of documents as Liferay's two stores lay them out."""

import pytest

from lcp_backup.liferay.store import ROOT, Sort, Store, recognise, sort_of


@pytest.mark.parametrize(
    ("name", "version", "simple", "advanced"),
    [
        ("1301", "1.0", "1301/1.0", "13/1301.afsh/1301_1.0.afsh"),
        ("1", "1.0", "1/1.0", "1.afsh/1_1.0.afsh"),
        ("12", "PWC", "12/PWC", "12.afsh/12_PWC.afsh"),
        ("123", "1.1~u-1", "123/1.1~u-1", "12/123.afsh/123_1.1~u-1.afsh"),
        (
            "123456789012",
            "2.0",
            "123456789012/2.0",
            "12/34/56/78/123456789012.afsh/123456789012_2.0.afsh",
        ),
        ("54321.png", "1.0", "54321.png/1.0", "54/32/54321.png/54321_1.0.png"),
        ("DLFE-20987.PDF", "1.0", "DLFE-20987.PDF/1.0", "DLFE/20/98/20987.pdf/20987_1.0.pdf"),
        (
            "DLFE-123456789.x",
            "1.0",
            "DLFE-123456789.x/1.0",
            "DLFE/12/34/56/123456789.x/123456789_1.0.x",
        ),
        ("kb/1/a.txt", "1.0", "kb/1/a.txt/1.0", "kb/1/a.txt/a_1.0.txt"),
        ("kb/1/a", "1.0", "kb/1/a/1.0", "kb/1/a/a_1.0.afsh"),
    ],
)
def test_a_document_lies_where_liferay_puts_it(
    name: str, version: str, simple: str, advanced: str
) -> None:
    for store, expected in ((Store.SIMPLE, simple), (Store.ADVANCED, advanced)):
        place = store.place(20097, 20123, name, version)
        assert place == f"{ROOT}20097/20123/{expected}"
        # And what it laid out is known again by that, but for names that are no numbers.
        assert recognise([place]) in {store, None}
        if name.isdigit():
            assert recognise([place]) is store


def test_a_store_is_told_by_most_of_its_documents() -> None:
    left_of_before = [Store.SIMPLE.place(1, 2, str(number), "1.0") for number in range(3)]
    since = [Store.ADVANCED.place(1, 2, str(number), "1.0") for number in range(9)]
    images = [Store.SIMPLE.place(1, 0, f"{number}.png", "1.0") for number in range(99)]
    assert recognise([*images, *left_of_before, *since]) is Store.ADVANCED
    assert recognise(images) is None
    assert recognise([f"{ROOT}README.txt", f"{ROOT}large.bin"]) is None


@pytest.mark.parametrize(
    ("path", "sort"),
    [
        ("README.txt", Sort.STORES_OWN),
        ("1/2/3/1.0", Sort.OF_ROWS),
        ("stray", Sort.OF_ROWS),
        ("1/0/3.png/1.0", Sort.OF_ROWS),
        ("1/0/12/1234.png/1234_1.0.png", Sort.OF_ROWS),
        ("1/0/document_preview/2/3/4/4-1.png/1.0", Sort.GENERATED),
        ("1/0/document_thumbnail/2/3/4.png/1.0", Sort.GENERATED),
        ("1/0/adaptive/uuid/2/2/3/4/1.0", Sort.GENERATED),
        ("1/0/knowledgebase/articles/5/a.txt/1.0", Sort.OTHER),
    ],
)
def test_what_some_row_should_name_is_told_from_what_none_does(path: str, sort: Sort) -> None:
    assert sort_of(f"{ROOT}{path}") is sort
