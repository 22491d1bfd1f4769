"""Modules of a package that register what they define: to add a system, a family or a verb is to add a file."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def modules_of(package: ModuleType) -> list[ModuleType]:
    """Import every module that lies directly in a package, sub-packages apart, in alphabetical order."""
    names = [module.name for module in pkgutil.iter_modules(package.__path__) if not module.ispkg]
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]
