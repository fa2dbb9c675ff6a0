"""Follows the pages that work in the reader's own project: makes the project, its files, and runs the rest there.

A comment `<!-- file: path -->` in the line above a block makes the block that file, `<!-- append: path -->`
adds it to a file; `console` blocks are run, and must print the lines that they show.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.code import code_of
from tests.docs.pages import ROOT, Block, blocks, name, pages, written

BEGIN = """
$ python -m django startproject mysite .
$ python manage.py startapp shop
"""
TABLES = """
$ python manage.py makemigrations shop
$ python manage.py migrate
$ python manage.py check
"""
SETTINGS = '\nINSTALLED_APPS += ["perfkit", "shop"]\n'
OF_THE_DEMO = ("DATABASE_", "REDIS_", "PERFKIT_", "DJANGO_", "CACHE_", "CELERY_")


def run(project: Path, command: list[str]) -> str:
    """Run a command as the reader does: in the project's folder, without what the demo's settings read."""
    assert command[0] == "python"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(OF_THE_DEMO)}
    ended = subprocess.run(
        [sys.executable, "-W", "error", *command[1:]],
        capture_output=True,
        text=True,
        cwd=project,
        env={**environment, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def console(project: Path, text: str) -> None:
    printed = ""
    for line in filter(None, text.splitlines()):
        if line.startswith("$ "):
            printed = run(project, shlex.split(line.removeprefix("$ ")))
        else:
            assert line in printed


def write(project: Path, block: Block) -> None:
    kind, path = block.mark.split(": ")
    file = project / path
    assert file.is_file(), f"{name(block.page)}:{block.line}: Django has made no {path}."
    file.write_text(block.text if kind == "file" else file.read_text() + "\n" + block.text)


def shell(project: Path, page: Path) -> None:
    """Type the page's code into the project's own shell."""
    source = f"import pathlib, tests.docs.code as code; code.run_page(pathlib.Path({str(page)!r}))"
    run(project, ["python", "manage.py", "shell", "-c", source])


def test_it_knows_which_pages_these_are() -> None:
    assert [name(page) for page in pages() if written(page)] == [
        "README.md",
        "docs/how-to/testing.md",
        "docs/tutorial.md",
    ]


def follow(project: Path, page: Path) -> None:
    """Make the page's files and run its commands, in order."""
    for block in blocks(page):
        if block in written(page):
            write(project, block)
        elif block.language == "console" and not block.mark:
            console(project, block.text)


def test_it_follows_the_tutorial_from_an_empty_folder(tmp_path: Path) -> None:
    page = ROOT / "docs" / "tutorial.md"
    follow(tmp_path, page)
    assert code_of(page)
    shell(tmp_path, page)


def test_it_tests_the_shop_of_the_tutorial(tmp_path: Path) -> None:
    follow(tmp_path, ROOT / "docs" / "tutorial.md")
    follow(tmp_path, ROOT / "docs" / "how-to" / "testing.md")


def test_it_follows_the_readme_in_a_project_that_exists(tmp_path: Path) -> None:
    page = ROOT / "README.md"
    console(tmp_path, BEGIN)
    with (tmp_path / "mysite" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    for block in written(page):
        write(tmp_path, block)
    console(tmp_path, TABLES)
    assert code_of(page)
    shell(tmp_path, page)


def test_it_fails_where_the_code_does_not_hold(tmp_path: Path) -> None:
    console(tmp_path, BEGIN)
    page = tmp_path / "page.md"
    page.write_text("```pycon\n>>> 1 + 1\n3\n```\n")
    with pytest.raises(AssertionError, match=r"doctest\.DocTestFailure"):
        shell(tmp_path, page)
