from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from perfkit.conf import SETTING, Option, Options, configured, options, table
from perfkit.errors import SettingsError

ALL = pytest.mark.parametrize("option", table().values(), ids=table())


def wrong_type_for(option: Option) -> object:
    return 5 if option.kind in {str, tuple} else []


class TestTable:
    def test_it_holds_the_documented_names_of_the_demos_environment(self) -> None:
        assert {
            "CACHE_ENABLED",
            "CACHE_DEFAULT_TTL",
            "BULK_INSERT_CHUNK_SIZE",
            "QUERY_SLOW_THRESHOLD",
            "RATE_LIMIT_ENABLED",
            "RATE_LIMIT_PER_MINUTE",
        } <= table().keys()

    @ALL
    def test_it_names_each_option_as_its_attribute(self, option: Option) -> None:
        assert getattr(Options, option.name) is option

    @ALL
    def test_it_declares_a_valid_default(self, option: Option) -> None:
        assert option.problem_with(option.default) is None

    @ALL
    def test_it_explains_each_option_in_a_sentence(self, option: Option) -> None:
        assert option.text[0].isupper()
        assert option.text.endswith(".")

    @ALL
    def test_it_names_the_unit_of_a_duration_or_a_number_of_rows(self, option: Option) -> None:
        if option.name.endswith(("_TTL", "_TIMEOUT", "_AFTER", "_THRESHOLD")):
            assert option.unit == "seconds"
        if option.name.endswith("_CHUNK_SIZE"):
            assert option.unit == "rows"


class TestReading:
    @ALL
    @override_settings(PERFKIT={})
    def test_it_gives_the_default_where_nothing_is_set(self, option: Option) -> None:
        assert getattr(options, option.name) == option.default

    def test_it_gives_the_defaults_without_the_setting(self, settings) -> None:
        delattr(settings, SETTING)
        assert Options.CACHE_DEFAULT_TTL.default == options.CACHE_DEFAULT_TTL

    def test_it_reads_the_setting_of_the_moment(self) -> None:
        with override_settings(PERFKIT={"CACHE_DEFAULT_TTL": 7}):
            assert options.CACHE_DEFAULT_TTL == 7
            with override_settings(PERFKIT={"CACHE_DEFAULT_TTL": 8}):
                assert options.CACHE_DEFAULT_TTL == 8
            assert options.CACHE_DEFAULT_TTL == 7

    def test_it_sees_a_dict_that_changes_in_place(self) -> None:
        given = {"CACHE_ENABLED": True}
        with override_settings(PERFKIT=given):
            given["CACHE_ENABLED"] = False
            assert options.CACHE_ENABLED is False

    @override_settings(PERFKIT={"QUERY_SLOW_THRESHOLD": 2})
    def test_it_gives_a_float_where_an_int_was_set(self) -> None:
        assert isinstance(options.QUERY_SLOW_THRESHOLD, float)

    @ALL
    def test_it_raises_where_the_type_is_wrong(self, option: Option) -> None:
        with (
            override_settings(PERFKIT={option.name: wrong_type_for(option)}),
            pytest.raises(SettingsError, match=rf"PERFKIT\['{option.name}'\] must be {option.kind.__name__}"),
        ):
            getattr(options, option.name)

    @override_settings(PERFKIT={"CACHE_DEFAULT_TTL": 0})
    def test_it_raises_what_django_calls_improperly_configured(self) -> None:
        with pytest.raises(ImproperlyConfigured) as caught:
            options.CACHE_DEFAULT_TTL  # noqa: B018  # reading it is the test
        assert str(caught.value) == "PERFKIT['CACHE_DEFAULT_TTL'] must be at least 1, not 0."

    @override_settings(PERFKIT=["CACHE_ENABLED"])
    def test_it_raises_where_the_setting_is_no_dict(self) -> None:
        with pytest.raises(SettingsError, match="PERFKIT must be a dict, not list"):
            configured()


class TestProblemWith:
    @pytest.mark.parametrize(
        "option", [o for o in table().values() if o.kind in {int, float}], ids=lambda o: o.name
    )
    def test_it_does_not_take_a_bool_for_a_number(self, option: Option) -> None:
        assert option.problem_with(True) == f"must be {option.kind.__name__}, not bool."

    @pytest.mark.parametrize(
        "option", [o for o in table().values() if o.least is not None], ids=lambda o: o.name
    )
    def test_it_refuses_what_is_below_the_least(self, option: Option) -> None:
        assert option.problem_with(option.kind(option.least)) is None
        assert f"must be at least {option.least}" in option.problem_with(option.kind(option.least - 1))

    @pytest.mark.parametrize(
        "option", [o for o in table().values() if o.most is not None], ids=lambda o: o.name
    )
    def test_it_refuses_what_is_above_the_most(self, option: Option) -> None:
        assert option.problem_with(option.kind(option.most)) is None
        assert f"must be at most {option.most}" in option.problem_with(option.kind(option.most + 1))

    @pytest.mark.parametrize("option", [o for o in table().values() if o.choices], ids=lambda o: o.name)
    def test_it_refuses_what_is_no_choice_and_lists_the_choices(self, option: Option) -> None:
        for choice in option.choices:
            assert option.problem_with(choice) is None
        problem = option.problem_with("something else")
        assert all(repr(choice) in problem for choice in option.choices)

    def test_it_takes_a_list_for_a_tuple_and_only_strings_in_it(self) -> None:
        assert Options.CACHE_MODELS.problem_with(["auth.User"]) is None
        assert Options.CACHE_MODELS.problem_with(["auth.User", 5]) == "must hold strings only."
        assert Options.CACHE_MODELS.problem_with("auth.User") == "must be tuple, not str."
        with override_settings(PERFKIT={"CACHE_MODELS": ["auth.User"]}):
            assert options.CACHE_MODELS == ("auth.User",)

    def test_it_refuses_nan(self) -> None:
        assert Options.QUERY_SLOW_THRESHOLD.problem_with(float("nan")) is not None

    def test_it_takes_an_int_for_a_float_but_not_a_float_for_an_int(self) -> None:
        assert Options.QUERY_SLOW_THRESHOLD.problem_with(1) is None
        assert Options.CACHE_DEFAULT_TTL.problem_with(1.0) == "must be int, not float."
