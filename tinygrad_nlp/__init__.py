from tinygrad_nlp.autograd import *
from tinygrad_nlp.ops import *
