# SPDX-License-Identifier: GPL-2.0-or-later
"""The mark `boot` comes with the fixture `provisioning`; a test without it has no cache and starts no QEMU."""

from __future__ import annotations

from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
TESTS = """
    import os, shutil, subprocess, sys
    from contextlib import suppress
    from pathlib import Path
    import pytest
    from plugfest.errors import InfrastructureError
    from plugfest.provision.cache import Cache
    from plugfest.provision.settings import ProvisionSettings

    QEMU = Path("qemu-system-x86_64").absolute()

    @pytest.fixture
    def qemu():
        shutil.copy(shutil.which("true"), QEMU)

    @pytest.fixture
    def guest(provisioning, qemu):
        assert provisioning.cache == Path(os.environ["XDG_CACHE_HOME"]) / "plugfest"

    def test_marked(guest):
        subprocess.run([QEMU], check=True)

    def test_another_starts_it(qemu):
        subprocess.run([QEMU, "-machine", "q35"], check=True)

    def test_another_starts_it_by_the_linker_and_hides_that(qemu):
        with suppress(Exception):
            subprocess.run(["/lib64/ld-linux-x86-64.so.2", "--library-path", "/lib", str(QEMU)], check=True)

    def test_another_forks_and_starts_it(qemu):
        child = os.fork()
        if not child:
            try:
                os.execv(QEMU, [QEMU])
            finally:
                os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def test_a_stand_in():
        QEMU.unlink(missing_ok=True)
        QEMU.write_text("#!/bin/sh\\n")
        QEMU.chmod(0o755)
        subprocess.run([QEMU], check=True)

    def test_another_provisions():
        Cache(ProvisionSettings().cache).get("kernel", "1", lambda folder: None, title="a kernel", size=1, space=1)

    def test_another_provisions_in_a_process():
        program = "from plugfest.provision.settings import default_cache; default_cache().mkdir(parents=True)"
        subprocess.run([sys.executable, "-c", program], check=True)
"""


def test_what_is_marked_and_what_the_others_cannot_do(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(pytester.path / "cache"))
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(TESTS)
    pytester.makeini("[pytest]\nmarkers = boot: boots\n")
    options = ("-p", "no:hypothesispytest", "-p", "no:xdist", "-rA")
    found = pytester.runpytest_subprocess(*options, "-m", "boot")
    found.assert_outcomes(passed=1, deselected=6)
    found.stdout.fnmatch_lines(["PASSED *::test_marked"])
    found = pytester.runpytest_subprocess(*options, "-m", "not boot")
    # What was caught, in a test that passes, fails as that test ends.
    found.assert_outcomes(passed=2, failed=4, errors=2, deselected=1)
    found.stdout.fnmatch_lines_random(
        [
            "PASSED *::test_a_stand_in",
            "ERROR *::test_another_starts_it_by_the_linker_and_hides_that*",
            *(f"FAILED *::test_another_{name}*" for name in ("starts_it", "forks_and_starts_it", "provisions")),
            "FAILED *::test_another_provisions_in_a_process*",
            "*expected the fixture provisioning in a test that starts /*/qemu-system-x86_64",
            "*expected to write to the cache /dev/null/for-tests-with-the-fixture-provisioning/plugfest, *",
        ]
    )


def test_the_mark_by_hand_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile("import pytest\n@pytest.mark.boot\ndef test_it(): pass\n")
    pytester.makeini("[pytest]\nmarkers = boot: boots\n")
    found = pytester.runpytest_subprocess("-p", "no:hypothesispytest", "-p", "no:xdist")
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    found.stderr.fnmatch_lines(["*test_it: expected the fixture provisioning, found the mark boot without it"])
