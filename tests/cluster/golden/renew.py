"""Write the approved scripts anew, from the example sites in slurm/."""

from pathlib import Path

from hpcml import config
from hpcml.cluster.batch_script import script

HERE = Path(__file__).parent

for path in sorted((HERE.parents[2] / "slurm").glob("*.toml")):
    for stage in ("generate", "train"):
        text = script(
            (stage,),
            config.load_site(path),
            campaign="/data/c.toml",
            run="/data/run",
            output="%j.out",
            ranks=8,
        )
        (HERE / f"{path.stem}-{stage}.sbatch").write_text(text)
