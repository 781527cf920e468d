"""`cupyx.scipy.special`: SciPy's on device arrays."""

import scipy.special as _special
from cupy._call import call as _call


def erf(x):
    return _call(_special.erf, x)


def gammaln(x):
    return _call(_special.gammaln, x)


def expit(x):
    return _call(_special.expit, x)
