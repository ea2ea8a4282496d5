"""The records of producers: claimed once, found by their owner, and open to others as the owner says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from storage import AlreadyExists, Damaged, Storage, keys
from storage.producers import Owner, Producers

ADA = Owner("https://issuer.example", "ada-sub")
BOB = Owner("https://issuer.example", "bob-sub")


def test_an_id_is_claimed_by_one_user(store: Storage) -> None:
    producers = Producers(store)
    assert producers.claim("ada", ADA).owner == "ada-sub"
    assert producers.claim("ada", ADA).owner == "ada-sub"  # the same request once more
    with pytest.raises(AlreadyExists):
        producers.claim("ada", BOB)
    assert producers.of_owner(ADA) == {"ada"}
    assert producers.of_owner(BOB) == frozenset()
    assert producers.of_owner(Owner("https://another.example", "ada-sub")) == frozenset()


def test_of_many_users_at_once_one_gets_the_id(store: Storage) -> None:
    owners = [Owner(ADA.issuer, f"user-{number}") for number in range(8)]

    def claim(owner: Owner) -> bool:
        try:
            Producers(store).claim("ada", owner)
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        got = [owner for owner, won in zip(owners, pool.map(claim, owners), strict=True) if won]
    assert len(got) == 1
    assert [owner for owner in owners if Producers(store).of_owner(owner)] == got
    assert len(list(store.list("producer_owners/"))) == 1


def test_a_mark_alone_gives_nothing(store: Storage) -> None:
    """It is left by a process that ended before it wrote the record, or by somebody who wrote to the bucket."""
    producers = Producers(store)
    producers.claim("ada", ADA)
    for producer in ("ada", "nobody", "x y"):
        store.put(keys.owned_producer(BOB.digest, producer), b"")
    assert producers.of_owner(BOB) == frozenset()
    assert producers.claim("nobody", ADA).owner == "ada-sub"
    assert producers.of_owner(BOB) == frozenset()


def test_an_operator_gives_a_producer_another_owner(store: Storage) -> None:
    producers = Producers(store)
    producers.claim("ada", BOB)
    producers.change("ada", {"night": "public"}, "Ada")
    record = producers.assign("ada", ADA)
    assert (record.owner, record.display_name, list(record.twins)) == ("ada-sub", "Ada", ["night"])
    assert [sorted(producers.of_owner(owner)) for owner in (ADA, BOB)] == [["ada"], []]
    assert producers.assign("older", ADA).owner == "ada-sub"
    store.put(keys.producer_record("ada"), b"damaged")
    assert producers.of_owner(ADA) == {"older"}
    assert producers.assign("ada", ADA).twins == {}
    assert producers.of_owner(ADA) == {"ada", "older"}


def test_a_twin_is_private_until_it_is_opened(store: Storage) -> None:
    producers = Producers(store)
    assert not producers.is_open("ada:night", ["x"])
    producers.claim("ada", ADA)
    assert not producers.is_open("ada:night", ["x"])
    producers.change("ada", {"night": "public"})
    assert producers.is_open("ada:night", [])
    assert not producers.is_open("ada:day", [])
    producers.change("ada", {"night": "private"})
    assert not producers.is_open("ada:night", [])


def test_a_link_opens_its_twin_alone_and_ends_with_it(store: Storage) -> None:
    producers = Producers(store)
    producers.claim("ada", ADA)
    record = producers.change("ada", {"night": "link", "day": "link"})
    assert record
    night, day = (str(record.twins[model].link) for model in ("night", "day"))
    assert len(night) >= 32 and night != day
    assert producers.is_open("ada:night", [day, night])
    for links in ([], [day], [night[:-1]], ["None"], [""], ["é"]):
        assert not producers.is_open("ada:night", links)
    unchanged = producers.change("ada", {"night": "link"})
    assert unchanged and unchanged.twins["night"].link == night
    producers.change("ada", {"night": "private"})
    renewed = producers.change("ada", {"night": "link"})
    assert renewed and renewed.twins["night"].link not in (None, night)
    assert not producers.is_open("ada:night", [night])


def test_changes_at_once_are_all_kept(store: Storage) -> None:
    Producers(store).claim("ada", ADA)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: Producers(store).change("ada", {f"twin-{number}": "public"}), range(8)))
    record = Producers(store).find("ada")
    assert record and len(record.twins) == 8


def test_a_damaged_record_opens_nothing_and_names_no_owner(store: Storage) -> None:
    producers = Producers(store)
    producers.claim("ada", ADA)
    producers.change("ada", {"night": "public"})
    other = store.get(keys.producer_record("ada"))
    for content in (b"", b"null", b"{}", other.replace(b'"ada"', b'"bob"')):
        store.put(keys.producer_record("ada"), content)
        assert not producers.is_open("ada:night", [])
        assert producers.of_owner(ADA) == frozenset()
        assert list(producers.all()) == []
        with pytest.raises(Damaged):
            producers.find("ada")


def test_a_deleted_producer_is_free_again(store: Storage) -> None:
    producers = Producers(store)
    producers.claim("ada", ADA)
    assert len(producers.delete("ada")) == 2
    assert producers.of_owner(ADA) == frozenset()
    assert producers.claim("ada", BOB).owner == "bob-sub"
    assert producers.change("nobody", {"x": "public"}) is None
