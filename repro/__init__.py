"""Published machine-learning systems for diffraction and electron microscopy, reproduced."""

import os

__version__ = "0.1.0"

# Keras reads its backend once, at its first import: settle it before anything imports Keras.
if not os.environ.get("KERAS_BACKEND"):
    os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
