"""What each setting is for stands where it is declared, and is read from there whole."""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
import pytest

from hpcml.config import Campaign, tomllib
from hpcml.models.autoencoder import AutoencoderSettings
from hpcml.models.networks import MODELS
from hpcml.response import Level
from hpcml.setting_docs import described, summary
from hpcml.study.study_settings import Study
from hpcml.training import TrainSettings


def _reached(struct: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    yield struct
    for setting in described(struct):
        for inner in setting.tables:
            yield from _reached(inner)


STARTS = (Campaign, Study, AutoencoderSettings, *(each.Settings for each in MODELS.values()))
STRUCTS = list(dict.fromkeys(struct for start in STARTS for struct in _reached(start)))


def test_every_table_of_a_campaign_and_of_a_study_is_reached() -> None:
    names = {struct.__name__ for struct in STRUCTS}
    assert names >= {"Level", "Request", "Site", "TrainSettings", "Target", "ExplainSettings"}
    assert names >= {"AnalyzeSettings", "StudyTarget", "StudySplit", "AEVConstants"}


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_setting_is_told_and_its_default_is_what_it_is(struct: type[msgspec.Struct]) -> None:
    settings = described(struct)
    assert [setting.name for setting in settings] == list(struct.__struct_fields__)
    untold = [setting.name for setting in settings if len(setting.text) < 5]
    assert not untold, f"{struct.__name__}: say in its docstring what these are: {untold}"
    for setting, field in zip(settings, msgspec.structs.fields(struct), strict=True):
        assert setting.required == field.required
        if setting.default is None:
            continue
        given = tomllib.loads(f"{setting.name} = {setting.default}")
        hint = msgspec.defstruct("One", [(field.name, field.type)])
        value = getattr(msgspec.convert(given, hint), field.name)
        is_made = field.default is msgspec.NODEFAULT
        assert value == (field.default_factory() if is_made else field.default)


def test_a_setting_in_words() -> None:
    settings = {setting.name: setting for setting in described(TrainSettings)}
    assert settings["optimizer"].kind == '"adam" or "adamw"'
    assert settings["optimizer"].default == '"adam"'
    assert settings["average_decay"].kind == "number, at least 0, below 1"
    assert settings["train_sizes"].kind == "list of: whole number, at least 1"
    assert settings["threads"].text == "processes, and threads of each"
    assert settings["loss"].text.startswith('of the scaled error: "mse"')
    assert settings["hyperparameters"].default is None
    level = {setting.name: setting for setting in described(Level)}
    assert level["grid"].default == "[75, 302]"
    assert level["method"].required and level["method"].default is None
    assert level["instability"].kind == '"follow" or "refuse" or "warn"'
    assert summary(Level).startswith("A level of theory") and "exact" not in summary(Level)


def test_an_untold_field_and_a_line_without_a_field_are_errors() -> None:
    class Told(msgspec.Struct):
        """Of a thing.

        one    the first,
               which goes on
        two    the second
        """

        one: int = 1
        two: Annotated[Literal["a", "b"], "of no meaning here"] = "a"

    class More(Told):
        """More of it.

        four   nothing here has this name
        """

        three: int = 3

    class Untold(Told):
        """Says nothing of its own field."""

        three: int = 3

    assert [setting.text for setting in described(Told)] == [
        "the first, which goes on",
        "the second",
    ]
    with pytest.raises(LookupError, match="no field 'four'"):
        described(More)
    with pytest.raises(LookupError, match="no line for 'three'"):
        described(Untold)


def test_a_file_of_all_defaults_says_what_a_file_of_none_says() -> None:
    lines = [f"{s.name} = {s.default}" for s in described(TrainSettings) if s.default is not None]
    assert len(lines) > 40
    assert msgspec.convert(tomllib.loads("\n".join(lines)), TrainSettings) == TrainSettings()
