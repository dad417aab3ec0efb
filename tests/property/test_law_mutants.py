"""A bounded part of the campaign in ``law_mutants``: damaged results are refused, honest edits are no false alarm."""

import warnings

import pytest

from law_mutants import Campaign


@pytest.fixture
def campaign():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield Campaign(seed=1)


def test_damaged_results_are_refused(campaign):
    campaign.mutants(40, seconds=10)
    assert campaign.count["mutants"] >= 10
    assert not campaign.missed
    assert not campaign.alarms


def test_honest_edits_are_no_false_alarm(campaign):
    campaign.honest(40, seconds=8)
    assert campaign.count["honest"] >= 10
    assert not campaign.alarms


@pytest.mark.matrix
def test_four_hundred_mutants_and_a_thousand_honest_edits(campaign):
    campaign.mutants(400)
    campaign.honest(1000)
    assert not campaign.missed
    assert not campaign.alarms
