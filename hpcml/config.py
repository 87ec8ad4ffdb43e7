"""The campaign file: TOML read field by field into the settings of each room.

``load`` reads what a person wrote, ``save`` writes the settings as they were resolved into the
run's folder, and what ``save`` wrote ``load`` reads again.
"""

from __future__ import annotations

import difflib
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import msgspec
import tomli_w

from hpcml import __version__
from hpcml.analysis import AnalyzeSettings
from hpcml.cluster import Site
from hpcml.errors import InputError, SettingsError
from hpcml.files import no_such_file, read_file, write_whole
from hpcml.relevance import ExplainSettings
from hpcml.response import Level, Request
from hpcml.response.level import NO_SOLVENT, SOLVENT_WORDS
from hpcml.study.study_settings import Study
from hpcml.training import TrainSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MOST_BYTES = 10_000_000
_NO_TOML = (".xyz", ".extxyz", ".sdf", ".mol", ".smi", ".csv", ".h5", ".json")

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class Molecules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the molecules come from.

    source    a file of molecules (xyz, extxyz, sdf, mol, smi, csv), or the folder of a data set,
              whose molecules are taken; from the campaign's own folder
    limit     so many of its records, the first; 0: all of them
    """

    source: str
    limit: Annotated[int, msgspec.Meta(ge=0)] = 0


class Campaign(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that one TOML file says.  Either [molecules] with [level], or dataset, is given.

    name         of the run, whose folder is runs/NAME
    molecules    what is computed: where the molecules come from
    level        how: method, basis set and thresholds
    properties   which properties of each molecule
    dataset      the path of a data set that exists already (``hpcml import qm9``), from the
                 campaign's own folder
    site         where it runs: a table, or the path of a site file
    train        the network that learns; without it none does
    explain      how the network is asked for its reasons; without it, it is not
    analyze      how its reasons are held against the physics
    versions     written by hpcml into the run's folder; not read
    """

    name: Name
    molecules: Molecules | None = None
    level: Level | None = None
    properties: Request = Request()
    dataset: str | None = None
    site: Site = Site()
    train: TrainSettings | None = None
    explain: ExplainSettings | None = None
    analyze: AnalyzeSettings = AnalyzeSettings()
    versions: dict[str, str] = {}

    def __post_init__(self) -> None:
        if (self.dataset is None) == (self.molecules is None):
            raise SettingsError("give either [molecules] with [level], or dataset = PATH")
        if self.molecules is not None and self.level is None:
            raise SettingsError("[molecules] needs a [level] with method and basis")
        if self.level is not None and self.level.damping is not msgspec.UNSET:
            raise SettingsError(
                "level: damping makes polarizabilities complex, for which data sets have no "
                "columns; leave it out, or compute molecules by hpcml compute --damping"
            )
        if self.explain is not None and self.train is None:
            raise SettingsError("[explain] needs a [train]: there is no network to explain")


def load(path: Path) -> Campaign:
    """The campaign of a TOML file; paths in it are taken from the file's own folder.

    SettingsError in one line, with file and key (or line), for whatever is wrong.
    """
    return convert(_tables(path), Campaign, path)


def load_study(path: Path) -> Study:
    """The study of a TOML file; paths in it are taken from the file's own folder.

    SettingsError in one line, as for a campaign.
    """
    tables = _read_toml(path)
    if "networks" not in tables and ("molecules" in tables or "train" in tables):
        raise SettingsError(f"{path}: is a campaign's file, and no study's: hpcml run {path}")
    folder = path.resolve().parent
    if isinstance(tables.get("site"), str):
        tables["site"] = _read_toml(folder / tables["site"])
    targets = tables.get("targets")
    for table in (tables, *(targets if isinstance(targets, list) else ())):
        _absolute(table, "dataset", folder)
        others = table.get("transfer") if isinstance(table, dict) else None
        for name in others if isinstance(others, dict) else ():
            _absolute(others, name, folder)
    return convert(tables, Study, path)


def is_study(path: Path) -> bool:
    """Whether a TOML file is a study's, which has networks, and no campaign's."""
    return "networks" in _read_toml(path)


def examine(path: Path) -> tuple[Campaign | None, list[str]]:
    """As much of a campaign's file as can be used, and all that is wrong, one line a table.

    The campaign lacks the tables that are wrong; None where nothing can be made of the rest.
    """
    try:
        tables = _tables(path)
    except SettingsError as error:
        return None, [str(error)]
    hints = get_type_hints(Campaign, include_extras=True)
    faults = []
    for key, value in list(tables.items()):
        kind = msgspec.defstruct("Part", [(key, hints[key])]) if key in hints else Campaign
        try:
            msgspec.convert({key: value}, kind)
        except (SettingsError, InputError) as error:
            faults.append(f"{path}: {error}")
        except msgspec.ValidationError as error:
            faults.append(f"{path}: {_explain(str(error), Campaign)}")
        else:
            continue
        del tables[key]
    if faults and "train" not in tables:
        tables.pop("explain", None)  # it needs [train], which has been told of
    try:
        return convert(tables, Campaign, path), faults
    except SettingsError as error:
        return None, faults or [str(error)]


def _tables(path: Path) -> dict[str, Any]:
    """The tables of a campaign's file, with the site's own and with absolute paths."""
    tables = _read_toml(path)
    if "networks" in tables:
        raise SettingsError(f"{path}: is a study's file, and no campaign's: hpcml study {path}")
    folder = path.resolve().parent
    site = tables.get("site")
    if isinstance(site, str):
        tables["site"] = _read_toml(folder / site)
    _absolute(tables.get("molecules"), "source", folder)
    _absolute(tables, "dataset", folder)
    _absolute(tables.get("train"), "split_file", folder)
    level = tables.get("level")
    if isinstance(level, dict) and str(level.get("basis", "")).endswith(".gbs"):
        _absolute(level, "basis", folder)
    return tables


def load_site(path: Path) -> Site:
    """The site of a TOML file of its own."""
    return load_struct(path, Site)


def load_struct(path: Path, kind: type[_T]) -> _T:
    """Settings of one kind from a TOML file of their own; SettingsError for what is wrong."""
    return convert(_read_toml(path), kind, path)


def save(campaign: Campaign | Study, path: Path) -> None:
    """Write a campaign or a study as resolved, with the versions of what will compute it."""
    tables = _without_none(msgspec.to_builtins(campaign))
    tables["versions"] = versions()
    text = "# The settings of this run as resolved; written by hpcml.\n" + tomli_w.dumps(tables)
    write_whole(path, text.encode())


def versions() -> dict[str, str]:
    """hpcml's own version and commit, and those of the packages that results depend on."""
    found = {"hpcml": __version__}
    commit = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    if commit.returncode == 0:
        found["commit"] = commit.stdout.strip()
    for package in ("numpy", "torch", "horovod", "rdkit", "h5py", "parsl", "mpi4py"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


_T = TypeVar("_T", bound=msgspec.Struct)


def convert(tables: dict[str, Any], kind: type[_T], path: Path) -> _T:
    """Tables as ``kind``; SettingsError naming file, key and what was expected."""
    try:
        return msgspec.convert(tables, kind)
    except (SettingsError, InputError) as error:  # raised by a struct's own check
        raise SettingsError(f"{path}: {error}") from None
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {_explain(str(error), kind)}") from None


def _read_toml(path: Path) -> dict[str, Any]:
    if path.is_dir():
        raise SettingsError(
            f"{path}: is a folder, and a campaign is a TOML file"
            + (f" ({path / 'campaign.toml'})" if (path / "campaign.toml").is_file() else "")
        )
    try:
        text = read_file(path, _MOST_BYTES).decode("utf-8-sig")
        tables = tomllib.loads(text.replace("\r\n", "\n"))
    except InputError as error:
        if not path.exists():
            raise SettingsError(
                f"{no_such_file(path)} (`hpcml init {path}` writes a campaign)"
            ) from None
        raise SettingsError(f"{path}: {error} (expected a campaign or site in TOML)") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        if path.suffix.lower() in _NO_TOML:
            raise SettingsError(
                f"{path}: a campaign is a TOML file, which names the molecules' file by "
                f'[molecules] source = "{path.name}" (see jobs/quickstart.toml)'
            ) from None
        raise SettingsError(f"{path}: not valid TOML: {error}") from None
    if "\\u0000" in json.dumps(tables, default=str):
        raise SettingsError(f"{path}: holds a zero byte in a text, which no path or name can have")
    return tables


def _absolute(table: object, key: str, folder: Path) -> None:
    if isinstance(table, dict) and isinstance(table.get(key), str) and table[key]:
        table[key] = str(folder / table[key])


def _without_none(value: Any) -> Any:
    """TOML has no null: what is None is left out."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value


def _explain(message: str, kind: type) -> str:
    """msgspec's words as ours: the TOML key instead of a JSON path, and what is allowed there."""
    what, _, where = message.partition(" - at `$")
    keys = [key for key in re.split(r"[.\[\]]+", where.rstrip("`")) if key]
    table = f"[{'.'.join(keys)}]" if keys else "the top level"
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", what)
    if unknown and unknown[1].lower() in SOLVENT_WORDS:
        return f"{table}: {unknown[1]}: {NO_SOLVENT}"
    if unknown:
        known = _fields(kind, keys)
        near = difflib.get_close_matches(unknown[1], known, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unknown key {unknown[1]!r} in {table}: {hint}known keys are {', '.join(known)}"
    missing = re.fullmatch(r"Object missing required field `(.*)`", what)
    if missing:
        return f"{table} needs the key {missing[1]!r}"
    return f"{'.'.join(keys) or 'the file'}: {what[0].lower() + what[1:]}"


def _fields(kind: Any, keys: list[str]) -> list[str]:
    """Names of the fields of the struct that ``keys`` lead to from ``kind``."""
    for key in keys:
        hints = get_type_hints(kind) if hasattr(kind, "__struct_fields__") else {}
        kind = hints.get(key, kind)
        kind = next((k for k in get_args(kind) if hasattr(k, "__struct_fields__")), kind)
    return list(getattr(kind, "__struct_fields__", ()))
