# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/nightly.md, its recipes and the examples: each command works, and the numbers are those of the source."""

from __future__ import annotations

import configparser
import dataclasses
import os
import re
import shlex
import shutil
import textwrap
import tomllib
from pathlib import Path

import pytest
import yaml
from plugfest.cli import nightly
from plugfest.matrix import cluster, definition, ledger
from plugfest.matrix.job import JobSettings
from stand_in import latest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "nightly.md").read_text(encoding="utf-8")
RECIPES = ROOT / "docs" / "recipes"


@pytest.fixture
def examples(stand_in) -> None:
    shutil.copytree(ROOT / "examples", "examples")


def blocks(beginning: str) -> list[str]:
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE, re.MULTILINE)
    return [text for block in found if (text := textwrap.dedent(block).strip()).startswith(beginning)]


def test_its_commands(plugfest, examples) -> None:
    commands = [line for line in PAGE.splitlines() if line.startswith("    plugfest ")]
    done = []
    for command in commands:
        words = shlex.split(command)[1:]
        if "--scheduler" in words:
            # test_cluster.py has a cluster
            words = [*words[: words.index("--scheduler")], "--dry-run"]
        words = [str(latest()) if word.startswith("results/ci-") else word for word in words]
        words = ["srv" if word == "/srv/nightly" else word for word in words]
        done.append(plugfest(*words))
        assert (done[-1].status, done[-1].err) == (0, ""), command
    assert len(done) == 6
    for folder in ("nightly", "srv"):
        assert {path.name for path in Path(folder).iterdir()} == {".lock", "history.db", "results", "site"}
    # The first night, and the one whose matrix was run before.
    assert len([*Path("nightly/site/runs").iterdir()]) == 2 * 2


def test_its_matrix(tmp_path) -> None:
    text, pending = blocks("[matrix]")
    assert "queues" in pending
    (night,) = blocks("[nightly]")
    path = tmp_path / "m.toml"
    path.write_text(f"{text}\n{night}")
    found = definition.read(path, ["run"])
    settings = {job.name: job.settings for job in found.jobs}
    everywhere = JobSettings(slow=True, retries=2)
    assert settings["gve-std-trixie-backports"] == dataclasses.replace(everywhere, memory=2048)
    assert settings["igb-trixie-backports"] == dataclasses.replace(everywhere, areas=("smoke", "link"))
    assert "gve-hds-bookworm" not in settings
    assert len(settings) == 2 + 3 + 1
    assert (found.nightly.keep, found.nightly.title) == (30, "Vendor's drivers")


def test_its_table_of_settings() -> None:
    table = PAGE.partition("| key | meaning | default |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]]
    named = [name.replace("-", "_") for row in rows for name in re.findall(r"`([\w-]+)`", row[0])]
    assert sorted(named) == sorted(field.name for field in dataclasses.fields(JobSettings))
    defaults = {row[0].strip("`"): row[2] for row in rows}
    assert defaults["retries"] == str(JobSettings.retries)
    assert defaults["time-limit"] == f"{JobSettings.time_limit:g}"
    assert (
        defaults["`cpus`, `memory`, `accel".strip("`")]
        == f'{JobSettings.cpus}, {JobSettings.memory}, `"{JobSettings.accel}"`'
    )


def test_its_numbers() -> None:
    assert f"until {nightly.FRESH / 3600:g} hours after" in PAGE
    assert cluster.PATIENCE == 600, "the page says ten minutes"
    assert ledger.MOST_LOST == 3, "the page says three times"
    (worker,) = re.findall(r'--resources "(.*)"', PAGE)
    declared = dict(word.split("=") for word in worker.split())
    assert set(declared) == {cluster.MEMORY, cluster.KVM}
    # What two jobs need, which the worker runs at a time.
    needed = cluster.resources(definition.Job("ixgbe", "kr", "trixie", settings=JobSettings(accel="kvm")))
    assert {name: float(amount) for name, amount in declared.items()} == {
        name: 2 * amount for name, amount in needed.items()
    }


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.name)
def test_the_examples(path: Path) -> None:
    found = definition.read(path, ["run"])
    assert len({job.name for job in found.jobs}) == len(found.jobs) > 1
    tomllib.loads(path.read_text())


class TestRecipes:
    def test_systemd(self, plugfest, examples, tmp_path) -> None:
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str  # keys have capitals
        parser.read(RECIPES / "plugfest-nightly.service")
        service = parser["Service"]
        program, *words = shlex.split(service["ExecStart"])
        assert program in PAGE
        installed = re.findall(r"install -D -m 644 (\S+) (\S+)", PAGE)
        assert installed == [("examples/project.toml", words[1])]
        assert service["WorkingDirectory"] == words[-1] == f"/var/lib/{service['StateDirectory']}"
        words = ["examples/ci.toml" if word == words[1] else word for word in words]
        words = [str(tmp_path / "state") if word == words[-1] else word for word in words]
        assert plugfest(*words).status == 0
        assert (tmp_path / "state" / "site" / "index.html").is_file()
        parser.read(RECIPES / "plugfest-nightly.timer")
        assert parser["Timer"]["OnCalendar"] == "*-*-* 02,14:00"

    def test_github(self, plugfest, examples) -> None:
        (job,) = yaml.safe_load((RECIPES / "github.yml").read_text())["jobs"].values()
        steps = job["steps"]
        run = next(step["run"] for step in steps if "plugfest nightly" in step.get("run", ""))
        variable, *words = shlex.split(run)
        assert plugfest(*self.command(words)).status == 0
        cached = [step["with"] for step in steps if "cache" in step.get("uses", "")]
        paths = [variable.removeprefix("XDG_CACHE_HOME=$PWD/") + "/plugfest", "nightly"]
        assert [each["path"].split() for each in cached] == [paths] * 2
        # A second attempt at a night must not find that its key is taken.
        assert {each["key"] for each in cached} == {"nightly-${{ github.run_id }}-${{ github.run_attempt }}"}
        (unlink,) = [step["run"] for step in steps if "-type l" in step.get("run", "")]
        assert os.system(unlink) == 0
        assert [path for path in Path("nightly").rglob("*") if path.is_symlink()] == []
        (published,) = [step["with"]["path"] for step in steps if "upload-pages" in step.get("uses", "")]
        assert (Path(published) / "site" / "index.html").is_file()
        later = steps[steps.index(next(step for step in steps if step.get("run") == run)) + 1 :]
        assert [step["if"] for step in later] == ["always()"] * 4, "also after a night in which a test broke"

    def test_gitlab(self, plugfest, examples) -> None:
        found = yaml.safe_load((RECIPES / "gitlab.yml").read_text())
        (command,) = found["nightly"]["script"]
        assert plugfest(*self.command(shlex.split(command))).status == 0
        assert all(Path(path).exists() for path in found["nightly"]["artifacts"]["paths"])
        assert found["nightly"]["cache"]["paths"][1] == "nightly"
        assert os.system(" && ".join(found["pages"]["script"])) == 0
        (published,) = found["pages"]["artifacts"]["paths"]
        assert (Path(published) / "site" / "index.html").is_file()

    @staticmethod
    def command(words: list[str]) -> list[str]:
        """The arguments of plugfest, which is interrupted once, before the CI system ends the job."""
        number = words.index("plugfest")
        assert words[: number - 1] == ["timeout", "--foreground", "--signal=INT"]
        return words[number + 1 :]
