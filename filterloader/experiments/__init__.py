"""Experiments: the laboratory behind the command line; `compare` and `Recipe` are for your own."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filterloader.experiments.comparison import Comparison, compare
    from filterloader.experiments.recipe import Recipe

__all__ = ["Comparison", "Recipe", "compare"]


def __getattr__(name: str) -> Any:
    """Open a room when one of its names is asked for: the command line starts without loading torch."""
    if name == "Recipe":
        from filterloader.experiments.recipe import Recipe

        return Recipe
    if name in __all__:
        from filterloader.experiments import comparison

        return getattr(comparison, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
