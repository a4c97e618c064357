"""What can go wrong with what trees agree on."""

from __future__ import annotations

from sprag_supervisor import SpragFieldsError

__all__ = [
    "BadEngine",
    "EngineAway",
    "EngineFull",
    "MissingClient",
    "NewerSchema",
    "OtherPartitions",
]


class BadEngine(SpragFieldsError):
    """The engine cannot be used as it stands: what is agreed on there might be forgotten.

    Attributes:
        engine: Where it is.
        why: What is wrong with it.
        remedy: What to do.
    """

    engine: str
    why: str
    remedy: str
    _template = "the engine at {engine} {why}: {remedy}"

    def __init__(self, engine: str, why: str, remedy: str) -> None:
        super().__init__(engine=engine, why=why, remedy=remedy)


class EngineAway(SpragFieldsError):
    """The engine cannot be asked: it is gone, or does not answer in time.

    Attributes:
        engine: Where it is.
        why: What is known of that.
    """

    engine: str
    why: str
    _template = "the engine at {engine} is away: {why}"

    def __init__(self, engine: str, why: str) -> None:
        super().__init__(engine=engine, why=why)


class EngineFull(SpragFieldsError):
    """The engine takes no more: what it keeps is bounded, in number and in bytes.

    Attributes:
        what: Of what it has too much.
        most: How much it takes.
    """

    what: str
    most: int
    _template = "the engine takes no more {what}: {most} at most"

    def __init__(self, what: str, most: int) -> None:
        super().__init__(what=what, most=most)


class MissingClient(SpragFieldsError, ImportError):
    """An engine is named whose client library is not installed."""

    engine: str
    module: str
    _template = (
        "{engine} needs the extra 'cluster' of sprag ({module} is not installed): "
        "pip install 'sprag-otp[cluster]'"
    )

    def __init__(self, engine: str, module: str) -> None:
        super().__init__(engine=engine, module=module)


class OtherPartitions(SpragFieldsError):
    """What is sharded has another number of partitions where it runs already.

    Attributes:
        name: What is sharded.
        given: How many partitions it was given here.
        found: How many it has there.
        where: Nodes that run it.
    """

    name: str
    given: int
    found: int
    where: str

    def __init__(self, name: str, given: int, found: int, where: str) -> None:
        super().__init__(name=name, given=given, found=found, where=where)

    def _message(self) -> str:
        return (
            f"{self.name} has partitions={self.given} here and {self.found} in {self.where}: give "
            "it as many, or stop it everywhere before it gets others"
        )


class NewerSchema(SpragFieldsError):
    """A newer version of sprag has written what is to be shared with it.

    Attributes:
        name: What that is about.
        known: The schema that is known here.
        found: The one that was found.
    """

    name: str
    known: int
    found: int
    _template = (
        "what is kept of {name} has schema {found}, and this version of sprag knows no other than "
        "{known}: bring it up to date here"
    )

    def __init__(self, name: str, known: int, found: int) -> None:
        super().__init__(name=name, known=known, found=found)
