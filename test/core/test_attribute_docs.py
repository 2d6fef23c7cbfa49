"""What a dataclass says of its fields."""

from refdet_core.attribute_docs import attribute_docs


class Base:
    """A base.

    Attributes:
        one: first, see :func:`some.where.function` and
            :class:`Other`.
        two, three: a ``pair``: of two.

    More text, with a colon: this is no attribute.
    """


class Derived(Base):
    """A class that says one thing anew.

    Attributes:
        two: its own.
    """


class Silent(Derived):
    pass


def test_entries_are_joined_shared_inherited_and_plain():
    assert attribute_docs(Base) == {
        "one": "First, see function and Other.",
        "two": "A 'pair': of two.",
        "three": "A 'pair': of two.",
    }
    assert attribute_docs(Silent) == {**attribute_docs(Base), "two": "Its own."}


def test_nothing_said():
    assert attribute_docs(object) == {} and attribute_docs(int) == {}
