import pytest

from unrolled.deploy import stepping


@pytest.fixture(params=["compiled", "numpy"])
def stepper(request, monkeypatch):
    """Both of what can take the steps."""
    if request.param == "numpy":
        monkeypatch.setattr(stepping, "compiled", None)
    elif stepping.compiled is None:
        pytest.skip("not built")
    return request.param
