"""Write the approved scripts anew, from the example sites in slurm/."""

from pathlib import Path

from hpcml import config
from hpcml.cluster.batch_script import script
from hpcml.stages import STAGES

HERE = Path(__file__).parent

for path in sorted((HERE.parents[2] / "slurm").glob("*.toml")):
    for stage in (stage for stage in STAGES if stage.name in ("generate", "train")):
        text = script(
            (stage.job(ranks=8),),
            config.load_site(path),
            campaign="/data/c.toml",
            run="/data/run",
            output="%j.out",
        )
        (HERE / f"{path.stem}-{stage.name}.sbatch").write_text(text)
