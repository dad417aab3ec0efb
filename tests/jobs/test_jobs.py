"""Every surgery job that a peer offers, on a small model, as a recipe of at most five steps; or why it stays out."""

import inspect

import pytest

from jobs import interface, models, nodes, numbers
from jobs.job import Job, Out

TABLE = [*interface.JOBS, *nodes.JOBS, *numbers.JOBS, *models.JOBS]
DONE = [job for job in TABLE if not isinstance(job, Out)]


@pytest.mark.parametrize("job", DONE, ids=lambda job: f"{job.number} {job.what}")
def test_the_job_is_done(job, tmp_path):
    if isinstance(job, Job):
        job.run()
    else:
        job.how(**({"tmp_path": tmp_path} if inspect.signature(job.how).parameters else {}))


def test_every_job_is_in_the_table_once():
    assert [job.number for job in TABLE] == list(range(1, 135))


def test_what_stays_out_says_why():
    assert all(len(job.reason) > 40 for job in TABLE if isinstance(job, Out))
    assert len(DONE) >= 120
