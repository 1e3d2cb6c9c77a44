from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.tracking.names import KeyMap, is_artifact_path, safe_image_key, safe_key, shorten

NASTY = st.text(st.sampled_from("ab/. \\:%<=[]\n\té\u202e\x00'\""), max_size=300) | st.text(max_size=300)


@given(NASTY)
def test_mlflow_accepts_every_cleaned_key(name: str) -> None:
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name, _validate_tag_name

    key = safe_key(name)
    assert 1 <= len(key) <= 250
    for validate in (_validate_metric_name, _validate_param_name, _validate_tag_name):
        validate(key)
    assert safe_key(key) == key


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("hidden1/weight_norm", "hidden1/weight_norm"),
        ("val_loss", "val_loss"),
        ("encoder.layers[0]/grad_norm", "encoder.layers_0_/grad_norm"),
        ("a//b/../c/", "a/b/__/c"),
        ("/etc/passwd", "etc/passwd"),
        ("</script>", "_/script_"),
        ("", "_"),
        ("..", "__"),
        ("loss\n", "loss_"),
    ],
)
def test_cleaned_keys_stay_readable(name: str, key: str) -> None:
    assert safe_key(name) == key


@given(NASTY)
def test_image_keys_are_plain_english_letters(name: str) -> None:
    import re

    assert re.fullmatch(r"[a-zA-Z0-9_\-./ ]+", safe_image_key(name))


def test_two_names_never_share_a_key() -> None:
    keys = KeyMap(limit=3)
    assert [keys["a=b"], keys["a<b"], keys["a=b"], keys["a_b"], keys["one too many"]] == [
        "a_b",
        "a_b_2",
        "a_b",
        "a_b_3",
        None,
    ]


@pytest.mark.parametrize("path", ["neuronwise/recording.json", "a", "neuronwise/keyframes-000000.npy", "a" * 120])
def test_our_names_are_allowed(path: str) -> None:
    assert is_artifact_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "../x",
        "a/../x",
        "/etc/x",
        "C:\\x.txt",
        "a?b#c",
        "%2e%2e",
        "a\nb",
        "a" * 121,
        "A",
        "a//b",
        "./a",
        "a/",
        "é",
        "a ",
    ],
)
def test_names_that_some_store_would_take_for_another_are_refused(path: str) -> None:
    assert not is_artifact_path(path)


def test_shortening_shows_that_something_is_missing() -> None:
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"
