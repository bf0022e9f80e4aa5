"""Vocabularies: text or whole numbers as indices, and back."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from layerkit.checks import check_count, check_flag, check_name, is_a, is_integer, shown
from layerkit.errors import ArgumentError, DataError, NotReadyError
from layerkit.layers.hashing import check_salt, hashed
from layerkit.layers.host_layer import MODES, HostLayer, as_items, batches_of, encoded_items
from layerkit.overriding import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from layerkit.layers.layer import LayerArguments


class IndexLookup(HostLayer):
    """Base of `StringLookup` and `IntegerLookup`: a vocabulary of tokens, each with an index.

    Index 0 is `mask_token`'s where there is one and the mode is "int"; then come `num_oov_indices` for what is not in
    the vocabulary (out of vocabulary), and then the tokens in their order. See `HostLayer` for where such a layer
    stands.

    The vocabulary is given, or found by `adapt`: tokens by falling frequency, and among equals in falling order.

    Args:
        max_tokens: the greatest size of the vocabulary, special tokens included; None for any.
        num_oov_indices: over how many indices tokens that are not in the vocabulary are spread; 0 refuses them.
        mask_token: a token that stands for none: index 0, and nothing in other modes than "int".
        oov_token: what the inverse gives for an index without a token.
        vocabulary: the tokens in order, perhaps with the special ones in front; None leaves them to `adapt`.
        idf_weights: a weight for each token, for "tf_idf".
        invert: whether indices are given, and tokens returned.
        output_mode: "int": the index. "one_hot", "multi_hot", "count": what `CategoryEncoding` makes of it. "tf_idf":
            counts times the weights of tokens, ``log(1 + rows / (1 + rows with the token))``.
        pad_to_max_tokens: whether rows are as long as `max_tokens`, though there are fewer tokens.
        salt: of the hash that spreads unknown tokens; see `Hashing`.
        kwargs: what every `Layer` takes.

    Raises:
        ArgumentError: an argument is out of its range, or the vocabulary has a token twice, or too many.
        DataError: x holds other things than tokens, or with ``num_oov_indices=0`` one that is not in the vocabulary.
    """

    _kind: str
    """What tokens are, for messages."""

    def __init__(
        self,
        max_tokens: int | None,
        num_oov_indices: int,
        mask_token: Any,
        oov_token: Any,
        vocabulary: Sequence[Any] | None,
        idf_weights: Sequence[float] | None,
        *,
        invert: bool,
        output_mode: str,
        pad_to_max_tokens: bool,
        salt: int | tuple[int, int] | list[int] | None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.max_tokens = None if max_tokens is None else check_count(owner, 2, max_tokens=max_tokens)
        self.num_oov_indices = check_count(owner, 0, num_oov_indices=num_oov_indices)
        self.mask_token, self.oov_token = mask_token, oov_token
        self.invert = check_flag(owner, invert=invert)
        self.output_mode: str = check_name(owner, (*MODES, "tf_idf"), output_mode=output_mode)
        self.pad_to_max_tokens = check_flag(owner, pad_to_max_tokens=pad_to_max_tokens)
        self.salt = check_salt(owner, salt)
        if invert and output_mode != "int":
            raise ArgumentError(
                f"{owner}: invert goes with output_mode='int'. Received: output_mode={output_mode!r}, invert=True"
            )
        if pad_to_max_tokens and max_tokens is None:
            raise ArgumentError(f"{owner}: pad_to_max_tokens needs max_tokens. Received: max_tokens=None")
        self._tokens: tuple[Any, ...] = ()
        self._index: dict[Any, int] = {}
        self._weights: NDArray[Any] | None = None
        self._given = vocabulary is not None
        if vocabulary is not None:
            if is_a(vocabulary, str, bytes, os.PathLike):
                raise ArgumentError(
                    f"{owner}: vocabulary must be a list of tokens. Received: vocabulary={shown(vocabulary)}. "
                    f"Read a file with set_vocabulary(path)."
                )
            self.set_vocabulary(vocabulary, idf_weights)
        elif idf_weights is not None:
            raise ArgumentError(f"{owner}: idf_weights go with a vocabulary. Received: vocabulary=None")

    @property
    def _special(self) -> list[Any]:
        """The tokens in front of the vocabulary's own."""
        return [self.mask_token] * self._masks + [self.oov_token] * self.num_oov_indices

    @property
    def _masks(self) -> int:
        return int(self.mask_token is not None and self.output_mode == "int")

    def _of_kind(self, items: NDArray[Any], name: str) -> NDArray[Any]:
        wanted = "U" if self._kind == "text" else "iu"
        if items.dtype.kind not in wanted and items.size:
            found = f"an array of dtype {items.dtype}" if items.ndim else shown(items.item())
            raise DataError(f"{self.name}: {name} must hold {self._kind}. Received: {found}")
        return items

    @override
    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the vocabulary as it is now."""
        known = list(self._tokens) or None
        weights = None
        if known is not None and self._weights is not None:  # those of the special tokens among them
            known, weights = self.get_vocabulary(), self._weights.tolist()[: self.vocabulary_size()]
        return {**super().get_config(), "vocabulary": known, "idf_weights": weights}

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """Return the tokens by their indices, from 0 on."""
        return [*self._special, *self._tokens] if include_special_tokens else list(self._tokens)

    def vocabulary_size(self) -> int:
        """Return how many indices there are, special ones included."""
        return len(self._special) + len(self._tokens)

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Set the tokens, in order, perhaps with the special ones in front; or the path of a file with one a line.

        Raises:
            ArgumentError: there are none, or too many, or one stands twice; or weights are missing, or too many.
        """
        if (self.output_mode == "tf_idf") != (idf_weights is not None):
            raise ArgumentError(
                f"{self.name}: idf_weights go with output_mode='tf_idf', and that with them. "
                f"Received: output_mode={self.output_mode!r}, idf_weights={shown(idf_weights)}"
            )
        if is_a(vocabulary, str, os.PathLike):
            with open(vocabulary, encoding="utf-8") as file:  # noqa: PTH123 - the module pathlib is slow to load
                vocabulary = file.read().splitlines()
            vocabulary = vocabulary if self._kind == "text" else [int(line) for line in vocabulary]
        items = self._of_kind(as_items(vocabulary, f"{self.name}: vocabulary"), "vocabulary")
        if items.ndim != 1 or not items.size:
            raise ArgumentError(f"{self.name}: vocabulary must be a list of tokens. Received: {shown(vocabulary)}")
        tokens: list[Any] = items.tolist()
        special = self._special
        leads = bool(special) and tokens[: len(special)] == special
        tokens = tokens[len(special) :] if leads else tokens
        twice = [token for token, count in Counter(tokens).items() if count > 1]
        if twice:
            raise ArgumentError(
                f"{self.name}: each token must stand once. Received: {twice[0]!r} {Counter(tokens)[twice[0]]} times"
            )
        for name, token in (("mask_token", self.mask_token), ("oov_token", self.oov_token if self.invert else None)):
            if token is not None and token in tokens:
                raise ArgumentError(
                    f"{self.name}: {name} must stand in front of the vocabulary, among the special tokens {special}, "
                    f"or not in it. Received: {token!r} at index {tokens.index(token)}"
                )
        if self.max_tokens is not None and len(special) + len(tokens) > self.max_tokens:
            raise ArgumentError(
                f"{self.name}: the vocabulary must have at most max_tokens={self.max_tokens} tokens, special ones "
                f"included. Received: {len(special) + len(tokens)}"
            )
        weights = None
        if idf_weights is not None:
            weights = np.asarray(idf_weights, self.dtype)
            if weights.shape != items.shape:
                raise ArgumentError(
                    f"{self.name}: there must be one of idf_weights for each token, {len(items)}. "
                    f"Received: shape {weights.shape}"
                )
            if not leads:
                weights = np.concatenate([np.full(len(special), np.mean(weights)), weights])
        self._keep(tokens, weights)

    def _keep(self, tokens: Iterable[Any], weights: NDArray[Any] | None) -> None:
        self._tokens = tuple(tokens)
        start = len(self._special)
        self._index = {token: start + place for place, token in enumerate(self._tokens)}
        if weights is not None and self.pad_to_max_tokens:
            weights = np.pad(weights, (0, (self.max_tokens or 0) - len(weights)))
        self._weights = None if weights is None else weights.astype(self.dtype)

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Make the vocabulary of `data`: an array or lists, or an iterable of them, of which at most `steps` are taken.

        Raises:
            ArgumentError: the vocabulary was given to the constructor.
        """
        if self._given:
            raise ArgumentError(
                f"{self.name}: adapt is for a vocabulary that is not given. Received: vocabulary=… at the start."
            )
        counts: Counter[Any] = Counter()
        rows_with: Counter[Any] = Counter()
        rows = 0
        for batch in batches_of(data, steps, self.name):
            items = self._of_kind(batch, "data")
            counts.update(dict(zip(*(part.tolist() for part in np.unique(items, return_counts=True)), strict=True)))
            if self.output_mode == "tf_idf":
                rows += len(items)
                for row in items:
                    rows_with.update(np.unique(row).tolist())
        for token in (self.mask_token, self.oov_token):
            counts.pop(token, None)
        most = None if self.max_tokens is None else max(self.max_tokens - len(self._special), 0)
        tokens = [token for _, token in sorted(((count, token) for token, count in counts.items()), reverse=True)][
            :most
        ]
        weights = None
        if self.output_mode == "tf_idf":
            of_tokens = np.log(1.0 + rows / (1.0 + np.array([rows_with[token] for token in tokens])))
            weights = np.concatenate([np.full(len(self._special), np.mean(of_tokens)), of_tokens])
        self._keep(tokens, weights)

    @override
    def looked_up(self, items: NDArray[Any]) -> NDArray[Any]:
        if self.invert:
            return self._tokens_of(items)
        numbers = self._indices_of(self._of_kind(items, "x"))
        if self.output_mode == "int":
            return numbers
        if not self._tokens:
            raise NotReadyError(
                f"{self.name}: the vocabulary must be known. Received: none yet. Call adapt(data) or set_vocabulary."
            )
        depth: int = self.max_tokens if self.pad_to_max_tokens and self.max_tokens else self.vocabulary_size()
        mode = "count" if self.output_mode == "tf_idf" else self.output_mode
        rows = encoded_items(numbers, depth, mode, self.dtype)
        return rows if self._weights is None else rows * self._weights

    def _indices_of(self, items: NDArray[Any]) -> NDArray[Any]:
        different, places = np.unique(items, return_inverse=True)
        listed: list[Any] = different.tolist()
        masked = self.mask_token
        unknown = np.array([token != masked and token not in self._index for token in listed], bool)
        if unknown.any() and self.num_oov_indices == 0:
            raise DataError(
                f"{self.name}: with num_oov_indices=0, x must hold tokens of the vocabulary. "
                f"Received: {listed[int(np.argmax(unknown))]!r}"
            )
        nothing = 0 if self.output_mode == "int" else -1
        found = [nothing if masked is not None and token == masked else self._index.get(token, 0) for token in listed]
        numbers = np.array(found, "int64")
        if unknown.any():
            numbers[unknown] = self._masks + self._spread(different[unknown])
        return numbers[places].reshape(items.shape)

    def _spread(self, unknown: NDArray[Any]) -> NDArray[Any]:
        """Return numbers below `num_oov_indices` for tokens that are not in the vocabulary."""
        return hashed(unknown, self.num_oov_indices, self.salt)

    def _tokens_of(self, items: NDArray[Any]) -> NDArray[Any]:
        if items.dtype.kind not in "iu" and items.size:
            raise DataError(
                f"{self.name}: x must hold whole numbers, indices. Received: an array of dtype {items.dtype}"
            )
        # One more, for what lies outside.
        table = np.array([*self.get_vocabulary(), self.oov_token], dtype=None if self._kind != "text" else str)
        outside = (items < 0) | (items >= len(table) - 1)
        return table[np.where(outside, len(table) - 1, items)]


class StringLookup(IndexLookup):
    """Text as indices of a vocabulary: ``StringLookup(vocabulary=["a", "b"])(["b", "z"])`` gives 2, 0.

    Args:
        max_tokens: see `IndexLookup`, as the rest.
        num_oov_indices: unknown tokens are spread over them by a hash; see `Hashing`.
        mask_token: see `IndexLookup`.
        oov_token: see `IndexLookup`.
        vocabulary: see `IndexLookup`.
        idf_weights: see `IndexLookup`.
        invert: y is then an array of text on the host.
        output_mode: see `IndexLookup`.
        pad_to_max_tokens: see `IndexLookup`.
        salt: see `Hashing`.
        kwargs: what every `Layer` takes.

    Shapes:
        x: (...), on the host. y: that of x, of int64, for "int"; else as `CategoryEncoding` has it.
    """

    _kind = "text"

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: str | None = None,
        oov_token: str = "[UNK]",  # noqa: S107 - a token of text
        vocabulary: Sequence[str] | None = None,
        idf_weights: Sequence[float] | None = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        *,
        salt: int | tuple[int, int] | list[int] | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        for name, token in (("mask_token", mask_token), ("oov_token", oov_token)):
            if not is_a(token, str) and (name == "oov_token" or token is not None):
                raise ArgumentError(f"StringLookup: {name} must be text. Received: {name}={shown(token)}")
        super().__init__(
            max_tokens,
            num_oov_indices,
            mask_token,
            oov_token,
            vocabulary,
            idf_weights,
            invert=invert,
            output_mode=output_mode,
            pad_to_max_tokens=pad_to_max_tokens,
            salt=salt,
            **kwargs,
        )


class IntegerLookup(IndexLookup):
    """Whole numbers as indices of a vocabulary: ``IntegerLookup(vocabulary=[12, 36])([36, 5])`` gives 2, 0.

    Args:
        max_tokens: see `IndexLookup`, as the rest.
        num_oov_indices: unknown numbers are spread over them by `oov_method`.
        mask_token: see `IndexLookup`.
        oov_token: see `IndexLookup`.
        vocabulary: see `IndexLookup`.
        vocabulary_dtype: "int64" or "int32": of the numbers that the inverse gives.
        idf_weights: see `IndexLookup`.
        invert: y holds numbers of the vocabulary then.
        output_mode: see `IndexLookup`.
        pad_to_max_tokens: see `IndexLookup`.
        oov_method: "floormod": an unknown number modulo their number. "farmhash": its hash, as `StringLookup` does.
        salt: see `Hashing`; for "farmhash".
        kwargs: what every `Layer` takes.

    Shapes:
        x: (...), on the host or a backend. y: that of x, of int64, for "int"; else as `CategoryEncoding` has it.
    """

    _kind = "whole numbers"

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: int | None = None,
        oov_token: int = -1,
        vocabulary: Sequence[int] | None = None,
        vocabulary_dtype: str = "int64",
        idf_weights: Sequence[float] | None = None,
        invert: bool = False,
        output_mode: str = "int",
        *,
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        salt: int | tuple[int, int] | list[int] | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        for name, token in (("mask_token", mask_token), ("oov_token", oov_token)):
            if not is_integer(token) and (name == "oov_token" or token is not None):
                raise ArgumentError(f"IntegerLookup: {name} must be an integer. Received: {name}={shown(token)}")
        self.oov_method: str = check_name("IntegerLookup", ("floormod", "farmhash"), oov_method=oov_method)
        dtypes = ("int64", "int32")
        self.vocabulary_dtype: str = check_name("IntegerLookup", dtypes, vocabulary_dtype=vocabulary_dtype)
        super().__init__(
            max_tokens,
            num_oov_indices,
            mask_token,
            oov_token,
            vocabulary,
            idf_weights,
            invert=invert,
            output_mode=output_mode,
            pad_to_max_tokens=pad_to_max_tokens,
            salt=salt,
            **kwargs,
        )

    @override
    def _spread(self, unknown: NDArray[Any]) -> NDArray[Any]:
        if self.oov_method == "floormod":
            return unknown.astype("int64") % self.num_oov_indices
        return super()._spread(unknown)

    @override
    def _tokens_of(self, items: NDArray[Any]) -> NDArray[Any]:
        return super()._tokens_of(items).astype(self.vocabulary_dtype)
