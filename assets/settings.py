"""Which root and which configuration: resolved once, in the same way for the command, the driver and the UI.

The command line wins over the environment (`LAMPWORKS_ROOT`, `LAMPWORKS_CONFIG`, `LAMPWORKS_SOURCE`,
`LAMPWORKS_HOME`, `LAMPWORKS_STORAGE_OPTIONS`), which wins over what the root remembers of its last pass
(`<home>/config.yaml`: the preset and what differs from it), which wins over the preset. So `lampworks ui` and the
weekly schedule go on with the source and settings of the last `lampworks run` without being told again.

    settings = load_settings(root="lampworks-data", source="folder:/videos")
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.config import Config, load_config, preset
from pipeline.config.renamed import with_present_names
from pipeline.config.yaml_file import END, ENDS, LARGEST, parse_yaml_file, read_yaml_file
from pipeline.errors import StoreError, UserError
from pipeline.job import Job
from pipeline.outside import parse_json, shown_url
from pipeline.progress import ProgressCallback
from pipeline.regular_file import read_regular
from pipeline.storage.home import Home, home_of
from pipeline.storage.owner import unfinished_name
from pipeline.storage.store import Store

DEFAULT_ROOT = "lampworks-data"
CONFIG = "config.yaml"
_ROOTS_OWN = "the root's config.yaml"
_OF_A_PRESET = ("tokenizer", "latent_actions", "dynamics", "training", "evaluation", "play")
"""Sections that another preset brings with it; all others say how the root's data were made, and stay."""
_HEADER = (
    f"# what the last `lampworks` pass over this root was told; a field that is absent is the preset's own\n{ENDS}\n"
)
# what delta-rs must be told in its own words although botocore would find it in the environment by itself
_AWS = {
    "key": ("AWS_ACCESS_KEY_ID",),
    "secret": ("AWS_SECRET_ACCESS_KEY",),
    "token": ("AWS_SESSION_TOKEN",),
    "endpoint_url": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "retry_s": (),
}


@dataclass(frozen=True)
class Settings:
    """A root, its configuration and its local home."""

    store: Store
    config: Config
    home: Home
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)
    """Dotted name of a setting -> where its value was set; those of the preset are absent."""
    notes: tuple[str, ...] = dataclasses.field(default=(), compare=False)
    """What a user should know about how they were found."""

    def origin_of(self, name: str) -> str:
        """Return where a setting's value comes from."""
        return self.origins.get(name, f"preset {self.config.preset}")

    @property
    def config_path(self) -> Path:
        """Where the root remembers its configuration."""
        return self.home.folder / CONFIG

    def job(self, on_progress: ProgressCallback | None = None) -> Job:
        """Return the work on this root as a stage takes it."""
        return Job(self.store, self.config, self.home, on_progress)

    def environment(self) -> dict[str, str]:
        """Return the variables by which Dagster's processes under `lampworks ui` find the same settings."""
        values = {
            "LAMPWORKS_ROOT": self.store.root,
            "LAMPWORKS_HOME": str(self.home.folder),
            "LAMPWORKS_CONFIG": str(self.config_path),
            "LAMPWORKS_SOURCE": "",
            "LAMPWORKS_STORAGE_OPTIONS": "",
            "DAGSTER_HOME": str(self.home.dagster),
        }
        if self.store.storage_options:
            values["LAMPWORKS_STORAGE_OPTIONS"] = json.dumps(self.store.storage_options)
        return values


def load_settings(
    root: str | None = None,
    *,
    config: str | Path | None = None,
    source: str | None = None,
    home: str | Path | None = None,
    storage_options: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    base: str | None = None,
    change_preset: bool = False,
    recall: bool = True,
) -> Settings:
    """Return the settings of a root.

    Args:
        root: folder or URL; default `LAMPWORKS_ROOT`, else `./lampworks-data`.
        config: YAML file; default `LAMPWORKS_CONFIG`, else what the root remembers.
        source: overrides `source.spec` (`folder:DIR`, `urls:FILE`, `youtube`, `arcade`).
        home: folder of local state; default `LAMPWORKS_HOME`, else the root itself, or a folder here for S3.
        storage_options: of S3; default `LAMPWORKS_STORAGE_OPTIONS` (JSON), else the AWS variables.
        overrides: nested values that win over all others, as `--set` gives them.
        base: preset to start from where neither a file nor the root names one; default `demo`, which a laptop trains.
        change_preset: whether `base` replaces another preset that the root remembers. The root's source and everything
            else that its data were made with stay; the settings of the models are the new preset's.
        recall: whether to read the store's own copy where its home here is new; False opens nothing.

    Raises:
        UserError: a wrong field, with its name, value and fix.
    """
    root = root or os.environ.get("LAMPWORKS_ROOT") or DEFAULT_ROOT
    if storage_options is None:
        storage_options = parse_storage_options(os.environ.get("LAMPWORKS_STORAGE_OPTIONS", ""))
    if "://" in root and not root.startswith("file:"):
        storage_options = {**_aws_options(), **storage_options}
    store = Store(root, storage_options)
    place = home_of(store, home or os.environ.get("LAMPWORKS_HOME") or None)
    layers: list[tuple[str, Mapping[str, Any]]] = []
    notes: tuple[str, ...] = ()
    chosen, label = _config_file(config, place.folder / CONFIG)
    if recall and chosen is None and str(place.folder) != store.root:
        # a home of its own may be new (another machine): the store knows what it was made with
        known = _remembered_by(store)
    else:
        known = _file_values(chosen) if label == _ROOTS_OWN and chosen is not None else {}
    if base and change_preset and known and known.get("preset", base) != base:
        kept, notes = _under_preset(base, known)
        chosen = None
        layers.append((_ROOTS_OWN, kept))
    elif chosen is not None:
        layers.append((label, _file_values(chosen)))
        if label != _ROOTS_OWN:
            layers += _remembered_source(place.folder / CONFIG, layers[0][1])
    elif known:
        base = known.pop("preset", base)
        layers.append((_ROOTS_OWN, known))
    for label, spec in (("--source", source), ("LAMPWORKS_SOURCE", os.environ.get("LAMPWORKS_SOURCE"))):
        if spec:
            layers.append((label, {"source": {"spec": spec}}))
            break
    if overrides:
        layers.append(("--set", overrides))
    values: dict[str, Any] = {}
    for _, layer in layers[1:] if chosen is not None else layers:
        values = _merged(values, layer)
    loaded = _absolute(load_config(chosen, base=base or "demo", **values))
    return Settings(store, loaded, place, {name: label for label, layer in layers for name in _names(layer)}, notes)


def _under_preset(name: str, remembered: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what a root keeps of its settings under another preset, and a note that says what it does not keep."""
    values = {section: value for section, value in remembered.items() if section != "preset"}
    before = load_config(None, base=str(remembered["preset"]), **values)
    chosen = _plain(dataclasses.asdict(preset(name)))
    mine = _plain(dataclasses.asdict(before))
    kept = {
        section: _difference(mine[section], chosen[section])
        for section in mine
        if isinstance(mine[section], dict) and section not in _OF_A_PRESET
    }
    # a preset may ask for clips of another size; what was set by hand stays
    kept["clips"] = dict(values.get("clips") or {})
    kept["source"]["spec"] = before.source.spec
    left = sorted(_names({section: values[section] for section in _OF_A_PRESET if section in values}))
    note = (
        f"preset {remembered['preset']} -> {name}: the source stays {before.source.spec!r}, and so do the other "
        "settings of collection and curation; the models are the new preset's"
    )
    present = load_config(None, base=name, clips=kept["clips"]).clips
    resized = _difference(_plain(dataclasses.asdict(present)), mine["clips"])
    if resized:
        asked = ", ".join(f"clips.{field} {mine['clips'][field]} -> {value}" for field, value in resized.items())
        note += f". Clips are cut again as it asks ({asked}); `--set` keeps them as they are"
    if left:
        note += f". Left behind: {', '.join(left)} (give them again with --set)"
    return {section: changes for section, changes in kept.items() if changes}, (note,)


def _config_file(config: str | Path | None, remembered: Path) -> tuple[str | Path | None, str]:
    """Return the file of settings and what its origin is called; None where there is no file."""
    variable = os.environ.get("LAMPWORKS_CONFIG")
    if config:
        return config, f"file {config}"
    if variable:
        return variable, f"file {variable} (LAMPWORKS_CONFIG)"
    # whatever has that name: one that is no file is refused, and not taken for a root that remembers nothing
    return (remembered, _ROOTS_OWN) if os.path.lexists(remembered) else (None, "")


def _remembered_source(path: Path, named: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return, as a layer, what a root remembers of its source and a file of settings does not name.

    Without it a file about a training would make another source of a root that has one.
    """
    if not path.is_file():
        return []
    try:
        known, own = _file_values(path).get("source"), named.get("source")
    except UserError:  # what is odd there is replaced by what this pass is told
        return []
    kept = {name: value for name, value in (known or {}).items() if name not in (own or {})}
    return [(_ROOTS_OWN, {"source": kept})] if kept else []


def _file_values(path: str | Path) -> dict[str, Any]:
    """Return a file's values under their present names; UserError where it cannot be read."""
    return {
        name: with_present_names(str(name), section) if isinstance(section, dict) else section
        for name, section in read_yaml_file(path).items()
    }


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for name, value in changes.items():
        inner = result.get(name)
        result[name] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return result


def _names(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every value."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _remembered_by(store: Store) -> dict[str, Any]:
    try:
        try:
            found = store.read_blob(CONFIG)
        except FileNotFoundError:
            return {}
        return parse_yaml_file(found, f"configuration {store.url(CONFIG)!r}")
    except (UserError, StoreError):
        raise
    except Exception as exc:  # an object store's client raises what it likes
        told = " ".join(str(exc).split())[:300]
        raise UserError(
            f"root {store.root!r} cannot be read ({told}): check its address, --storage-options, "
            "and the AWS variables; `lampworks doctor` tries it again."
        ) from exc


def parse_storage_options(text: str) -> dict[str, str]:
    """Return storage options of `key=...,secret=...,endpoint_url=...,region=...` or of a JSON object."""
    if not text.strip():
        return {}
    if text.lstrip().startswith("{"):
        try:
            return {str(name): str(value) for name, value in parse_json(text).items()}
        except ValueError as exc:
            raise UserError(f"storage options are not JSON: {exc}") from exc
    options = {}
    for part in text.split(","):
        name, separator, value = part.partition("=")
        if not separator or name.strip() not in _AWS:
            # the value may be a secret: name the field alone
            raise UserError(f"storage option {name.strip()!r}: expected NAME=VALUE with one of {', '.join(_AWS)}")
        options[name.strip()] = value.strip()
    return options


def save_config(settings: Settings) -> bool:
    """Write `<home>/config.yaml`, and for a home apart from its root the root's own copy, if it would change.

    Returns:
        Whether it did.

    Raises:
        UserError: it cannot be written.
    """
    text = _yaml(settings.config)
    path, store = settings.config_path, settings.store
    if str(settings.home.folder) != store.root:
        # the proxy is this machine's: others that share the store need to know that there is one, not its password
        source = dataclasses.replace(settings.config.source, proxy=shown_url(settings.config.source.proxy))
        shared = _yaml(dataclasses.replace(settings.config, source=source)).encode()
        if not (store.exists(CONFIG) and store.read_blob(CONFIG) == shared):
            store.write_blob(CONFIG, shared)
    with suppress(OSError):  # none is there, or something else has its name and is replaced
        if read_regular(path, LARGEST) == text.encode():
            return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        own = f"{unfinished_name()}-"
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=own, delete=False) as file:
            file.write(text)
        try:
            Path(file.name).replace(path)
        finally:
            Path(file.name).unlink(missing_ok=True)
    except OSError as exc:
        raise UserError(
            f"configuration {str(path)!r} cannot be written: {exc.strerror or exc}. Free space, give this user write "
            "access, or remove what has this name."
        ) from exc
    return True


def _yaml(config: Config) -> str:
    return _HEADER + yaml.safe_dump(config_changes(config), sort_keys=False, allow_unicode=True) + f"{END}\n"


def config_changes(config: Config) -> dict[str, Any]:
    """Return the configuration as the YAML of its preset, its source, and what else differs from the preset."""
    changes = _difference(_plain(dataclasses.asdict(config)), _plain(dataclasses.asdict(preset(config.preset))))
    # the source is written where it is the preset's too: a root whose preset is changed by hand keeps it
    changes["source"] = {"spec": config.source.spec, **changes.get("source", {})}
    return {"preset": config.preset, **changes}


def _difference(mine: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name, value in mine.items():
        if isinstance(value, dict) and isinstance(base.get(name), dict):
            inner = _difference(value, base[name])
            if inner:
                changes[name] = inner
        elif value != base.get(name):
            changes[name] = value
    return changes


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _absolute(config: Config) -> Config:
    # the schedule and the UI run from other folders: what is remembered must not depend on this one
    source = config.source
    if source.kind in {"folder", "recipe", "urls"} and "://" not in source.argument:
        source = dataclasses.replace(source, spec=f"{source.kind}:{Path(source.argument).expanduser().absolute()}")
    if source.files:
        source = dataclasses.replace(source, files=str(Path(source.files).expanduser().absolute()))
    if source.cookies:
        source = dataclasses.replace(source, cookies=str(Path(source.cookies).expanduser().absolute()))
    return dataclasses.replace(config, source=source)


def _aws_options() -> dict[str, str]:
    found = {}
    for option, names in _AWS.items():
        for name in names:
            if os.environ.get(name):
                found[option] = os.environ[name]
                break
    return found
