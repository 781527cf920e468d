"""`cupy.cuda.nvrtc`: its version."""


def getVersion():
    return 13, 0
