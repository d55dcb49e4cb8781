"""Episodes that were missed are looked for again and again, for a while."""

import queue
import time
from types import SimpleNamespace

import pytest
from robofume_common.errors import RobofumeError
from robofume_policy.episode_search import EpisodeSearch


class Bags:
    """What is recorded by now; keeps when it was looked at, what was found and what was given up."""

    def __init__(self, **named):
        self.there, self.trouble, self.looks = set(), "", []
        self.found, self.given_up = queue.SimpleQueue(), queue.SimpleQueue()
        self.search = EpisodeSearch(self.find, lambda episode: self.found.put(episode.episode_id), self.given_up.put,
                                    **named)  # fmt: skip

    def find(self, wanted):
        self.looks.append((time.monotonic(), wanted))
        if self.trouble:
            raise RobofumeError(self.trouble)
        for name in sorted(wanted & self.there) * 2:  # it may be in two bags
            yield SimpleNamespace(episode_id=name)

    def wait_for_looks(self, count):
        end = time.monotonic() + 60.0
        while len(self.looks) < count:
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.fixture
def bags(request):
    bags = Bags(**getattr(request, "param", {}))
    yield bags
    bags.search.close()
    assert not bags.search._thread.is_alive()


@pytest.mark.parametrize("bags", [{"first_pause": 0.02}], indirect=True)
def test_it_is_looked_for_until_it_is_there(bags):
    bags.search.add("a")
    bags.wait_for_looks(3)
    bags.trouble = "The bag is damaged."  # as one that is just being written may look
    bags.wait_for_looks(5)
    bags.there, bags.trouble = {"a", "other"}, ""
    assert bags.found.get(timeout=60.0) == "a"
    looks = len(bags.looks)
    pauses = [later - earlier for (earlier, _), (later, _) in zip(bags.looks, bags.looks[1:], strict=False)]
    assert all(pause >= 0.02 * 2**place * 0.99 for place, pause in enumerate(pauses)), "less and less often"
    bags.search.add("b")
    bags.wait_for_looks(looks + 1)
    assert bags.looks[looks][1] == {"b"}, "one that was found is not looked for again"
    assert bags.given_up.empty() and bags.found.empty()


@pytest.mark.parametrize("bags", [{"first_pause": 60.0}], indirect=True)
def test_a_further_one_is_looked_for_at_once(bags):
    bags.search.add("a")
    bags.wait_for_looks(1)
    bags.there = {"a", "b"}
    bags.search.add("b")
    assert [bags.found.get(timeout=30.0), bags.found.get(timeout=30.0)] == ["a", "b"]


@pytest.mark.parametrize("bags", [{"first_pause": 0.01, "patience": 1.0}], indirect=True)
def test_it_is_given_up_with_a_sentence_and_no_longer_looked_for(bags):
    bags.trouble = "The bag is damaged."
    bags.search.add("a")
    sentence = bags.given_up.get(timeout=60.0)
    assert sentence.startswith("Episode 'a' was not found whole in the bags within 1 s (The bag is damaged.).")
    looks = len(bags.looks)
    time.sleep(1.0)
    assert len(bags.looks) == looks and bags.given_up.empty()
    assert bags.looks[-1][0] - bags.looks[0][0] >= 0.9
