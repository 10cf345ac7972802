"""What is changed in Horovod's source, which does not fit a recent TensorFlow as it stands."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from repro.errors import ReproError

VERSION = "0.28.1"


@dataclass(frozen=True)
class Patch:
    """A change of Horovod's source.

    Parameters
    ----------
    file : str
        Which file of the source package.
    old, new : str
        What is replaced, once, and by what.
    """

    file: str
    old: str
    new: str

    def applied(self, text: str) -> str:
        """Return the file's text with the change.

        Raises
        ------
        ReproError
            If the text to replace does not stand there once.
        """
        if text.count(self.old) != 1:
            first_line = self.old.splitlines()[0]
            raise ReproError(
                f"The package index gave another source of Horovod {VERSION} than the published "
                f"one: {self.file} lacks '{first_line}', which has to be changed; use another "
                "index."
            )
        return text.replace(self.old, self.new)


PATCHES = (
    # Horovod inside compiled networks, which nothing here uses: TensorFlow no longer has its
    # headers.
    Patch(
        "horovod/tensorflow/CMakeLists.txt",
        'list(APPEND TF_SOURCES "${PROJECT_SOURCE_DIR}/horovod/tensorflow/xla_mpi_ops.cc")\n',
        "",
    ),
    # Horovod calls this function of TensorFlow, whose libraries no longer export it.
    Patch(
        "horovod/tensorflow/mpi_ops.cc",
        "namespace horovod {\nnamespace tensorflow {\n",
        """\
#if HAVE_GPU
GpuStreamHandle stream_executor::gpu::AsGpuStreamValue(Stream* stream) {
  return static_cast<GpuStreamHandle>(stream->platform_specific_handle().stream);
}
#endif
namespace horovod {
namespace tensorflow {
""",
    ),
    # The ranks would meet by the chosen network interface, and then look for each other by host
    # name, which Debian maps to the loopback address.
    Patch(
        "horovod/common/gloo/gloo_context.cc",
        """\
  attr device_attr;
  device_attr.iface = gloo_iface_;
  device_attr.ai_family = AF_UNSPEC;
  auto dev = CreateDevice(device_attr);

  global_ctx = global_context.ctx;
""",
        """\
  attr device_attr;
  gloo_iface_ = global_context.gloo_iface_;
  device_attr.iface = gloo_iface_;
  device_attr.ai_family = AF_UNSPEC;
  auto dev = CreateDevice(device_attr);

  global_ctx = global_context.ctx;
""",
    ),
)
# Part of the version, so that a Horovod with other changes is known and replaced.
CHANGES = hashlib.sha256(repr(PATCHES).encode()).hexdigest()[:8]
LOCAL_VERSION = f"{VERSION}+repro.{CHANGES}"
