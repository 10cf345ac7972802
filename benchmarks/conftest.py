"""What every benchmark says of its machine."""

from repro.bench.device import sysinfo


def pytest_benchmark_generate_machine_info(config):
    """Describe the machine without the name of the host, which the default gives away."""
    return sysinfo()
