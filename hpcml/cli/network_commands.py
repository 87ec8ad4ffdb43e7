"""Commands of trained networks: predictions for other molecules, the rule that explains them, and
what they make of atoms and molecules."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hpcml.cli.command_words import Command, check_run, inside, one_of
from hpcml.cli.output_files import check_output
from hpcml.errors import SettingsError
from hpcml.exits import DONE, FAILED, WORK_LEFT
from hpcml.progress import tell


def commands() -> list[Command]:
    """The commands of this file."""
    return [
        Command(
            name="predict",
            help="predictions of a trained network for other molecules",
            words=_predict_words,
            run=_predict,
        ),
        Command(
            name="calibrate",
            help="find the rule that tells a run's network's reasons truly",
            words=_calibrate_words,
            run=_calibrate,
        ),
        Command(
            name="transfer",
            help="judge a run's network, and its reasons, on other data sets",
            words=_transfer_words,
            run=_transfer,
        ),
        Command(
            name="represent",
            help="look into a network's vectors of a data set's atoms and molecules",
            words=_represent_words,
            run=_represent,
        ),
        Command(
            name="plot",
            help="a figure of a run for a paper: PDF, SVG or PNG",
            words=_plot_words,
            run=_plot,
        ),
    ]


def _predict_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", type=inside("model"), metavar="MODEL", help="a run, or its model folder"
    )
    parser.add_argument("molecules", type=inside("dataset"), metavar="MOLECULES")
    parser.add_argument("--explain", action="store_true", help="with each atom's relevance")
    parser.add_argument(
        "--rule", metavar="NAME", help="that explains; unless given, the one that calibrate chose"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="instead of to the screen")


def _calibrate_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN")


def _transfer_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("datasets", type=inside("dataset"), nargs="*", metavar="DATASET")


def _transfer(options: argparse.Namespace) -> int:
    from hpcml import pipeline

    check_run(options.run)
    found = pipeline.transfer(options.run, options.datasets)
    if found is None:
        print("transfer: stopped in time; the same command goes on", file=sys.stderr)
        return WORK_LEFT
    result, files = found
    for line in result.notes:
        print(f"transfer: {line}", file=sys.stderr)
    print("\n".join([*result.lines(), *map(str, files.values())]))
    return DONE


def _represent_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", type=inside("model"), metavar="MODEL",
        help="a run, its model folder, or the published files of an ANI",
    )  # fmt: skip
    parser.add_argument(
        "dataset", type=inside("dataset"), metavar="DATASET", help="a data set, or a run"
    )
    parser.add_argument(
        "--to", type=Path, required=True, metavar="DIR", help="for vectors, tables and pictures"
    )


def _represent(options: argparse.Namespace) -> int:
    from hpcml import pipeline
    from hpcml.store import Dataset

    dataset = Dataset.open(options.dataset, verified=True)
    lines, files = pipeline.look_inside(dataset, options.model, options.to / "vectors", options.to)
    print("\n".join([*lines, *map(str, files)]))
    return DONE


def _plot_words(parser: argparse.ArgumentParser) -> None:
    from hpcml.report.paper_figures import WIDTHS
    from hpcml.report.plots import KINDS

    told = "; ".join(f"{kind}: {what}" for kind, what in KINDS.items())
    parser.add_argument("kind", type=one_of(KINDS), metavar="KIND", help=told)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".pdf, .svg, .png")
    parser.add_argument(
        "--width", type=one_of(WIDTHS), default="single", metavar="COLUMNS",
        help="single (85 mm, unless given) or double (178 mm)",
    )  # fmt: skip
    parser.add_argument("--molecule", default="", metavar="NAME", help="of the kind relevance")
    parser.add_argument(
        "--target", default="", metavar="LABEL", help="of a network that learned several"
    )


def _plot(options: argparse.Namespace) -> int:
    from hpcml import config
    from hpcml.cluster import RunFolder
    from hpcml.files import write_whole
    from hpcml.report.plots import ending, plot
    from hpcml.sources import dataset_path

    check_run(options.run)
    form = ending(options.out)
    check_output(options.out)
    run_folder = RunFolder(options.run)
    dataset = dataset_path(config.load(run_folder.campaign_toml), run_folder)
    figure = plot(
        options.kind,
        run_folder,
        dataset,
        form=form,
        width=options.width,
        molecule=options.molecule,
        target=options.target,
    )
    write_whole(options.out, figure)
    print(options.out)
    return DONE


def _predict(options: argparse.Namespace) -> int:
    from hpcml.predict_file import predict_file
    from hpcml.relevance import ExplainSettings
    from hpcml.relevance.explain_settings import AUTO

    if options.csv is not None:
        check_output(options.csv)
    explain = None
    if options.explain or options.rule is not None:
        try:
            explain = ExplainSettings(rule=options.rule or AUTO)
        except ValueError as error:
            raise SettingsError(str(error)) from None
    failed = predict_file(options.model, options.molecules, options.csv, explain=explain)
    for line in failed:
        print(f"failed (input): {line}", file=sys.stderr)
    return FAILED if failed else DONE


def _calibrate(options: argparse.Namespace) -> int:
    from hpcml import config
    from hpcml.cluster import RunFolder
    from hpcml.relevance import ExplainSettings
    from hpcml.relevance.calibration import calibrate
    from hpcml.relevance.rule_choice import told
    from hpcml.sources import dataset_path
    from hpcml.store import Dataset
    from hpcml.training.model_folder import ModelFolder

    run_folder = RunFolder(options.run)
    check_run(options.run)
    campaign = config.load(run_folder.campaign_toml)
    with run_folder.lock():
        found = calibrate(
            Dataset.open(dataset_path(campaign, run_folder)),
            run_folder.model,
            campaign.explain or ExplainSettings(),
            tell=lambda line: tell(f"calibrate: {line}"),
        )
    folder = ModelFolder(run_folder.model)
    print(folder.calibration_table.read_text(encoding="utf-8") + told(found))
    tell(f"calibrate: rule {found.rule}; in {folder.calibration_table}")
    return DONE
