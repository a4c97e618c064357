"""What can go wrong with what trees agree on."""

from __future__ import annotations

from sprag_supervisor import SpragFieldsError

__all__ = ["BadEngine", "EngineAway", "EngineFull", "MissingClient"]


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
