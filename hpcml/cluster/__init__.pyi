from .batch_script import Job as Job
from .launch import mpi_command as mpi_command
from .launch import mpi_environment as mpi_environment
from .launch import run_mpi as run_mpi
from .run_folder import RunFolder as RunFolder
from .site import Site as Site
from .submission import scripts as scripts
from .submission import submit as submit
