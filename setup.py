"""The list of packages, found: `targets` and `models` are installed inside `neurodeploy`.

All else is in pyproject.toml, which cannot express a search under another name.
"""

from __future__ import annotations

from setuptools import find_packages, setup


def packages_in(folder: str, name: str) -> list[str]:
    """The package `name`, whose source is `folder`, and all packages below it."""
    return [name, *(f"{name}.{package}" for package in find_packages(folder))]


setup(
    packages=[
        *packages_in("neurodeploy", "neurodeploy"),
        *packages_in("targets", "neurodeploy.targets"),
        *packages_in("models", "neurodeploy.models"),
    ]
)
