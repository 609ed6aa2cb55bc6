"""The memory that is there is that of the machine or of the tightest control group, whatever their version."""

import pytest

from pipeline.training_size.memory_there import memory_there

GB = 10**9


@pytest.fixture
def machine(tmp_path):
    """A machine with 32 GB free, as a folder with `proc` and `sys`."""
    for folder in ("proc/self", "sys/fs/cgroup"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 64000000 kB\nMemFree: 1000 kB\nMemAvailable: 31250000 kB\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    return tmp_path


def group(folder, limit, used, cached=0, version=2):
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for name, value in zip(names, (limit, used), strict=True):
        (folder / name).write_text(f"{value}\n")
    prefix = "" if version == 2 else "total_"
    (folder / "memory.stat").write_text(f"anon 5\n{prefix}inactive_file {cached}\n")


def test_without_a_limit_it_is_the_machines(machine):
    group(machine / "sys/fs/cgroup", "max", 5 * GB)
    assert memory_there(machine) == (32 * GB, "of this machine")


def test_a_containers_limit_counts_and_files_in_its_cache_do_not(machine):
    group(machine / "sys/fs/cgroup", 8 * GB, 5 * GB, cached=2 * GB)
    assert memory_there(machine) == (5 * GB, "under its limit of 8.0 GB")


def test_the_tightest_of_nested_groups_counts(machine):
    top = machine / "sys/fs/cgroup"
    (machine / "proc/self/cgroup").write_text("0::/user.slice/job.scope\n")
    group(top / "user.slice", 4 * GB, 3 * GB)
    group(top / "user.slice/job.scope", 6 * GB, 1 * GB)
    group(top / "other.slice", 1 * GB, 1 * GB)
    assert memory_there(machine) == (GB, "under its limit of 4.0 GB")


def test_the_first_version_of_control_groups_counts_too(machine):
    (machine / "proc/self/cgroup").write_text("12:cpu,cpuacct:/a\n5:memory:/docker/abc\n")
    group(machine / "sys/fs/cgroup/memory", 3 * GB, 1 * GB, version=1)
    assert memory_there(machine) == (2 * GB, "under its limit of 3.0 GB"), "a container sees its own group as the top"
    group(machine / "sys/fs/cgroup/memory", 9223372036854771712, 1 * GB, version=1)
    assert memory_there(machine).where == "of this machine"


@pytest.mark.parametrize("text", ["", "garbage", "0::/gone\n"])
def test_groups_that_cannot_be_read_do_not_count(machine, text):
    (machine / "proc/self/cgroup").write_text(text)
    (machine / "sys/fs/cgroup/memory.max").write_bytes(b"\xff\xfe")
    assert memory_there(machine).bytes == 32 * GB


def test_a_group_over_its_limit_leaves_nothing(machine):
    group(machine / "sys/fs/cgroup", 2 * GB, 3 * GB)
    assert memory_there(machine).bytes == 0


def test_this_machine_has_some():
    assert memory_there().bytes > 0
