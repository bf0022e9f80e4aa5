"""Hashing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from layerkit.checks import check_count, check_name, is_a, is_integer, shown
from layerkit.errors import ArgumentError
from layerkit.layers.fingerprints import fingerprint64, siphash
from layerkit.layers.host_layer import MODES, HostLayer, encoded_items
from layerkit.overriding import override

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from layerkit.layers.layer import LayerArguments

Salt = "int | tuple[int, int] | list[int] | None"


class Hashing(HostLayer):
    """Text, or whole numbers, as one of so many bins: ``y = hash(x) mod num_bins``, which needs no vocabulary.

    The hash is FarmHash's Fingerprint64, or with a salt SipHash-2-4, which nobody can steer who does not know it. Of
    numbers, that of their decimal digits. See `HostLayer` for where such a layer stands.

    Args:
        num_bins: how many bins there are.
        mask_value: what is given the bin 0, which is then kept for it.
        salt: the key of SipHash: one or two numbers from 0 to 2⁶⁴ - 1.
        output_mode: "int": the number of the bin. "one_hot", "multi_hot", "count": what `CategoryEncoding` makes of it.
        kwargs: what every `Layer` takes.

    Shapes:
        x: (...), on the host. y: that of x, of int64, for "int"; else as `CategoryEncoding` has it.

    Raises:
        ArgumentError: `num_bins` is below 1, the salt is no such number, or the mode is unknown.
        DataError: x holds neither text nor numbers.
    """

    def __init__(
        self,
        num_bins: int,
        mask_value: str | int | None = None,
        salt: int | tuple[int, int] | list[int] | None = None,
        output_mode: str = "int",
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_bins = check_count("Hashing", 1, num_bins=num_bins)
        self.mask_value = mask_value
        self.salt = check_salt("Hashing", salt)
        self.output_mode: str = check_name("Hashing", MODES, output_mode=output_mode)

    @override
    def looked_up(self, items: NDArray[Any]) -> NDArray[Any]:
        masked = self.mask_value is not None and self.num_bins > 1
        bins = hashed(items, self.num_bins - masked, self.salt)
        if masked:
            bins = np.where(items == self.mask_value, 0, bins + 1)
        return bins if self.output_mode == "int" else encoded_items(bins, self.num_bins, self.output_mode, self.dtype)


def check_salt(owner: str, salt: Any) -> tuple[int, int] | None:
    """Return a salt as a pair of numbers; None if there is none.

    Raises:
        ArgumentError: it is neither a number of 64 bits nor a pair of them.
    """
    if salt is None:
        return None
    pair: Any = (salt, salt) if is_integer(salt) else salt
    right = is_a(pair, tuple, list) and len(pair) == 2
    if not right or not all(is_integer(number) and 0 <= number < 1 << 64 for number in pair):
        raise ArgumentError(
            f"{owner}: salt must be an integer from 0 to below 2**64, or a pair of them. Received: salt={shown(salt)}"
        )
    return int(pair[0]), int(pair[1])


def hashed(items: NDArray[Any], bins: int, salt: tuple[int, int] | None = None) -> NDArray[Any]:
    """Return for each item a number from 0 to below `bins`: its hash, modulo their number."""
    if items.dtype.kind in "fb":
        items = items.astype("int64")
    different, places = np.unique(items, return_inverse=True)
    texts = [str(item).encode() for item in different.tolist()]
    hashes = [(fingerprint64(text) if salt is None else siphash(text, salt)) % bins for text in texts]
    return np.array(hashes, "int64")[places].reshape(items.shape)
