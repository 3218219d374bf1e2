import re

import pytest

from results.export.closed import complaints

SCHEMA = {
    "name": str,
    "one?": ("only",),
    "count?": int,
    "on?": (True, "auto"),
    "list?": [{"share": float}],
}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"name": "a"}, []),
        ({"name": "a", "list": [{"share": 1}, {"share": 0.5}]}, []),
        ({"name": "a", "one": "only"}, []),
        ({"name": "a", "one": ["only"]}, ["`one` must be 'only', but is ['only']"]),
        ({"nam": "a"}, ["`nam` is no key of it", "`name` is missing"]),
        ({"name": "a", "count": "4"}, ["`count` must be a whole number, but is '4'"]),
        ({"name": "a", "count": True}, ["`count` must be a whole number, but is True"]),
        ({"name": "a", "on": 1}, ["`on` must be True or 'auto', but is 1"]),
        (
            {"name": "a", "list": [{"shar": 1}]},
            ["`list[0].shar` is no key of it", "`list[0].share` is missing"],
        ),
        ({"name": "a", "list": {}}, ["`list` must be a list, but is {}"]),
        ([], ["`the document` must be a mapping, but is []"]),
    ],
)
def test_a_document_is_held_against_its_schema(document: object, said: list[str]) -> None:
    assert complaints(document, SCHEMA) == said


def test_the_key_str_stands_for_any_other() -> None:
    assert complaints({"a": "4", "b": 4}, {str: re.compile("[0-9]")}) == [
        "`b` must be text like [0-9], but is 4"
    ]
