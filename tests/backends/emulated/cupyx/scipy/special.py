"""What layerkit uses of CuPy's special functions, emulated by SciPy's."""

import cupy
from scipy import special

expit, erfc = map(cupy.on_device, (special.expit, special.erfc))
