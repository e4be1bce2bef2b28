# SPDX-License-Identifier: GPL-2.0-or-later
"""The file of a matrix: the jobs that it makes, and what it may not have."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plugfest.errors import UsageError
from plugfest.matrix import definition
from plugfest.matrix.definition import Matrix
from plugfest.matrix.job import Job, JobSettings
from plugfest.provision.kernel import CHANNELS
from plugfest.requirements.drivers import ModelSubject, drivers

COMMANDS = ("run", "selftests")


def read(folder: Path, text: str, available: tuple[str, ...] = COMMANDS, **more: bool) -> Matrix:
    path = folder / "m.toml"
    path.write_text(text, encoding="utf-8")
    return definition.read(path, available, **more)


def axes(matrix: Matrix) -> list[tuple[str, str | None, str, str]]:
    return [(job.driver, job.profile, job.kernel, job.kind) for job in matrix.jobs]


class TestJobs:
    def test_the_product_with_defaults(self, tmp_path) -> None:
        found = read(tmp_path, 'matrix.drivers = ["ixgbe", "igb"]')
        assert axes(found) == [("ixgbe", "kr", "trixie-backports", "suite"), ("igb", None, "trixie-backports", "suite")]
        assert found.name == "m"
        assert {job.settings for job in found.jobs} == {JobSettings()}

    def test_all_axes(self, tmp_path) -> None:
        text = """
        [matrix]
        drivers = ["gve", "virtio-net"]
        kernels = ["trixie", "bookworm"]
        kinds = ["suite", "selftests"]
        profiles.gve = ["std", "hds"]
        """
        found = axes(read(tmp_path, text))
        assert len(found) == len(set(found)) == 2 * 2 * (2 + 1)
        assert ("gve", "hds", "bookworm", "selftests") in found
        assert ("virtio_net", None, "trixie", "suite") in found

    def test_all_profiles(self, tmp_path) -> None:
        subject = drivers()["gve"].subject
        assert isinstance(subject, ModelSubject)
        found = read(tmp_path, 'matrix = {drivers = ["gve"], profiles = {gve = "all"}}')
        assert [job.profile for job in found.jobs] == list(subject.profiles)

    def test_exclude(self, tmp_path) -> None:
        text = """
        [matrix]
        drivers = ["ixgbe", "igb"]
        kernels = ["trixie", "bookworm"]
        exclude = [{driver = "igb", kernel = "bookworm"}]
        """
        assert [each[:3:2] for each in axes(read(tmp_path, text))] == [
            ("ixgbe", "trixie"),
            ("ixgbe", "bookworm"),
            ("igb", "trixie"),
        ]

    def test_include_extends_what_agrees_with_it(self, tmp_path) -> None:
        text = """
        [matrix]
        drivers = ["ixgbe", "igb"]
        kernels = ["trixie", "bookworm"]
        include = [{driver = "igb", memory = 2048}, {kernel = "bookworm", areas = ["smoke"]}, {slow = true}]
        [run]
        memory = 512
        """
        found = {job.name: job.settings for job in read(tmp_path, text).jobs}
        assert found == {
            "ixgbe-kr-trixie": JobSettings(memory=512, slow=True),
            "ixgbe-kr-bookworm": JobSettings(memory=512, slow=True, areas=("smoke",)),
            "igb-trixie": JobSettings(memory=2048, slow=True),
            "igb-bookworm": JobSettings(memory=2048, slow=True, areas=("smoke",)),
        }

    def test_include_adds_what_agrees_with_nothing(self, tmp_path) -> None:
        text = """
        [matrix]
        drivers = ["ixgbe"]
        include = [{driver = "ixgbe", profile = "kx4", areas = ["link"]}, {driver = "igb", kernel = "trixie"}]
        [run]
        guests = 2
        """
        found = read(tmp_path, text)
        assert axes(found)[1:] == [("ixgbe", "kx4", "trixie-backports", "suite"), ("igb", None, "trixie", "suite")]
        assert [job.settings for job in found.jobs[1:]] == [
            JobSettings(areas=("link",), guests=2),
            JobSettings(guests=2),
        ]

    def test_what_is_included_is_not_extended_by_the_next(self, tmp_path) -> None:
        text = 'matrix.include = [{driver = "igb"}, {driver = "ixgbe", slow = true}]'
        assert [job.settings.slow for job in read(tmp_path, text).jobs] == [False, True]

    def test_paths_are_relative_to_the_file(self, tmp_path, monkeypatch) -> None:
        (tmp_path / "linux").mkdir()
        (tmp_path / "a.ko").touch()
        monkeypatch.chdir("/")
        text = 'matrix = {drivers = ["ixgbe"], kernels = ["./linux"]}\nrun.modules = ["a.ko"]'
        (job,) = read(tmp_path, text).jobs
        assert (job.kernel, job.settings.modules) == (str(tmp_path / "linux"), (str(tmp_path / "a.ko"),))
        assert "/" not in job.name

    def test_paths_elsewhere_need_not_be_here(self, tmp_path) -> None:
        text = 'matrix = {drivers = ["ixgbe"], kernels = ["/there/linux"]}\nrun.modules = ["/there/a.ko"]'
        (job,) = read(tmp_path, text, elsewhere=True).jobs
        assert job.kernel == "/there/linux"

    def test_its_arguments(self, tmp_path) -> None:
        text = """
        [matrix]
        drivers = ["ixgbe"]
        kinds = ["suite", "selftests"]
        [run]
        areas = ["link", "xdp"]
        slow = true
        strict-known = true
        pytest = ["-k", "not CL73"]
        accel = "tcg"
        """
        suite, selftests = read(tmp_path, text).jobs
        common = ["--kernel", "trixie-backports", "--output", "/o", "--profile", "kr"]
        common += ["--accel", "tcg", "--cpus", "2", "--memory", "1024"]
        more = [
            "--max-guests",
            "3",
            "--area",
            "link",
            "--area",
            "xdp",
            "--slow",
            "--strict-known",
            "--",
            "-k",
            "not CL73",
        ]
        assert suite.arguments(Path("/o"), 3) == ["run", "ixgbe", *common, *more]
        assert selftests.arguments(Path("/o"), 3) == ["selftests", "ixgbe", *common]

    def test_the_arguments_are_those_of_the_command(self, plugfest, tmp_path, monkeypatch) -> None:
        """Of which each must be known, whatever becomes of the run."""
        from plugfest.cli import run

        seen = []
        monkeypatch.setattr(
            run, "plan", lambda driver, options, output: seen.append((driver, options, output)) or 1 / 0
        )
        text = """
        [matrix]
        drivers = ["ixgbe"]
        [run]
        areas = ["smoke"]
        slow = true
        strict-known = true
        strict-waits = true
        pytest = ["-k", "SMOKE"]
        """
        (job,) = read(tmp_path, text).jobs
        done = plugfest(*job.arguments(tmp_path / "o", 1))
        assert "ZeroDivisionError" in done.err
        ((driver, options, output),) = seen
        assert (driver, options.kernel, options.profile, output) == ("ixgbe", "trixie-backports", "kr", tmp_path / "o")


class TestBadInput:
    @pytest.mark.parametrize(
        ("text", "messages"),
        [
            ("[matrix", ["expected TOML, found: Expected ']'"]),
            ("", ["[matrix]: expected at least one job, found none; name drivers"]),
            ("matrix = 1", ["the file: matrix: expected a table, found 1"]),
            ("[matrx]", ["the file: expected a key that it knows, found 'matrx'; did you mean matrix?"]),
            (
                "matrix.driver = ['igb']",
                ["[matrix]: expected a key that it knows, found 'driver'; did you mean drivers"],
            ),
            ("matrix.drivers = 'igb'", ['[matrix]: drivers: expected a list of at least one driver, found "igb"']),
            ("matrix.drivers = []", ["expected a list of at least one driver, found []"]),
            ("matrix.drivers = ['ixbge']", ["drivers: no driver 'ixbge'", "did you mean ixgbe"]),
            ("matrix.drivers = ['igb', 'igb']", ["drivers: expected each once, found 'igb' twice"]),
            (
                "matrix = {drivers = ['igb'], kernels = ['trixy']}",
                [
                    "kernels: expected one of trixie-backports, trixie, bookworm, a kernel build tree",
                    "did you mean trixie",
                ],
            ),
            (
                "matrix = {drivers = ['igb'], kinds = ['siute']}",
                ["expected one of suite, selftests", "did you mean suite?"],
            ),
            (
                "matrix = {drivers = ['ixgbe'], profiles = {ixgbe = ['sfp']}}",
                ["profiles.ixgbe: --profile sfp: expected one of kr, kx4"],
            ),
            ("matrix = {drivers = ['ixgbe'], profiles = {ixgbe = 'kr'}}", ["expected a list of profiles, or 'all'"]),
            ("matrix = {drivers = ['igb'], profiles = {igb = ['kr']}}", ["which has no profiles; omit it"]),
            (
                "matrix = {drivers = ['igb'], profiles = {igb = 'all'}}",
                ["profiles.igb: --profile all", "which has no profiles; omit it"],
            ),
            (
                "matrix = {drivers = ['igb'], profiles = {gve = ['std']}}",
                ["profiles: expected drivers of the matrix, found 'gve'; add it to drivers"],
            ),
            (
                "matrix = {drivers = ['igb']}\nrun.aeras = ['x']",
                ["[run]: expected a key", "'aeras'; did you mean areas?"],
            ),
            ("matrix = {drivers = ['igb']}\nrun.areas = ['sound']", ["[run]: --area sound: expected one of"]),
            (
                "matrix = {drivers = ['igb']}\nrun.guests = 0",
                ["[run]: guests: expected a number of guests from 1, found 0"],
            ),
            ("matrix = {drivers = ['igb']}\nrun.guests = true", ["found true"]),
            ("matrix = {drivers = ['igb']}\nrun.time-limit = 0", ["time-limit: expected minutes, more than 0"]),
            ("matrix = {drivers = ['igb']}\nrun.time-limit = nan", ["time-limit: expected minutes"]),
            ("matrix = {drivers = ['igb']}\nrun.modules = ['a.ko']", ["[run]: modules: expected kernel modules (.ko)"]),
            ("matrix = {drivers = ['igb']}\nnightly.keep = 0", ["[nightly]: keep: expected a number of nights from 1"]),
            (
                "matrix = {drivers = ['igb'], exclude = [{driver = 'gve'}]}",
                ["exclude 1: expected to leave out a job, found that it agrees with none"],
            ),
            ("matrix = {drivers = ['igb'], exclude = [{}]}", ["exclude 1: expected to leave out a job"]),
            ("matrix = {drivers = ['igb'], exclude = [{slow = true}]}", ["exclude 1: expected a key", "found 'slow'"]),
            ("matrix = {drivers = ['igb'], exclude = [{driver = 'igb'}]}", ["expected at least one job, found none"]),
            ("matrix = {drivers = ['igb'], include = [{kernel = 'trixie'}]}", ["include 1: expected a driver"]),
            (
                "matrix = {drivers = ['igb'], include = [{drivr = 'gve'}]}",
                ["include 1: expected a key", "mean driver?"],
            ),
            (
                "matrix.include = [{driver = 'igb'}, {driver = 'igb'}]",
                ["include 2: expected a job that there is not yet, found a second one of igb on trixie-backports"],
            ),
        ],
    )
    def test_one_line(self, tmp_path, text: str, messages: list[str]) -> None:
        with pytest.raises(UsageError) as raised:
            read(tmp_path, text)
        for message in messages:
            assert message in str(raised.value)
        assert str(raised.value).startswith(f"{tmp_path}/m.toml: ")

    @pytest.mark.parametrize(
        "setting", ["areas = []", "slow = true", "guests = 1", "strict-waits = true", "pytest = []"]
    )
    def test_a_setting_that_a_kind_does_not_have(self, tmp_path, setting: str) -> None:
        found = f"{setting.split(maxsplit=1)[0]!r}, which jobs of kind selftests do not have; leave it out"
        alone = f'matrix = {{drivers = ["igb"], kinds = ["selftests"]}}\nrun = {{{setting}}}'
        with pytest.raises(UsageError, match=re.escape(f"[run]: expected settings that its jobs have, found {found}")):
            read(tmp_path, alone)
        for driver in ("igb", "gve"):  # extended, and added
            included = f'include = [{{driver = "{driver}", kind = "selftests", {setting}}}]'
            both = f'[matrix]\ndrivers = ["igb"]\nkinds = ["suite", "selftests"]\n{included}'
            with pytest.raises(
                UsageError, match=re.escape(f"include 1: expected settings that its jobs have, found {found}")
            ):
                read(tmp_path, both)
        assert len(read(tmp_path, alone.replace('"selftests"', '"suite", "selftests"')).jobs) == 2

    def test_a_kind_without_a_command(self, tmp_path) -> None:
        text = 'matrix = {drivers = ["igb"], kinds = ["selftests"]}'
        with pytest.raises(
            UsageError, match="expected kinds that this plugfest has, found 'selftests': no command selftests"
        ):
            read(tmp_path, text, ("run",))
        assert [job.kind for job in read(tmp_path, text).jobs] == ["selftests"]

    @pytest.mark.parametrize("name", ["absent.toml", "folder", "latin.toml"])
    def test_no_file(self, tmp_path, name: str) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
        with pytest.raises(UsageError, match=f"{name}: expected a matrix in TOML, found: .*; name the file of one"):
            definition.read(tmp_path / name, COMMANDS)

    def test_a_kernel_elsewhere_without_a_place(self, tmp_path) -> None:
        with pytest.raises(UsageError, match=r"kernels: expected one of .*, found 'trixi'; did you mean trixie"):
            read(tmp_path, 'matrix = {drivers = ["igb"], kernels = ["trixi"]}', elsewhere=True)
        with pytest.raises(UsageError, match="expected an absolute path, which the workers have, found 'src/linux'"):
            read(tmp_path, 'matrix = {drivers = ["igb"], kernels = ["src/linux"]}', elsewhere=True)

    @settings(max_examples=60, deadline=None)
    @given(
        st.recursive(
            st.one_of(
                st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(["igb", "trixie"])
            ),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(
                        ["matrix", "run", "drivers", "kernels", "profiles", "include", "exclude", "driver", "guests"]
                    ),
                    inner,
                    max_size=4,
                ),
            ),
            max_leaves=12,
        )
    )
    def test_whatever_it_holds_makes_jobs_or_one_line(self, value) -> None:
        reader = definition._Reader(Path("m.toml"), COMMANDS, elsewhere=True)
        with suppress(UsageError):
            found = reader.matrix(value if isinstance(value, dict) else {"matrix": value})
            assert len({job.name for job in found.jobs}) == len(found.jobs) > 0


@given(
    st.sampled_from(["ixgbe", "gve"]),
    st.one_of(st.none(), st.text(max_size=5)),
    st.one_of(st.sampled_from(list(CHANNELS)), st.text(min_size=1, max_size=200)),
    st.sampled_from(["suite", "selftests"]),
    st.lists(st.text(max_size=3), max_size=2),
)
def test_a_job_survives_its_description_and_has_a_name_for_a_folder(driver, profile, kernel, kind, words) -> None:
    job = Job(driver, profile, kernel, kind, JobSettings(areas=tuple(words), time_limit=1.5))
    assert Job.of(job.describe()) == job
    assert "/" not in job.name
    assert job.name not in (".", "..", "")
    assert len(job.name.encode()) < 100
