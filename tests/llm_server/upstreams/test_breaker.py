"""A server that fails is left alone, and looked at again."""

from llm_server.upstreams.breaker import Breaker


def test_it_opens_looks_and_closes() -> None:
    now = 0.0
    breaker = Breaker(failures=3, rest_seconds=10, clock=lambda: now)
    for _ in range(3):
        assert breaker.lets_pass
        breaker.begin()
        breaker.failed()
    assert (breaker.state, breaker.lets_pass) == ("open", False)
    now = 10.0
    assert breaker.lets_pass
    breaker.begin()
    assert (breaker.state, breaker.lets_pass) == ("half_open", False)
    breaker.failed()
    now = 19.0
    assert (breaker.state, breaker.lets_pass) == ("open", False)
    now = 20.0
    breaker.begin()
    breaker.abandoned()
    assert breaker.lets_pass
    breaker.begin()
    breaker.succeeded()
    assert (breaker.state, breaker.lets_pass) == ("closed", True)


def test_only_failures_in_a_row_count() -> None:
    breaker = Breaker(failures=2)
    for _ in range(5):
        breaker.failed()
        breaker.succeeded()
    assert breaker.state == "closed"
