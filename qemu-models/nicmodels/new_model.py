# SPDX-License-Identifier: MIT
"""`nicmodels new NAME`: writes the package of a new model from the files in `template/`.

The new model has a PCI function with MSI-X, a reset, a MAC address and a link, but no rings; docs/adding-a-nic.md
continues from there.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path
from string import Template

import nicmodels.models

TEMPLATE = Path(__file__).parent / "template"
SUFFIX = ".in"
LONGEST_NAME = 20


class NewModelError(Exception):
    """The model cannot be written; the message is one line."""


def write_model(name: str, into: Path | None = None) -> Path:
    """Write the package of a new model.

    Args:
        name: of the model.
        into: the folder for the package; None for `nicmodels/models`, if that is in a checkout.

    Returns:
        The package's folder.

    Raises:
        NewModelError: the name cannot be a package's or is taken, or the folder cannot be written.
    """
    if not re.fullmatch(r"[a-z]([a-z0-9_]*[a-z0-9])?", name) or len(name) > LONGEST_NAME or keyword.iskeyword(name):
        raise NewModelError(
            f"name {name!r}: expected up to {LONGEST_NAME} of a-z, 0-9 and _, beginning with a letter, as in my_nic"
        )
    if importlib.util.find_spec(f"nicmodels.models.{name}") is not None:
        raise NewModelError(f"name {name!r}: nicmodels.models has it already; choose another")
    package = (_models_folder() if into is None else into) / name
    values = {"name": name, "class_name": "".join(part.capitalize() for part in name.split("_")) + "Nic"}
    try:
        package.mkdir(parents=True)
        for template in sorted(TEMPLATE.glob(f"*{SUFFIX}")):
            text = Template(template.read_text(encoding="utf-8")).substitute(values)
            (package / template.name.removesuffix(SUFFIX)).write_text(text, encoding="utf-8")
    except FileExistsError as error:
        raise NewModelError(f"{error.filename} exists; choose another name or folder") from error
    except OSError as error:
        raise NewModelError(f"{package}: {error.strerror or error}") from error
    return package


def is_found(package: Path) -> bool:
    """Whether the registry looks for models in the folder of a package."""
    return str(package.parent.resolve()) in {str(Path(folder).resolve()) for folder in nicmodels.models.__path__}


def _models_folder() -> Path:
    """`nicmodels/models` in a checkout: what is written into an installed package is lost with the next version."""
    root = Path(__file__).resolve().parent
    if not (root.parent.parent / "pyproject.toml").is_file():
        raise NewModelError(f"{root} is not in a checkout; choose a folder by --into")
    return root / "models"
