"""The words that every backend offers, as data.

Array words are the Array API standard, version 2024.12, under its own names
(https://data-apis.org/array-api/2024.12/API_specification/). Network words have a reference in `layerkit.xp.reference`,
written in array words. Machine words are methods of `Backend`, which suit most libraries on the host as they are.
"""

from __future__ import annotations

CONSTANTS = ("e", "inf", "nan", "newaxis", "pi")

DTYPES = (
    "bool",
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float32", "float64", "complex64", "complex128"),
)  # fmt: skip

# Beside the standard: offered where the library has them.
HALF_DTYPES = ("float16", "bfloat16")

CREATION = (
    *("arange", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like", "linspace", "meshgrid"),
    *("ones", "ones_like", "tril", "triu", "zeros", "zeros_like"),
)

# Creation words that make an array from nothing, so that the backend has to say on which device.
CREATION_ON_DEVICE = ("arange", "empty", "eye", "full", "linspace", "ones", "zeros")

DTYPE_FUNCTIONS = ("astype", "can_cast", "finfo", "iinfo", "isdtype", "result_type")

ELEMENTWISE = (
    *("abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and", "bitwise_invert"),
    *("bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil", "clip", "conj", "copysign"),
    *("cos", "cosh", "divide", "equal", "exp", "expm1", "floor", "floor_divide", "greater", "greater_equal", "hypot"),
    *("imag", "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log10", "log1p", "log2", "logaddexp"),
    *("logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "multiply", "negative"),
    *("nextafter", "not_equal", "positive", "pow", "real", "reciprocal", "remainder", "round", "sign", "signbit"),
    *("sin", "sinh", "sqrt", "square", "subtract", "tan", "tanh", "trunc"),
)

INDEXING = ("take", "take_along_axis")

LINEAR_ALGEBRA = ("matmul", "matrix_transpose", "tensordot", "vecdot")

MANIPULATION = (
    *("broadcast_arrays", "broadcast_to", "concat", "expand_dims", "flip", "moveaxis", "permute_dims", "repeat"),
    *("reshape", "roll", "squeeze", "stack", "tile", "unstack"),
)

SEARCHING = ("argmax", "argmin", "count_nonzero", "nonzero", "searchsorted", "where")

SETS = ("unique_all", "unique_counts", "unique_inverse", "unique_values")

SORTING = ("argsort", "sort")

STATISTICS = ("cumulative_prod", "cumulative_sum", "max", "mean", "min", "prod", "std", "sum", "var")

UTILITY = ("all", "any", "diff")

LINALG = (
    *("cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "matmul", "matrix_norm", "matrix_power"),
    *("matrix_rank", "matrix_transpose", "outer", "pinv", "qr", "slogdet", "solve", "svd", "svdvals", "tensordot"),
    *("trace", "vecdot", "vector_norm"),
)

FFT = (
    *("fft", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifftn", "ifftshift", "ihfft", "irfft", "irfftn"),
    *("rfft", "rfftfreq", "rfftn"),
)

# What the main namespace holds; `linalg` and `fft` are namespaces of their own.
ARRAY_WORDS = (
    *CONSTANTS, *DTYPES, *CREATION, *DTYPE_FUNCTIONS, *ELEMENTWISE, *INDEXING, *LINEAR_ALGEBRA, *MANIPULATION,
    *SEARCHING, *SETS, *SORTING, *STATISTICS, *UTILITY,
)  # fmt: skip

# Those that take arrays and return arrays: what a recording notes.
FUNCTIONS = (
    *("astype", "empty_like", "full_like", "meshgrid", "ones_like", "tril", "triu", "zeros_like"), *ELEMENTWISE,
    *INDEXING, *LINEAR_ALGEBRA, *MANIPULATION, *SEARCHING, *SETS, *SORTING, *STATISTICS, *UTILITY,
)  # fmt: skip

NETWORK_WORDS = (
    *("linear", "linear_grad", "sigmoid", "softplus", "erfc", "softmax", "log_softmax", "one_hot", "scatter_add"),
    "einsum",
)

MACHINE_WORDS = (
    *("asarray", "to_numpy", "owns", "devices", "on_device", "state", "view", "assign", "assign_add", "in_tiles"),
    *("random_bits", "capture", "synchronize"),
)
