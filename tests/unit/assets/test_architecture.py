"""docs/architecture.md draws the graph as it is."""

import re
from pathlib import Path

from assets.definitions import defs
from assets.graph.jobs import JOBS

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "architecture.md").read_text("utf-8")
GRAPH = re.search(r"```mermaid\n(.*?)```", TEXT, re.DOTALL)


def test_the_picture_has_every_asset_group_and_edge_of_the_graph_and_no_other():
    assert GRAPH is not None
    drawn_edges = set(re.findall(r"^  (\w+) --> (\w+)$", GRAPH[1], re.MULTILINE))
    drawn_groups = {
        (asset, title or name)
        for name, title, body in re.findall(r"subgraph (\w+)(?:\[(\w+)\])?\n(.*?)  end", GRAPH[1], re.DOTALL)
        for asset in re.findall(r"^    (\w+)", body, re.MULTILINE)
    }
    drawn_batches = set(re.findall(r"(\w+)\[/\w+/\]", GRAPH[1]))
    graph = defs.resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
    names = {node.key: node.key.to_user_string() for node in nodes}
    assert drawn_edges == {(names[parent], names[node.key]) for node in nodes for parent in node.parent_keys}
    assert drawn_groups == {(names[node.key], node.group_name) for node in nodes}
    assert drawn_batches == {names[node.key] for node in nodes if node.is_partitioned}


def test_the_runs_of_a_pass_are_listed_in_their_order():
    listed = re.search(r"### A full pass.*?\n1\. (.*?)\n\n", TEXT, re.DOTALL)
    assert listed is not None
    named = re.findall(r"`(\w+)`", listed[1])
    assert named == [job for job in JOBS if job not in {"ablate", "make_study"}]


def test_every_file_that_the_page_names_is_there():
    for name in set(re.findall(r"`((?:assets|classifier|models|pipeline|tests)/[\w/]*(?:\.py)?)`", TEXT)):
        assert (ROOT / name).exists(), name
