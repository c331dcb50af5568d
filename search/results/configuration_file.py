"""The winner's configuration file: everything that retraining needs, as JSON or YAML."""

import difflib
import json
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt, ValidationError
from pydantic_core import ErrorDetails

from cnn_blocks import registry
from cnn_blocks.config import Configuration
from cnn_blocks.errors import UserError
from cnn_blocks.paths import user_path
from cnn_blocks.source_files import load_source
from search.data.image_fit import FORMER_FIT, Fit
from search.system.files import write_text
from search.system.printed_command import printed_command
from spaces.candidate import Candidate

FORMAT_VERSION = 1
_SUFFIXES = (".json", ".yaml", ".yml")


class BestConfiguration(Configuration):
    """A candidate, its origin, and how it is retrained.

    Attributes:
        study: The study that found it; `study`, `trial`, `metric` and `value` are informative.
        recipe: The published baseline that it reproduces, if it comes from a recipe.
        value: The metric on the validation images with which the candidate won.
        seed: Seeds the split, the initial weights and the order of the images.
        epochs: Epochs of the retraining; None trains `candidate.training.epochs`.
        image_size: (height, width) in pixels to which images are resized; None keeps their size.
        fit: How images are fitted to the aspect ratio of `image_size`.
        class_names: The classes it was found on; retraining on others is allowed, with a note.
        components: By kind, the file or module that defines each of the user's own components.
            Reading the configuration imports them: read only files that you trust.
    """

    format_version: Literal[1] = 1
    study: str | None = None
    recipe: str | None = None
    trial: NonNegativeInt | None = None
    metric: str | None = None
    value: float | None = None
    seed: NonNegativeInt = 0
    epochs: PositiveInt | None = None
    image_size: tuple[PositiveInt, PositiveInt] | None = None
    fit: Fit | None = None
    class_names: tuple[str, ...] = ()
    components: dict[str, str] = Field(default_factory=dict)
    candidate: Candidate

    @property
    def fit_of_images(self) -> Fit | None:
        """The fit that the candidate was found with; None without an image size.

        Older versions stretched all images and stored no fit.
        """
        return self.fit or (None if self.image_size is None else FORMER_FIT)


def write_configuration(path: str | Path, configuration: BestConfiguration) -> Path:
    """Atomically writes a configuration as JSON or YAML, depending on the suffix of `path`."""
    path = user_path(path)
    content = configuration.model_dump(mode="json")
    if _suffix(path) == ".json":
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    else:
        import yaml

        text = "# Retrain with: python -m search.retrain --config THIS_FILE --data YOUR_DATA\n"
        text += yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    try:
        write_text(path, text)
    except OSError as error:
        raise UserError(
            f"A configuration needs a writable path; {path}: {error.strerror}. Fix: make its "
            f"folder writable, or choose another file."
        ) from error
    return path


def read_configuration(path: str | Path) -> BestConfiguration:
    """Reads a configuration and imports the user's own components that it names.

    Raises UserError for a missing or broken file, a newer format, an unknown key (the message lists
    the allowed keys and the closest match), an invalid value, or a missing component.
    """
    path = user_path(path)
    content = _parse(path)
    _require_readable_version(path, content)
    components = content.get("components")
    if isinstance(components, Mapping):
        for kind, source in components.items():
            _load_component(path, str(kind), str(source))
    try:
        return BestConfiguration.model_validate(content)
    except ValidationError as error:
        problems = [_explain(content, problem) for problem in _causes(error.errors())]
        raise UserError("\n".join(f"{path}: {problem}" for problem in problems)) from error


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise UserError(
            f"A configuration file must end in {', '.join(_SUFFIXES)}; received {str(path)!r}."
        )
    return suffix


def _parse(path: Path) -> dict[str, Any]:
    suffix = _suffix(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(
            f"A configuration must be an existing file; there is no {path}. Fix: write one with "
            + printed_command(
                *("python", "-m", "search.export", "--study", "STUDY", "--to", path.name)
            )
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"A configuration must be a readable UTF-8 text file; {path}: {error}. Fix: correct "
            f"the file, or export it again."
        ) from error
    content = _parse_json(path, text) if suffix == ".json" else _parse_yaml(path, text)
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: a configuration must be a mapping of keys to values; "
            f"received {type(content).__name__}."
        )
    return content


def _parse_json(path: Path, text: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise UserError(
                    f"{path}: a key must be unique in its mapping; {key!r} occurs twice. Fix: keep "
                    f"one."
                )
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}."
        ) from error


def _parse_yaml(path: Path, text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def once(loader: Loader, node: yaml.MappingNode) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise UserError(
                    f"{path}, line {key.start_mark.line + 1}: a key must be unique in its mapping; "
                    f"{key.value!r} occurs twice. Fix: keep one."
                )
            seen.add(key.value)
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, once)
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error)
        raise UserError(f"{path}{where}: not valid YAML: {reason}.") from error


def _require_readable_version(path: Path, content: Any, key: str = "format_version") -> None:
    """Rejects newer formats first, because errors about their unknown keys would mislead."""
    for name, value in list(content.items()):
        if isinstance(value, Mapping):
            _require_readable_version(path, value, key)
        elif name == key and isinstance(value, int) and value > FORMAT_VERSION:
            raise UserError(
                f"{path}: format_version {value} comes from a newer cnn-search; this version reads "
                f"up to {FORMAT_VERSION}. Fix: upgrade cnn-search, or export the configuration "
                f"with this version."
            )


def _load_component(path: Path, kind: str, source: str) -> None:
    reference = source
    if source.endswith(".py") and not user_path(source).is_absolute():
        reference = str(path.resolve().parent / source)
    elif source.endswith(".py") and not user_path(source).is_file():
        # The file may have been moved together with its configuration.
        beside = path.resolve().parent / Path(source).name
        reference = str(beside) if beside.is_file() else source
    try:
        load_source(reference)
    except UserError as error:
        raise UserError(f"{path}: components.{kind} must be imported first: {error}") from error
    except Exception as error:  # a user's file may raise anything
        raise UserError(
            f"{path}: components.{kind} must come from a file that can be imported; {reference} "
            f"raised {type(error).__name__}: {error}."
        ) from error


def _causes(problems: list[ErrorDetails]) -> list[ErrorDetails]:
    """Drops consequences of deeper problems: pydantic counts only valid items of a list."""
    locations = [problem["loc"] for problem in problems]

    def has_inner(location: tuple[int | str, ...]) -> bool:
        return any(other[: len(location)] == location != other for other in locations)

    return [problem for problem in problems if not has_inner(problem["loc"])]


def _explain(content: Any, problem: ErrorDetails) -> str:
    location, value = problem["loc"], problem["input"]
    key = ".".join(map(str, location)) or "the configuration"
    if problem["type"] == "extra_forbidden":
        owner = _model_at(content, location[:-1])
        allowed = list(owner.model_fields) if owner else []
        return f"{key} is not a known key{_choices(str(location[-1]), allowed)}"
    if problem["type"] == "missing":
        return f"{key} is missing. Fix: add it."
    if problem["type"] == "literal_error":
        owner = _model_at(content, location[:-1])
        allowed = _literals(owner.model_fields[str(location[-1])].annotation) if owner else []
        if allowed:
            return f"{key} must be one of its choices; received {value!r}{_choices(value, allowed)}"
    if problem["type"] == "value_error":
        return f"{key}: {problem['ctx']['error']}"
    rule = re.sub(r"^Input should be ", "must be ", problem["msg"])
    rule = re.sub(r"^Input ", "", rule)
    return f"{key} {rule}; received {value!r}."


def _choices(received: object, allowed: list[Any]) -> str:
    names = {str(name).lower(): str(name) for name in allowed}
    close = difflib.get_close_matches(str(received).lower(), names, n=1)
    hint = f"; did you mean {names[close[0]]!r}?" if close else "."
    return f"{hint} Allowed: {', '.join(map(str, allowed))}."


def _literals(annotation: Any) -> list[Any]:
    if typing.get_origin(annotation) is Literal:
        return list(typing.get_args(annotation))
    return [choice for part in typing.get_args(annotation) for choice in _literals(part)]


def _model_at(content: Any, location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Returns the configuration class at a location of the parsed file."""
    annotation: Any = BestConfiguration
    for step in location:
        model = _first(_models(annotation), content)
        try:
            content = content[step]
            if isinstance(step, str) and model is not None:
                annotation = model.model_fields[step].annotation
        except (KeyError, IndexError, TypeError):
            return None
    return _first(_models(annotation), content)


def _first(models: Iterator[type[BaseModel]], content: Any) -> type[BaseModel] | None:
    if isinstance(content, Mapping) and isinstance(content.get("kind"), str):
        for role in registry.ROLES:
            if content["kind"] in (known := registry.components(role)):
                return typing.cast(type[BaseModel], known[content["kind"]])
    return next(models, None)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)
