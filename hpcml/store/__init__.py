"""The data set on disk: sharded HDF5 that survives kills."""

from hpcml.store import shards
from hpcml.store.compaction import compact, merge
from hpcml.store.dataset import Dataset
from hpcml.store.exports import export, to_pyg
from hpcml.store.imports import Imported, import_qm9
from hpcml.store.joins import join
from hpcml.store.lines import Entry
from hpcml.store.manifest import Manifest, Problem
from hpcml.store.repair import Repaired, repair
from hpcml.store.rows import Row
from hpcml.store.schema import CATALOGUE, SCHEMA_VERSION, Column, Schema, result_key, result_keys
from hpcml.store.shards import Shard
from hpcml.store.table_import import OwnLabel, import_table
from hpcml.store.verify import Report, verify
from hpcml.store.virtual import write_virtual
from hpcml.store.writer import Recovered, ShardWriter, recover

__all__ = [
    "CATALOGUE",
    "SCHEMA_VERSION",
    "Column",
    "Dataset",
    "Entry",
    "Imported",
    "Manifest",
    "OwnLabel",
    "Problem",
    "Recovered",
    "Repaired",
    "Report",
    "Row",
    "Schema",
    "Shard",
    "ShardWriter",
    "compact",
    "export",
    "import_qm9",
    "import_table",
    "join",
    "merge",
    "recover",
    "repair",
    "result_key",
    "result_keys",
    "shards",
    "to_pyg",
    "verify",
    "write_virtual",
]
