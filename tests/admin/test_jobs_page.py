"""The page of jobs: who may see it, what it says, and what is done to jobs, for who may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from perfkit.jobs import job_status, run_job
from perfkit.models import Job, JobState
from tests.jobs.conftest import _no_beats_outlive_their_test, sent  # noqa: F401  # fixtures
from tests.testapp import jobs

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent")]

PAGE = "/admin/perfkit/job/"


@pytest.fixture
def viewer(person: Callable[..., Client]) -> Client:
    return person("job", "view")


@pytest.fixture
def doer(person: Callable[..., Client]) -> Client:
    return person("job", "view", "replay", "cancel", "delete", name="vic")


def dead() -> UUID:
    status = jobs.fail.enqueue(1, "open sesame", kind="no")
    with pytest.raises(ValueError, match="no way"):
        run_job(status.id)
    return status.id


def act(client: Client, action: str, *ids: UUID) -> Any:
    return client.post(PAGE, {"action": action, "_selected_action": [str(each) for each in ids]}, follow=True)


def test_it_lists_jobs_with_a_bar_and_no_script_of_its_own(viewer: Client) -> None:
    run_job(jobs.tell.enqueue(4, 0).id)
    text = viewer.get(PAGE).content.decode()
    assert '<progress max="100" value="100.0"></progress> 100 %' in text
    assert "tests.testapp.jobs.tell" in text
    assert "style=" not in text.partition('id="result_list"')[2].partition("</table>")[0]


@pytest.mark.parametrize("query", ["state=queued", "name=tests.testapp.jobs.leave_effect", "queue="])
def test_it_filters(viewer: Client, query: str) -> None:
    jobs.leave_effect.enqueue(1)
    run_job(jobs.leave_effect_slowly.enqueue(1, 0).id)
    shown = viewer.get(f"{PAGE}?{query}").context["cl"]
    assert [row.name for row in shown.result_list] == ["tests.testapp.jobs.leave_effect"]


def test_it_shows_one_without_the_values_it_was_called_with(viewer: Client) -> None:
    job_id = dead()
    text = viewer.get(f"{PAGE}{job_id}/change/").content.decode()
    assert "number=int, secret=str of 11" in text
    assert "ValueError: no way with …" in text
    assert "sesame" not in text
    assert 'name="_save"' not in text


def test_nobody_adds_edits_or_deletes_one(doer: Client) -> None:
    job_id = jobs.leave_effect.enqueue(1).id
    assert doer.get(f"{PAGE}add/").status_code == 403
    assert doer.post(f"{PAGE}{job_id}/change/", {"state": "done"}).status_code == 403
    assert doer.post(f"{PAGE}{job_id}/delete/", {"post": "yes"}).status_code == 403
    assert job_status(job_id).state == JobState.QUEUED


def test_who_has_no_permission_sees_nothing(client: Client, person: Callable[..., Client]) -> None:
    assert client.get(PAGE).status_code == 302
    assert person("item", "view", name="ann").get(PAGE).status_code == 403


def test_who_may_only_look_does_nothing(viewer: Client) -> None:
    died = dead()
    for action in ("replay", "cancel", "purge"):
        act(viewer, action, died)
    assert job_status(died).state == JobState.DEAD


def test_it_queues_once_more_and_says_of_which_it_cannot(doer: Client) -> None:
    died, waits = dead(), jobs.leave_effect.enqueue(1).id
    text = act(doer, "replay", died, waits).content.decode()
    assert "Done to 1." in text
    assert f"The job {waits} cannot be replayed, for it is queued." in text
    assert job_status(died).state == JobState.QUEUED


def test_it_cancels(doer: Client) -> None:
    waits = jobs.leave_effect.enqueue(1).id
    act(doer, "cancel", waits)
    assert job_status(waits).state == JobState.CANCELLED


def test_it_removes_only_what_has_ended(doer: Client) -> None:
    died, waits = dead(), jobs.leave_effect.enqueue(1).id
    text = act(doer, "purge", died, waits).content.decode()
    assert "1 removed." in text
    assert "1 were left alone" in text
    assert list(Job.objects.values_list("pk", flat=True)) == [waits]
