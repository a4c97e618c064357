"""Programs: OS processes in the tree, and how one learns that they are ready and well."""

from sprag.programs.probes import Command, Http, Line, Notify, Port

__all__ = ["Command", "Http", "Line", "Notify", "Port"]
